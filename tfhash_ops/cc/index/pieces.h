// How codes are cut into pieces, and how codes are compared as numbers.
//
// A code of B bits is a number: bit j of the code has the weight 2^j. Piece p is a run of B / P bits, the
// first piece the most significant one, so that codes in ascending order are also in the order of their
// first key. The key of a piece is its `key_bits` most significant bits; the bits below are in no key.

#ifndef TFHASH_OPS_CC_INDEX_PIECES_H_
#define TFHASH_OPS_CC_INDEX_PIECES_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace tfhash {

constexpr int kMaxPieces = 4;
constexpr int kMaxKeyBits = 24;

// Up to eight bytes as a number, without reading beyond them.
inline uint64_t LoadNumber(const uint8_t* bytes, int64_t count) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, count);
  return value;
}

inline uint64_t LoadNumber(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, 8);
  return value;
}

struct Pieces {
  int64_t bits = 0;
  int64_t bytes = 0;
  int count = 0;  // 0: no tables
  int key_bits = 0;

  int64_t directory_size() const { return (int64_t{1} << key_bits) + 1; }

  // Lowest bit of the key of piece p.
  int64_t first_bit(int p) const { return bits - p * bits / count - key_bits; }

  uint32_t KeyOf(const uint8_t* code, int p) const {
    const int64_t first = first_bit(p);
    // Eight bytes that hold the key, or the whole code.
    const int64_t byte = std::min(first / 8, std::max<int64_t>(bytes - 8, 0));
    const uint64_t value = bytes >= 8 ? LoadNumber(code + byte) : LoadNumber(code, bytes);
    return static_cast<uint32_t>(value >> (first - 8 * byte)) & ((uint32_t{1} << key_bits) - 1);
  }
};

// Negative, zero or positive, as the first code is the smaller number, equal, or the larger.
inline int CompareCodes(const uint8_t* a, const uint8_t* b, int64_t bytes) {
  int64_t at = bytes;
  for (; at >= 8; at -= 8) {
    const uint64_t x = LoadNumber(a + at - 8), y = LoadNumber(b + at - 8);
    if (x != y) return x < y ? -1 : 1;
  }
  if (at == 0) return 0;
  const uint64_t x = LoadNumber(a, at), y = LoadNumber(b, at);
  return x == y ? 0 : x < y ? -1 : 1;
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_PIECES_H_
