// An immutable set of codes with ids, flat or with tables.
//
// Items are numbered by rank: the position of their id in ascending order. A *flat* segment holds the
// codes in that order (or, while new items gather, in any order) and can only be scanned. A segment
// with *tables* holds every distinct code once, as a row:
//   table 0     rows in ascending order, as numbers
//   table p     the same codes in the order of their key of piece p, without anything else
//   directory p where the rows of each key begin in table p
//   ranks       ranks of the items of row 0, of row 1, ..., ascending within a row
// Most rows have one item. `repeats` marks the others, and `extras` counts the items beyond one for each
// row before: row r begins at item r + extras[number of marks before r].
//
// Arrays may lie in a damaged file: every number read from one is clamped before it is used as a
// position, so that a damaged segment gives wrong answers or an error, and nothing worse.

#ifndef TFHASH_OPS_CC_INDEX_SEGMENT_H_
#define TFHASH_OPS_CC_INDEX_SEGMENT_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/grid.h"
#include "core/hamming.h"
#include "index/memory.h"
#include "index/pieces.h"

namespace tfhash {

struct Segment {
  Pieces pieces;
  bool is_tail = false;  // new items gather in it, in any order
  View<int64_t> ids;     // [items], ascending unless the segment is a tail
  View<uint8_t> tables[kMaxPieces];  // [rows, bytes]
  View<uint32_t> directories[kMaxPieces];  // [2^key_bits + 1]
  View<uint32_t> ranks;                    // [items]; empty if flat
  View<uint64_t> repeats;                  // [ceil(rows / 64)] of 64 marks; empty without repeats
  View<uint32_t> repeats_before;           // [ceil(rows / 64)], marks in the words before
  View<uint32_t> extras;                   // [marks + 1]
  std::vector<Memory> memory;              // what this segment owns of the above
  bool is_borrowed = false;                // the arrays are the caller's, see c_api.h

  // Queries that go straight to the scan, because those before gave up the tables; see search.cc.
  mutable std::atomic<int32_t> skips{0};
  mutable std::atomic<int32_t> next_skips{1};

  bool has_tables() const { return pieces.count > 0; }
  int64_t items() const { return ids.size; }
  int64_t rows() const { return tables[0].size / pieces.bytes; }
  bool has_repeats() const { return repeats.size > 0; }
  Codes codes() const { return {tables[0].data, rows(), pieces.bytes}; }
  const uint8_t* code(int p, int64_t row) const { return tables[p].data + row * pieces.bytes; }

  // The rows of a key.
  Range Bucket(int p, uint32_t key) const {
    const int64_t end = std::min<int64_t>(directories[p][key + 1], rows());
    return {std::min<int64_t>(directories[p][key], end), end};
  }

  // The items of a row, as positions in `ranks`.
  Range ItemsOf(int64_t row) const {
    if (!has_repeats()) return {row, row + 1};
    const uint64_t word = repeats[row / 64];
    const uint64_t bit = uint64_t{1} << (row % 64);
    const int64_t last = extras.size - 1;
    const int64_t before = std::min<int64_t>(
        int64_t{repeats_before[row / 64]} + __builtin_popcountll(word & (bit - 1)), last);
    const int64_t after = std::min<int64_t>(before + ((word & bit) != 0), last);
    const int64_t begin = std::min<int64_t>(row + extras[before], items());
    return {begin, std::clamp<int64_t>(row + 1 + extras[after], begin, items())};
  }

  // Rank of the item at a position in `ranks`.
  int64_t RankAt(int64_t position) const {
    return ranks.size == 0 ? position : std::min<int64_t>(ranks[position], items() - 1);
  }

  // Row of a code in table 0; -1 if it is not there.
  int64_t FindRow(const uint8_t* code) const;

  // Rank of an id; -1 if it is not there. REQUIRES: the segment is not a tail
  int64_t FindId(int64_t id) const;

  // Memory of the arrays, whoever owns it.
  int64_t ArrayBytes() const;

  // Reads everything. Returns an empty string, or what is wrong.
  std::string Validate() const;
};

// Marks of removed items, by rank; null if there are none.
using Removed = std::shared_ptr<const std::vector<uint64_t>>;

inline bool IsRemoved(const std::vector<uint64_t>* removed, int64_t rank) {
  return removed != nullptr && ((*removed)[rank / 64] >> (rank % 64) & 1) != 0;
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_SEGMENT_H_
