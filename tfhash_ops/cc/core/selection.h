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
      : k_(k), limit_(max_distance + 1), counts_(max_distance + 1) {}

  // Items at this distance or farther cannot be among the k nearest any more.
  int64_t limit() const { return limit_; }

  // REQUIRES: distance < limit(); index above all that were offered
  void Offer(int32_t distance, int64_t index) {
    if (static_cast<int64_t>(candidates_.size()) >= 2 * k_ + kSlack) DropFar();
    candidates_.push_back({distance, index});
    ++counts_[distance];
    ++nearer_;
    while (nearer_ >= k_) nearer_ -= counts_[--limit_];
  }

  // Takes over what another selection kept. REQUIRES: its items come after those offered here
  void Absorb(const Selection& later) {
    for (const Candidate& candidate : later.candidates_) {
      if (candidate.distance < limit_) Offer(candidate.distance, candidate.index);
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
    for (const Candidate& candidate : candidates_) {
      int64_t& at = candidate.distance < limit_ ? next[candidate.distance] : position;
      distances[at] = candidate.distance;
      indices[at++] = candidate.index;
    }
  }

 private:
  struct Candidate {
    int32_t distance;
    int64_t index;
  };

  // Room that keeps small selections from being tidied all the time.
  static constexpr int64_t kSlack = 64;

  // Leaves the candidates below the limit and the first of those at it, k in all.
  void DropFar() {
    int64_t at_limit = k_ - nearer_;
    auto kept = candidates_.begin();
    for (const Candidate& candidate : candidates_) {
      if (candidate.distance < limit_ || (candidate.distance == limit_ && at_limit-- > 0)) {
        *kept++ = candidate;
      }
    }
    candidates_.erase(kept, candidates_.end());
  }

  int64_t k_;
  int64_t limit_;
  int64_t nearer_ = 0;            // Candidates at distances below the limit.
  std::vector<int64_t> counts_;   // Items accepted at each distance below the limit.
  std::vector<Candidate> candidates_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_SELECTION_H_
