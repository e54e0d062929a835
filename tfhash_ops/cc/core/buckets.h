// Top-k search for codes of one or two bytes: items are grouped by code, and a query visits all codes
// in order of their distance.

#ifndef TFHASH_OPS_CC_CORE_BUCKETS_H_
#define TFHASH_OPS_CC_CORE_BUCKETS_H_

#include <cstdint>
#include <vector>

#include "hamming.h"

namespace tfhash {

class Buckets {
 public:
  // Limits on code length in bytes and on the number of items.
  static constexpr int64_t kMaxBytes = 2;
  static constexpr int64_t kMaxItems = int64_t{1} << 32;

  // REQUIRES: queries.bytes == database.bytes <= kMaxBytes; database.count < kMaxItems
  Buckets(const Codes& queries, const Codes& database);

  // The k nearest items in ascending order of (distance, index).
  //
  // REQUIRES: `query` is one of the queries; k <= database.count
  void TopK(const uint8_t* query, int64_t k, int32_t* distances, int64_t* indices) const;

 private:
  int64_t bytes_;
  // Items with code c: items_[starts_[c], starts_[c + 1]), ascending.
  std::vector<uint32_t> starts_;
  std::vector<uint32_t> items_;
  // XOR masks over the bits in use, in ascending order of their population count.
  std::vector<uint16_t> differences_;
};

// A code of one or two bytes as an integer.
inline uint32_t ShortCode(const uint8_t* code, int64_t bytes) {
  return bytes == 1 ? code[0] : code[0] | uint32_t{code[1]} << 8;
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_BUCKETS_H_
