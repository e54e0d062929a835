#include "join/join_pieces.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tfhash::join {
namespace {

// More levels were never the cheapest, on up to 10 million codes.
constexpr int64_t kDeepest = 5;
constexpr int64_t kSample = 4096;

uint64_t Ones(int64_t count) { return count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// information[j] = entropy of the bits before j in a sample, in bits, taken as independent. A bit that
// never differs counts a little.
std::vector<double> Information(const std::vector<const uint64_t*>& sample, int64_t bits) {
  std::vector<double> information(bits + 1, 0);
  const double size = static_cast<double>(sample.size());
  for (int64_t bit = 0; bit < bits; ++bit) {
    double ones = 0;
    for (const uint64_t* code : sample) ones += static_cast<double>(code[bit / 64] >> bit % 64 & 1);
    const double share = std::min(ones, size - ones) / size;
    const double rest = 1 - share;
    const double entropy = share > 0 ? -share * std::log2(share) - rest * std::log2(rest) : 0;
    information[bit + 1] = information[bit] + std::max(entropy, 1e-3);
  }
  return information;
}

// Pieces of about the same information: where bits hardly differ, pieces of the same length would put
// all codes into one bucket.
std::vector<Piece> Cut(const std::vector<double>& information, int64_t count) {
  const int64_t bits = static_cast<int64_t>(information.size()) - 1;
  std::vector<Piece> pieces;
  int64_t start = 0;
  for (int64_t i = 1; i <= count; ++i) {
    const double wanted = information.back() * static_cast<double>(i) / static_cast<double>(count);
    // The end whose information is nearest.
    const auto found = std::lower_bound(information.begin(), information.end(), wanted);
    int64_t end = found - information.begin();
    if (end > 0 && end <= bits && wanted - information[end - 1] < information[end] - wanted) --end;
    end = i == count ? bits : std::min(std::max(end, start + 1), bits - (count - i));
    pieces.emplace_back(start, end - start);
    start = end;
  }
  return pieces;
}

// Share of the pairs of a sample that agree in a piece; at least one pair in four, so that
// what the sample did not show is not taken for impossible.
double Agreement(const Piece& piece, const std::vector<const uint64_t*>& sample,
                 std::vector<uint64_t>* hashes) {
  hashes->clear();
  for (const uint64_t* code : sample) hashes->push_back(piece.Hash(code));
  std::sort(hashes->begin(), hashes->end());
  double agreeing = 0.25, run = 0;
  for (size_t i = 1; i < hashes->size(); ++i) {
    run = (*hashes)[i] == (*hashes)[i - 1] ? run + 1 : 0;
    agreeing += run;
  }
  const double size = static_cast<double>(sample.size());
  return agreeing / (size * (size - 1) / 2);
}

}  // namespace

Piece::Piece(int64_t start, int64_t bits) {
  first_ = start / 64;
  last_ = (start + bits - 1) / 64;
  shift_ = static_cast<int>(start % 64);
  const int64_t in_first = std::min(bits, 64 - start % 64);
  first_mask_ = Ones(in_first) << shift_;
  last_mask_ = Ones((start + bits - 1) % 64 + 1);
  // Enough for 2^32 codes. Short pieces are their own hash.
  hash_bits_ = static_cast<int>(std::min<int64_t>(bits, 3 * kStepBits));
  multiplier_ = bits <= kStepBits && last_ == first_ ? uint64_t{1} << (64 - bits) : kMultiplier;
}

Plan MakePlan(const uint64_t* codes, int64_t count, int64_t bits, int64_t radius,
              const Costs& costs) {
  const int64_t words = (bits + 63) / 64;
  std::vector<const uint64_t*> sample;
  const int64_t size = std::min(count, kSample);
  for (int64_t i = 0; i < size; ++i) sample.push_back(codes + count / size * i * words);
  std::vector<uint64_t> hashes;
  Plan best{{}, 0};
  double lowest = std::numeric_limits<double>::infinity();
  if (count < 2) return best;
  const std::vector<double> information = Information(sample, bits);
  for (int64_t depth = 1; depth <= kDeepest && radius < bits && radius + depth <= bits; ++depth) {
    std::vector<Piece> pieces = Cut(information, radius + depth);
    double agreement = 0;
    for (const Piece& piece : pieces) agreement += Agreement(piece, sample, &hashes);
    agreement /= static_cast<double>(pieces.size());
    // Nanoseconds a code: at each level it moves once in each of the sets of pieces, at the last one
    // it is compared with what is left.
    double cost = 0, sets = 1, left = static_cast<double>(count);
    for (int64_t level = 1; level <= depth; ++level) {
      sets *= static_cast<double>(radius + level) / static_cast<double>(level);
      left *= agreement;
      cost += sets * costs.move;
      const double total = cost + sets * left / 2 * costs.compare;
      if (total < lowest) {
        lowest = total;
        best = {pieces, depth};
      }
    }
  }
  return best;
}

}  // namespace tfhash::join
