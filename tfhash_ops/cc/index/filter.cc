#include "index/filter.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tfhash {

int64_t FilterByDistances(const Kernel& kernel, const uint8_t* query, const uint8_t* table,
                          const Range* ranges, int64_t count, int64_t bytes, int64_t limit,
                          int64_t* rows, int32_t* distances) {
  int64_t found = 0;
  for (int64_t r = 0; r < count; ++r) {
    const Range range = ranges[r];
    if (range.size() == 0) continue;
    int32_t all[kFilterRows];
    kernel.distances(query, table + range.begin * bytes, range.size(), bytes, all);
    if (kernel.least(all, range.size()) > limit) continue;
    for (int64_t i = 0; i < range.size(); ++i) {
      if (all[i] > limit) continue;
      rows[found] = range.begin + i;
      distances[found++] = all[i];
    }
  }
  return found;
}

#if defined(__x86_64__)

namespace {

#define TFHASH_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,avx512dq,popcnt,bmi2")))

// The forms with a mask, because GCC 12 warns of the others.

// The bits that differ, by group of kBytes bytes, in the lowest 64-bit lane of each group.
template <int kBytes>
TFHASH_AVX512 inline __m512i CountGroups(__m512i differ) {
  __m512i counts = _mm512_popcnt_epi64(differ);
  if constexpr (kBytes >= 16) {
    counts = _mm512_add_epi64(counts, _mm512_bsrli_epi128(counts, 8));
  }
  if constexpr (kBytes >= 32) {
    // Lane 2 of each half onto lane 0.
    counts = _mm512_add_epi64(counts, _mm512_maskz_permutex_epi64(0xFF, counts, 0b01'00'11'10));
  }
  return counts;
}

// Codes of 8, 16 or 32 bytes: 8, 4 or 2 in a register.
template <int kBytes>
TFHASH_AVX512 int64_t FilterWords(const Kernel&, const uint8_t* query, const uint8_t* table,
                                  const Range* ranges, int64_t count, int64_t, int64_t limit,
                                  int64_t* rows, int32_t* distances) {
  constexpr int kLanes = kBytes / 8;
  constexpr __mmask8 kFirst = kLanes == 1 ? 0xFF : kLanes == 2 ? 0x55 : 0x11;
  __m512i repeated;
  if constexpr (kBytes == 8) {
    const __m128i code = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(query));
    repeated = _mm512_maskz_broadcastq_epi64(0xFF, code);
  } else if constexpr (kBytes == 16) {
    const __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i*>(query));
    repeated = _mm512_maskz_broadcast_i32x4(0xFFFF, code);
  } else {
    const __m256i code = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query));
    repeated = _mm512_maskz_broadcast_i64x4(0xFF, code);
  }
  const __m512i limits = _mm512_set1_epi64(limit);
  int64_t found = 0;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t end = ranges[r].end * kLanes;
    for (int64_t lane = ranges[r].begin * kLanes; lane < end; lane += 8) {
      // All lanes of a full register, the first ones of the last.
      const __mmask8 loaded = _bzhi_u32(0xFF, static_cast<unsigned>(std::min<int64_t>(end - lane, 8)));
      const __m512i codes = _mm512_maskz_loadu_epi64(loaded, table + 8 * lane);
      const __m512i counts = CountGroups<kBytes>(_mm512_xor_si512(codes, repeated));
      unsigned near = _mm512_mask_cmple_epi64_mask(loaded & kFirst, counts, limits);
      if (__builtin_expect(near == 0, 1)) continue;
      alignas(64) int64_t values[8];
      _mm512_store_si512(values, counts);
      for (; near != 0; near &= near - 1) {
        const int at = __builtin_ctz(near);
        rows[found] = (lane + at) / kLanes;
        distances[found++] = static_cast<int32_t>(values[at]);
      }
    }
  }
  return found;
}

}  // namespace

Filter Avx512Filter(int64_t bytes) {
  switch (bytes) {
    case 8: return FilterWords<8>;
    case 16: return FilterWords<16>;
    case 32: return FilterWords<32>;
    default: return nullptr;
  }
}

#else

Filter Avx512Filter(int64_t) { return nullptr; }

#endif

}  // namespace tfhash
