// Comparison of all codes of a tile, with the fastest instructions of this CPU.

#ifndef TFHASH_OPS_CC_JOIN_NEAR_PAIRS_H_
#define TFHASH_OPS_CC_JOIN_NEAR_PAIRS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tfhash::join {

// Places of two codes.
struct Hit {
  uint32_t row;
  uint32_t column;
};

// Codes `begin` to `end` with one another where rows and columns are the same: only columns above
// the row are compared.
struct Tile {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

struct NearPairs {
  // Appends the pairs of the tile that differ in at most `radius` bits. A code is `words` words.
  void (*find)(const uint64_t* codes, int64_t words, const Tile& tile, int64_t radius,
               std::vector<Hit>* hits);

  // Nanoseconds for a word of a pair, measured on large tiles. They guide the plan, not the result.
  double nanoseconds;
};

// The one that uses the instructions of a kernel of the core, by its name, so that TFHASH_CPU_KERNEL
// holds here, too. REQUIRES: this CPU can run it
NearPairs NearPairsOf(const std::string& kernel, int64_t words);

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_NEAR_PAIRS_H_
