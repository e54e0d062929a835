// Codes without their repetitions.

#ifndef TFHASH_OPS_CC_JOIN_JOIN_DISTINCT_H_
#define TFHASH_OPS_CC_JOIN_JOIN_DISTINCT_H_

#include <cstdint>
#include <vector>

#include "core/hamming.h"
#include "join/join_threads.h"

namespace tfhash::join {

// Distinct codes, numbered in the order of the first item that has them, and the items of each.
class Distinct {
 public:
  // REQUIRES: codes.count < 2^32; padding bits are zero
  Distinct(const Codes& codes, int64_t bits, JoinThreads* threads);

  // Number of items, and of distinct codes.
  int64_t items() const { return items_; }
  int64_t size() const { return is_identity_ ? items_ : static_cast<int64_t>(ends_.size()); }

  // The distinct codes, as words of 64 bits.
  const std::vector<uint64_t>& words() const { return words_; }
  void DropWords() { std::vector<uint64_t>().swap(words_); }

  // The number of an item's code.
  int64_t NumberOf(int64_t item) const { return is_identity_ ? item : number_of_[item]; }

  int64_t CountOf(int64_t number) const {
    return is_identity_ ? 1 : ends_[number] - (number == 0 ? 0 : ends_[number - 1]);
  }

  // The item with this rank, from 0, among those of a code, in ascending order.
  int64_t ItemOf(int64_t number, int64_t rank) const {
    if (is_identity_) return number;
    return sorted_[(number == 0 ? 0 : ends_[number - 1]) + rank];
  }

 private:
  int64_t items_;
  bool is_identity_ = false;  // no code is repeated
  std::vector<uint64_t> words_;
  std::vector<uint32_t> number_of_;
  std::vector<uint32_t> ends_;
  std::vector<uint32_t> sorted_;  // items in the order of (number, item)
};

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_JOIN_DISTINCT_H_
