#include "kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#define TFHASH_INLINE inline __attribute__((always_inline))

#if defined(TFHASH_EMULATED)
// A test supplies the instructions as functions; the compiler must not use them by itself.
#elif defined(__clang__)
#pragma clang attribute push(                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt"))),     \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")
#endif

namespace tfhash {
namespace {

// Vectors go through codes as fast as memory gives them, if only it is asked early enough.
TFHASH_INLINE void PrefetchAhead(const uint8_t* codes) { __builtin_prefetch(codes + 1024); }

using Word = __m512i;

TFHASH_INLINE Word Load(const void* p) { return _mm512_load_si512(p); }
TFHASH_INLINE Word LoadUnaligned(const void* p) { return _mm512_loadu_si512(p); }
TFHASH_INLINE void Store(void* p, Word a) { _mm512_store_si512(p, a); }
TFHASH_INLINE Word Broadcast(uint64_t a) { return _mm512_set1_epi64(static_cast<int64_t>(a)); }
TFHASH_INLINE Word Xor(Word a, Word b) { return _mm512_xor_si512(a, b); }
TFHASH_INLINE Word And(Word a, Word b) { return _mm512_and_si512(a, b); }
TFHASH_INLINE Word ShiftLeft(Word a, int n) { return _mm512_slli_epi64(a, n); }
TFHASH_INLINE Word ShiftRight(Word a, int n) { return _mm512_srli_epi64(a, n); }
TFHASH_INLINE bool IsZero(Word a) { return _mm512_test_epi64_mask(a, a) == 0; }
TFHASH_INLINE Word Smaller(Word a, Word b) { return _mm512_min_epi32(a, b); }

// The last argument of a ternary operation is its truth table: bit 4a + 2b + c.
TFHASH_INLINE void FullAdd(Word a, Word b, Word c, Word& sum, Word& carry) {
  const Word odd = _mm512_ternarylogic_epi64(a, b, c, 0b10010110);
  carry = _mm512_ternarylogic_epi64(a, b, c, 0b11101000);
  sum = odd;
}

TFHASH_INLINE Word NotMajority(Word a, Word b, Word c) {
  return _mm512_ternarylogic_epi64(a, b, c, 0b10001110);
}

TFHASH_INLINE int CountBits(uint64_t a) { return __builtin_popcountll(a); }

TFHASH_INLINE int64_t CountWord(Word a) {
  alignas(Word) uint64_t lanes[8];
  Store(lanes, _mm512_popcnt_epi64(a));
  return std::accumulate(lanes, lanes + 8, 0);
}

namespace integers {
#include "popcount-inl.h"
}

#include "sliced-inl.h"

// Codes of 8 bytes fill the lanes of a word exactly.
void DistancesOf8(const uint8_t* query, const uint8_t* codes, int64_t count, int32_t* distances) {
  uint64_t bits;
  std::memcpy(&bits, query, sizeof(bits));
  const Word all = Broadcast(bits);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    PrefetchAhead(codes + 8 * i);
    const Word differ = Xor(all, LoadUnaligned(codes + 8 * i));
    const __m256i counts = _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(differ));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(distances + i), counts);
  }
  integers::Distances(query, codes + 8 * i, count - i, 8, distances + i);
}

// Codes of 4 bytes likewise.
void DistancesOf4(const uint8_t* query, const uint8_t* codes, int64_t count, int32_t* distances) {
  int32_t bits;
  std::memcpy(&bits, query, sizeof(bits));
  const Word all = _mm512_set1_epi32(bits);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    PrefetchAhead(codes + 4 * i);
    const Word differ = Xor(all, LoadUnaligned(codes + 4 * i));
    _mm512_storeu_si512(distances + i, _mm512_popcnt_epi32(differ));
  }
  integers::Distances(query, codes + 4 * i, count - i, 4, distances + i);
}

void Distances(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
               int32_t* distances) {
  switch (bytes) {
    case 4: return DistancesOf4(query, codes, count, distances);
    case 8: return DistancesOf8(query, codes, count, distances);
    default: return integers::Distances(query, codes, count, bytes, distances);
  }
}

#include "least-inl.h"

}  // namespace

const Kernel* Avx512Kernel() {
  static const Kernel kernel{"avx512", Distances, Least, &kSliced};
  return &kernel;
}

}  // namespace tfhash

#if defined(TFHASH_EMULATED)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace tfhash {
const Kernel* Avx512Kernel() { return nullptr; }
}  // namespace tfhash

#endif
