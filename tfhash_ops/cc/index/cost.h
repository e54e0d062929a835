// What a search costs by tables and by scan, and the layout of tables that costs least.

#ifndef TFHASH_OPS_CC_INDEX_COST_H_
#define TFHASH_OPS_CC_INDEX_COST_H_

#include <cstdint>

#include "index/pieces.h"

namespace tfhash {

// Nanoseconds on Zen 4, roughly; only their ratios matter.
struct Costs {
  // Looking up a bucket, prefetched.
  static constexpr double kBucket = 22.0;
  // Comparing a code in a bucket: in all, and by byte.
  static constexpr double kBucketCode = 0.2;
  static constexpr double kBucketByte = 0.1;
  // Comparing a code in a scan for one query, and for each of many that share the bit-sliced table.
  static constexpr double kScanCode = 0.1;
  static constexpr double kScanByte = 0.035;
  static constexpr double kSlicedByte = 0.0125;
  // Keeping a candidate, which may have to be looked up.
  static constexpr double kCandidate = 60.0;

  static double Bucket(double codes, int64_t bytes) {
    return kBucket + codes * (kBucketCode + kBucketByte * bytes);
  }
  // For each of `queries` that scan together.
  static double Scan(double codes, int64_t bytes, int64_t queries);
};

// Keys of `key_bits` bits at a distance of `flips` from a given one.
double KeysAt(int key_bits, int flips);

// Segments with fewer codes are scanned.
int64_t MinTableRows(int64_t bytes);

// Pieces for so many distinct codes: those with the least expected cost of a search for the 10 nearest
// among random codes; where that would be a scan, those that fit codes near each other. Memory stays
// below five times the codes and 8 bytes an item. `count` is 0 if tables are of no use.
Pieces ChoosePieces(int64_t bits, int64_t rows);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_COST_H_
