// The nearest of a stream of items.

#ifndef TFHASH_OPS_CC_CORE_SELECTION_H_
#define TFHASH_OPS_CC_CORE_SELECTION_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace tfhash {

// Keeps the k nearest of the items offered, which come in ascending order of the index; among
// items at the same distance the earlier ones count as nearer.
//
// Distances are small integers: counting the candidates at each of them gives the exact
// distance to stay below at any moment, without ordering anything before the end.
class Selection {
 public:
  // REQUIRES: k >= 1; distances are at most `max_distance`
  Selection(int64_t k, int64_t max_distance)
      : k_(k), limit_(max_distance + 1), counts_(max_distance + 1) {
    while (max_distance >> distance_bits_ != 0) ++distance_bits_;
  }

  // Items at this distance or farther cannot be among the k nearest any more.
  int64_t limit() const { return limit_; }

  // Rules out items at this distance or farther from the start.
  //
  // REQUIRES: none was offered yet, and k of those that will be are nearer
  void StartBelow(int64_t limit) { limit_ = limit; }

  // REQUIRES: distance < limit(); index above all that were offered
  void Offer(int32_t distance, int64_t index) {
    if (static_cast<int64_t>(candidates_.size()) >= 2 * k_ + kSlack) DropFar();
    candidates_.push_back(static_cast<uint64_t>(index) << distance_bits_ |
                          static_cast<uint64_t>(distance));
    ++counts_[distance];
    ++nearer_;
    while (nearer_ >= k_) nearer_ -= counts_[--limit_];
  }

  // Takes over what another selection kept. REQUIRES: it was made for the same distances, and its
  // items come after those offered here
  void Absorb(const Selection& later) {
    for (const uint64_t candidate : later.candidates_) {
      if (Distance(candidate) < limit_) Offer(Distance(candidate), Index(candidate));
    }
  }

  // Writes the nearest in ascending order of (distance, index): k of them, or all if fewer
  // were offered. The last call to a selection.
  void Write(int32_t* distances, int64_t* indices) {
    DropFar();
    // Counting sort: candidates at one distance are in the order of their indices already.
    std::vector<int64_t>& next = counts_;
    int64_t position = 0;
    for (int64_t d = 0; d < limit_; ++d) position += std::exchange(next[d], position);
    for (const uint64_t candidate : candidates_) {
      const int32_t distance = Distance(candidate);
      int64_t& at = distance < limit_ ? next[distance] : position;
      distances[at] = distance;
      indices[at++] = Index(candidate);
    }
  }

 private:
  int32_t Distance(uint64_t candidate) const {
    return static_cast<int32_t>(candidate & ((uint64_t{1} << distance_bits_) - 1));
  }
  int64_t Index(uint64_t candidate) const {
    return static_cast<int64_t>(candidate >> distance_bits_);
  }

  // Room that keeps small selections from being tidied all the time.
  static constexpr int64_t kSlack = 64;

  // Leaves the candidates below the limit and the first of those at it, k in all.
  void DropFar() {
    int64_t at_limit = k_ - nearer_;
    auto kept = candidates_.begin();
    for (const uint64_t candidate : candidates_) {
      const bool is_at_limit = Distance(candidate) == limit_;
      *kept = candidate;
      kept += (Distance(candidate) < limit_) | (is_at_limit & (at_limit > 0));
      at_limit -= is_at_limit;
    }
    candidates_.erase(kept, candidates_.end());
  }

  int64_t k_;
  int64_t limit_;
  int64_t nearer_ = 0;           // Candidates at distances below the limit.
  std::vector<int64_t> counts_;  // Items accepted at each distance below the limit.
  int distance_bits_ = 0;        // Of the largest distance.

  // Each an index, above the bits of a distance. Both fit: 2^distance_bits_ is at most 16 times the
  // bytes of a code, so that this is below 16 times the bytes of the database.
  std::vector<uint64_t> candidates_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_SELECTION_H_
