// Pairs and groups of items whose codes are within a radius.

#ifndef TFHASH_OPS_CC_JOIN_NEAR_ITEMS_H_
#define TFHASH_OPS_CC_JOIN_NEAR_ITEMS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/hamming.h"
#include "join/join_distinct.h"
#include "join/join.h"
#include "join/join_threads.h"

namespace tfhash::join {

// How to join: none of it changes the result.
struct JoinOptions {
  std::string kernel;  // of the core, by its name; this CPU can run it
  int64_t threads;
  // Edges between distinct codes that may be kept. Where there are more, the join runs again for
  // each part of the items, so that memory stays bounded whatever the output.
  int64_t most_edges;
  const std::atomic<int32_t>* is_cancelled;
};

// All pairs of items within a radius, in ascending order of (first, second), some at a time.
//
// REQUIRES: codes as for Distinct; they are read by the constructor alone
class PairStream {
 public:
  PairStream(const Codes& codes, int64_t bits, int64_t radius, const JoinOptions& options);

  // Number of all pairs.
  int64_t total() const { return total_; }

  // Writes up to `limit` further pairs; returns how many, 0 at the end.
  int64_t Next(int64_t limit, int64_t* first, int64_t* second, int32_t* distances);

 private:
  struct Neighbor {
    uint32_t number;
    int32_t distance;
  };
  struct Kept;
  struct Sink;

  void Join(Kept* kept);
  void Fill();
  void MakeLists(const std::vector<Edge>& edges);
  void MakeRow(int64_t item);

  const int64_t bits_;
  const int64_t radius_;
  const JoinOptions options_;
  JoinThreads threads_;
  Distinct distinct_;
  std::vector<uint32_t> degrees_;
  int64_t total_ = 0;

  // Neighbors of the codes of the items before `filled_`.
  std::vector<int64_t> list_ends_;
  std::vector<Neighbor> neighbors_;
  int64_t filled_ = 0;

  // The partners of one item, and how many of them were written.
  int64_t item_ = 0;
  std::vector<std::pair<int64_t, int32_t>> row_;
  size_t written_ = 0;
};

// Connects items within a radius, directly or through others.
//
// For an item in a group of two or more: groups[i] is the smallest item of its group, and nearest[i]
// and farthest[i] are the smallest and the largest distance among the pairs of the group within the
// radius. For other items they are -1.
//
// REQUIRES: codes as for Distinct
void GroupItems(const Codes& codes, int64_t bits, int64_t radius, const JoinOptions& options,
                int64_t* groups, int32_t* nearest, int32_t* farthest);

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_NEAR_ITEMS_H_
