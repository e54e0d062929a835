#include "buckets.h"

#include <algorithm>

namespace tfhash {

Buckets::Buckets(const Codes& queries, const Codes& database)
    : bytes_(database.bytes),
      starts_((size_t{1} << (8 * database.bytes)) + 1),
      items_(database.count) {
  // Counting sort of the items by code.
  for (int64_t i = 0; i < database.count; ++i) ++starts_[ShortCode(database[i], bytes_) + 1];
  uint32_t used = 0;
  for (size_t code = 0; code + 1 < starts_.size(); ++code) {
    if (starts_[code + 1] > 0) used |= code;
    starts_[code + 1] += starts_[code];
  }
  std::vector<uint32_t> next(starts_.begin(), starts_.end() - 1);
  for (int64_t i = 0; i < database.count; ++i) {
    items_[next[ShortCode(database[i], bytes_)]++] = static_cast<uint32_t>(i);
  }

  for (int64_t i = 0; i < queries.count; ++i) used |= ShortCode(queries[i], bytes_);
  // All subsets of the bits in use, from the full set down to the empty one.
  for (uint32_t subset = used;; subset = (subset - 1) & used) {
    differences_.push_back(static_cast<uint16_t>(subset));
    if (subset == 0) break;
  }
  std::sort(differences_.begin(), differences_.end(), [](uint16_t a, uint16_t b) {
    return __builtin_popcount(a) < __builtin_popcount(b);
  });
}

void Buckets::TopK(const uint8_t* query, int64_t k, int32_t* distances, int64_t* indices) const {
  const uint32_t code = ShortCode(query, bytes_);
  std::vector<uint32_t> level;
  auto difference = differences_.begin();
  for (int64_t written = 0; written < k;) {
    // The first items of every bucket at this distance, as many as may be needed.
    const int64_t needed = k - written;
    const int distance = __builtin_popcount(*difference);
    level.clear();
    for (; difference != differences_.end() && __builtin_popcount(*difference) == distance;
         ++difference) {
      const uint32_t* begin = items_.data() + starts_[code ^ *difference];
      const uint32_t* end = items_.data() + starts_[(code ^ *difference) + 1];
      level.insert(level.end(), begin, begin + std::min<int64_t>(end - begin, needed));
    }
    const int64_t taken = std::min<int64_t>(level.size(), needed);
    if (taken < static_cast<int64_t>(level.size())) {
      std::nth_element(level.begin(), level.begin() + taken, level.end());
    }
    std::sort(level.begin(), level.begin() + taken);
    for (int64_t i = 0; i < taken; ++i, ++written) {
      distances[written] = distance;
      indices[written] = level[i];
    }
  }
}

}  // namespace tfhash
