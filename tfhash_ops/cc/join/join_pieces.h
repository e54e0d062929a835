// Pieces of a code: the pigeonhole principle, and the plan that it gives.
//
// Cut codes into radius + k pieces. Two codes at most `radius` bits apart differ in at most `radius`
// of them, so that they agree in k pieces at least. Codes that agree in no such set of pieces need no
// comparison.

#ifndef TFHASH_OPS_CC_JOIN_JOIN_PIECES_H_
#define TFHASH_OPS_CC_JOIN_JOIN_PIECES_H_

#include <cstdint>
#include <vector>

namespace tfhash::join {

// A run of bits of a code.
class Piece {
 public:
  // Codes fall into buckets by this many bits of a hash at a time.
  static constexpr int kStepBits = 11;

  // REQUIRES: 0 <= start; 1 <= bits
  Piece(int64_t start, int64_t bits);

  bool Agrees(const uint64_t* a, const uint64_t* b) const {
    uint64_t differ = (a[first_] ^ b[first_]) & first_mask_;
    for (int64_t w = first_ + 1; w < last_; ++w) differ |= a[w] ^ b[w];
    if (last_ > first_) differ |= (a[last_] ^ b[last_]) & last_mask_;
    return differ == 0;
  }

  // The same for codes that agree in the piece; uniform in its top bits.
  uint64_t Hash(const uint64_t* code) const {
    uint64_t value = (code[first_] & first_mask_) >> shift_;
    if (last_ == first_) return value * multiplier_;
    for (int64_t w = first_ + 1; w <= last_; ++w) {
      value = value * kMultiplier;
      value ^= value >> 32;
      value ^= w == last_ ? code[w] & last_mask_ : code[w];
    }
    return value * multiplier_;
  }

  // How many of the top bits of the hash tell pieces apart.
  int hash_bits() const { return hash_bits_; }

 private:
  static constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;

  int64_t first_, last_;  // words
  uint64_t first_mask_, last_mask_;
  int shift_;
  int hash_bits_;
  uint64_t multiplier_;
};

// What comparing and moving codes takes, in nanoseconds.
struct Costs {
  double compare;  // a pair
  double move;     // a code into its bucket
};

// How codes are joined: `pieces.size()` is radius + depth.
struct Plan {
  std::vector<Piece> pieces;
  int64_t depth;
};

// The plan of the lowest cost, estimated from how often the pieces of a sample agree. Without pieces
// where there are fewer bits than pieces: then all pairs have to be compared.
Plan MakePlan(const uint64_t* codes, int64_t count, int64_t bits, int64_t radius,
              const Costs& costs);

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_JOIN_PIECES_H_
