#include "index/neighbor.h"

#include <algorithm>
#include <array>

namespace tfhash {
namespace {

// So many are sorted by digits instead of comparisons.
constexpr size_t kMany = 4096;

constexpr int kDigitBits = 11;
constexpr uint64_t kDigits = uint64_t{1} << kDigitBits;

// Sorts by key(neighbor), at most `largest`, least digit first. Equal keys keep their order.
template <typename Key>
void SortByDigits(const Key& key, uint64_t largest, std::vector<Neighbor>* neighbors,
                  std::vector<Neighbor>* buffer) {
  for (int shift = 0; shift < 64 && largest >> shift != 0; shift += kDigitBits) {
    const auto digit = [&](const Neighbor& each) { return key(each) >> shift & (kDigits - 1); };
    std::array<size_t, kDigits> place{};
    for (const Neighbor& each : *neighbors) ++place[digit(each)];
    size_t before = 0;
    for (size_t& each : place) {
      const size_t count = each;
      each = before;
      before += count;
    }
    buffer->resize(neighbors->size());
    for (const Neighbor& each : *neighbors) (*buffer)[place[digit(each)]++] = each;
    neighbors->swap(*buffer);
  }
}

}  // namespace

void SortNeighbors(std::vector<Neighbor>* neighbors) {
  if (neighbors->size() < kMany) {
    std::sort(neighbors->begin(), neighbors->end());
    return;
  }
  int64_t least = neighbors->front().id, most = least;
  int32_t farthest = 0;
  for (const Neighbor& each : *neighbors) {
    least = std::min(least, each.id);
    most = std::max(most, each.id);
    farthest = std::max(farthest, each.distance);
  }
  // Unsigned, for ids may be further apart than an int64_t counts.
  const auto id = [least](const Neighbor& each) {
    return static_cast<uint64_t>(each.id) - static_cast<uint64_t>(least);
  };
  const auto distance = [](const Neighbor& each) { return static_cast<uint64_t>(each.distance); };
  std::vector<Neighbor> buffer;
  SortByDigits(id, id({0, 0, most}), neighbors, &buffer);
  SortByDigits(distance, farthest, neighbors, &buffer);
}

}  // namespace tfhash
