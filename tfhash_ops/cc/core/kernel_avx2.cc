#include "kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#define TFHASH_INLINE inline __attribute__((always_inline))

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,popcnt")
#endif

namespace tfhash {
namespace {

// Short codes are compared at memory bandwidth, but only if they are prefetched early enough.
TFHASH_INLINE void PrefetchAhead(const uint8_t* codes) { __builtin_prefetch(codes + 1024); }

using Word = __m256i;

TFHASH_INLINE Word Load(const void* p) { return _mm256_load_si256(static_cast<const Word*>(p)); }
TFHASH_INLINE Word LoadUnaligned(const void* p) {
  return _mm256_loadu_si256(static_cast<const Word*>(p));
}
TFHASH_INLINE void Store(void* p, Word a) { _mm256_store_si256(static_cast<Word*>(p), a); }
TFHASH_INLINE Word Broadcast(uint64_t a) { return _mm256_set1_epi64x(static_cast<int64_t>(a)); }
TFHASH_INLINE Word Xor(Word a, Word b) { return _mm256_xor_si256(a, b); }
TFHASH_INLINE Word And(Word a, Word b) { return _mm256_and_si256(a, b); }
TFHASH_INLINE Word ShiftLeft(Word a, int n) { return _mm256_slli_epi64(a, n); }
TFHASH_INLINE Word ShiftRight(Word a, int n) { return _mm256_srli_epi64(a, n); }
TFHASH_INLINE bool IsZero(Word a) { return _mm256_testz_si256(a, a); }
TFHASH_INLINE Word Min(Word a, Word b) { return _mm256_min_epi32(a, b); }

TFHASH_INLINE void CarrySaveAdd(Word a, Word b, Word c, Word& sum, Word& carry) {
  const Word differ = Xor(a, b);
  const Word odd = Xor(differ, c);
  carry = _mm256_or_si256(And(a, b), And(differ, c));
  sum = odd;
}

// Majority of (not a), b and c: if a equals b, then (not a) and b cancel and c decides; else it is b.
TFHASH_INLINE Word NotMajority(Word a, Word b, Word c) {
  return _mm256_or_si256(_mm256_andnot_si256(a, b), _mm256_andnot_si256(Xor(a, b), c));
}

TFHASH_INLINE int CountBits(uint64_t a) { return __builtin_popcountll(a); }

TFHASH_INLINE int64_t CountWord(Word a) {
  alignas(Word) uint64_t lanes[4];
  Store(lanes, a);
  return CountBits(lanes[0]) + CountBits(lanes[1]) + CountBits(lanes[2]) + CountBits(lanes[3]);
}

namespace integers {
#include "popcount-inl.h"
}

#include "sliced-inl.h"

// Population counts of the 64-bit lanes, by table lookup of half bytes.
TFHASH_INLINE Word CountLanes(Word a) {
  const Word counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                       0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const Word halves = _mm256_set1_epi8(15);
  const Word low = _mm256_shuffle_epi8(counts, And(a, halves));
  const Word high = _mm256_shuffle_epi8(counts, And(_mm256_srli_epi16(a, 4), halves));
  return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

constexpr int LaneBytes(int) { return 8; }

#include "lanes-inl.h"

// Loads half a step.
template <int kBytes>
TFHASH_INLINE Word LoadLanes(const uint8_t* codes) {
  if constexpr (kBytes == 8) {
    return LoadUnaligned(codes);
  } else {
    const Word runs = _mm256_inserti128_si256(_mm256_castsi128_si256(LoadRun(codes)),
                                              LoadRun(codes + Lanes<kBytes>::kRunBytes), 1);
    const Word order = _mm256_broadcastsi128_si256(LoadRun(kLanes<kBytes>.order));
    return _mm256_shuffle_epi8(runs, order);
  }
}

template <int kBytes>
TFHASH_INLINE void DistancesOfStep(Word query, const uint8_t* codes, int32_t* distances) {
  const Word first = CountLanes(Xor(query, LoadLanes<kBytes>(codes)));
  const Word second = CountLanes(Xor(query, LoadLanes<kBytes>(codes + 4 * kBytes)));
  // The 32-bit halves of the lanes hold codes 0 4 1 5 2 6 3 7; put them in order.
  const Word mixed = _mm256_or_si256(first, _mm256_slli_epi64(second, 32));
  const Word order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  _mm256_storeu_si256(reinterpret_cast<Word*>(distances),
                      _mm256_permutevar8x32_epi32(mixed, order));
}

#include "least-inl.h"

}  // namespace

const Kernel* Avx2Kernel() {
  static const Kernel kernel{"avx2", Distances, Least, &kSliced};
  return &kernel;
}

}  // namespace tfhash

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

namespace tfhash {
const Kernel* Avx2Kernel() { return nullptr; }
}  // namespace tfhash

#endif
