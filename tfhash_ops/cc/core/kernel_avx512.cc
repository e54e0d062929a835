#include "kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#define TFHASH_INLINE inline __attribute__((always_inline))

#if defined(TFHASH_EMULATED)
// A test emulates the instructions as functions; the compiler must not emit them.
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

// Short codes are compared at memory bandwidth, but only if they are prefetched early enough.
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
TFHASH_INLINE Word Min(Word a, Word b) { return _mm512_min_epi32(a, b); }

// The last argument of ternarylogic is a truth table with index 4a + 2b + c.
TFHASH_INLINE void CarrySaveAdd(Word a, Word b, Word c, Word& sum, Word& carry) {
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

constexpr int LaneBytes(int bytes) { return bytes <= 4 ? 4 : 8; }

#include "lanes-inl.h"

template <int kBytes>
TFHASH_INLINE Word LoadLanes(const uint8_t* codes) {
  if constexpr (kBytes == LaneBytes(kBytes)) {
    return LoadUnaligned(codes);
  } else {
    constexpr int kRunBytes = Lanes<kBytes>::kRunBytes;
    Word runs = _mm512_castsi128_si512(LoadRun(codes));
    runs = _mm512_inserti32x4(runs, LoadRun(codes + kRunBytes), 1);
    runs = _mm512_inserti32x4(runs, LoadRun(codes + 2 * kRunBytes), 2);
    runs = _mm512_inserti32x4(runs, LoadRun(codes + 3 * kRunBytes), 3);
    return _mm512_shuffle_epi8(runs, _mm512_broadcast_i32x4(LoadRun(kLanes<kBytes>.order)));
  }
}

template <int kBytes>
TFHASH_INLINE void DistancesOfStep(Word query, const uint8_t* codes, int32_t* distances) {
  const Word differ = Xor(query, LoadLanes<kBytes>(codes));
  if constexpr (LaneBytes(kBytes) == 4) {
    _mm512_storeu_si512(distances, _mm512_popcnt_epi32(differ));
  } else {
    const __m256i counts = _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(differ));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(distances), counts);
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
