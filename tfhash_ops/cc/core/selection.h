// Selects the k nearest of a stream of items.

#ifndef TFHASH_OPS_CC_CORE_SELECTION_H_
#define TFHASH_OPS_CC_CORE_SELECTION_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace tfhash {

// Keeps the k nearest of the candidates pushed, which arrive in ascending order of their index. Among
// candidates at the same distance the earlier ones are nearer.
//
// Distances are small integers, so counting the candidates at each distance gives the exact limit for
// new candidates at any time, without a heap and without sorting before the end.
class Selection {
 public:
  // REQUIRES: k >= 1; distances are at most `max_distance`
  Selection(int64_t k, int64_t max_distance)
      : k_(k), limit_(max_distance + 1), counts_(max_distance + 1) {
    while (max_distance >> distance_bits_ != 0) ++distance_bits_;
  }

  // New candidates at this distance or farther cannot be among the k nearest.
  int64_t limit() const { return limit_; }

  // Sets the initial limit.
  //
  // REQUIRES: nothing was pushed yet, and at least k of the candidates to come are nearer
  void StartBelow(int64_t limit) { limit_ = limit; }

  // REQUIRES: distance < limit(); index is greater than those pushed before
  void Push(int32_t distance, int64_t index) {
    if (static_cast<int64_t>(candidates_.size()) >= 2 * k_ + kSlack) Compact();
    candidates_.push_back(static_cast<uint64_t>(index) << distance_bits_ |
                          static_cast<uint64_t>(distance));
    ++counts_[distance];
    ++nearer_;
    while (nearer_ >= k_) nearer_ -= counts_[--limit_];
  }

  // Merges another selection. REQUIRES: both have the same max_distance, and the indices of
  // `later` are greater than those pushed here
  void Merge(const Selection& later) {
    for (const uint64_t candidate : later.candidates_) {
      if (Distance(candidate) < limit_) Push(Distance(candidate), Index(candidate));
    }
  }

  // Writes the nearest candidates in ascending order of (distance, index): k of them, or all if fewer
  // were pushed. Invalidates the selection.
  void Write(int32_t* distances, int64_t* indices) {
    Compact();
    // Counting sort. It is stable, and candidates are already in ascending order of the index.
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

  // Extra capacity, so that small selections are not compacted all the time.
  static constexpr int64_t kSlack = 64;

  // Keeps the candidates below the limit and the first of those at the limit, k in all.
  void Compact() {
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
  int64_t nearer_ = 0;           // Number of candidates below the limit.
  std::vector<int64_t> counts_;  // Number of candidates at each distance below the limit.
  int distance_bits_ = 0;        // Bit width of the largest distance.

  // An index in the upper bits, a distance in the lower bits. Both fit into 64 bits: 2^distance_bits_ is
  // at most 16 times the bytes of a code, so a candidate is below 16 times the bytes of the database.
  std::vector<uint64_t> candidates_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_SELECTION_H_
