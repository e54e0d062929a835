// What a query has found so far.

#ifndef TFHASH_OPS_CC_INDEX_NEAREST_H_
#define TFHASH_OPS_CC_INDEX_NEAREST_H_

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "index/neighbor.h"
#include "index/segment.h"

namespace tfhash {

// An array read from a file contradicts another.
struct DamagedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A segment and what has been removed from it.
struct PartOfIndex {
  std::shared_ptr<const Segment> segment;
  Removed removed;
  int64_t removed_count = 0;

  int64_t items() const { return segment->items() - removed_count; }
  // Memory of the arrays and marks, whoever owns it.
  int64_t Bytes() const {
    return segment->ArrayBytes() + (removed ? 8 * static_cast<int64_t>(removed->size()) : 0);
  }
};

// The k nearest items, or all within a radius, of a stream of rows in any order. Rows at the same
// distance compete by their ids, so rows at exactly `limit()` are needed too.
//
// A row is resolved into ids late, because most rows are outdone by later ones before.
class Nearest {
 public:
  // The k nearest. REQUIRES: k >= 1
  static Nearest TopK(int64_t k, int64_t bits) { return Nearest(k, bits, bits); }
  // All within a radius.
  static Nearest Within(int64_t radius, int64_t bits) { return Nearest(0, bits, radius); }

  // Rows at a greater distance are not among the nearest.
  int64_t limit() const { return limit_; }

  // The rows to come are of this part.
  void Begin(const PartOfIndex* part) {
    Resolve();
    ++part_index_;
    part_ = part;
    counts_rows_ = !part->removed && !part->segment->has_repeats();
  }

  // A row of table p. REQUIRES: distance <= limit(); no row of a part comes twice
  void Push(int32_t distance, int p, int64_t row);

  // Forgets the rows of this part, all of which will come again. Keeps the limit: it holds, because so
  // many rows have been seen within.
  void Restart();

  // The neighbors in ascending order of (distance, id). Nothing may be called after.
  std::vector<Neighbor> Finish();

  // For other rows of this part, on another thread: begins with the limit, and with nothing found.
  Nearest Fork() const;

  // Takes over what a fork has found.
  void Join(Nearest* fork);

  // 0 if all within a radius are wanted, so that the limit does not change.
  int64_t k() const { return k_; }

 private:
  struct Row {
    int32_t distance;
    int32_t table;
    int64_t row;
  };

  Nearest(int64_t k, int64_t bits, int64_t limit)
      : k_(k), limit_(limit), counts_(k > 0 ? bits + 1 : 0) {}

  void Count(int32_t distance, int64_t items);
  int64_t RowInTable0(const Row& row) const;
  void Resolve();
  void Prune();

  // More than 2 k rows are kept before they are resolved.
  static constexpr int64_t kSlack = 1024;

  int64_t k_;
  int64_t limit_;
  int64_t within_ = 0;           // number of items at most at the limit
  std::vector<int64_t> counts_;  // number of items at each distance
  const PartOfIndex* part_ = nullptr;
  int64_t part_index_ = -1;
  bool counts_rows_ = false;  // every row is one item
  std::vector<Row> rows_;
  std::vector<Neighbor> neighbors_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_NEAREST_H_
