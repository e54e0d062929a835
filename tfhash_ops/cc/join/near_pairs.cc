#include "join/near_pairs.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define TFHASH_INLINE inline __attribute__((always_inline))

namespace tfhash::join {
namespace {

// Targets are attributes of functions: no inline function of the standard library may be compiled
// for a CPU that this one might not be.
template <int64_t kWords>
TFHASH_INLINE void FindByWords(const uint64_t* codes, int64_t words, const Tile& tile,
                               int64_t radius, std::vector<Hit>* hits) {
  if (kWords != 0) words = kWords;
  for (int64_t i = tile.row_begin; i < tile.row_end; ++i) {
    const uint64_t* row = codes + i * words;
    for (int64_t j = std::max(tile.column_begin, i + 1); j < tile.column_end; ++j) {
      const uint64_t* column = codes + j * words;
      int64_t distance = 0;
      for (int64_t w = 0; w < words; ++w) {
        distance += __builtin_popcountll(row[w] ^ column[w]);
        // Most pairs of long codes are far apart after a few words.
        if (kWords == 0 && w % 4 == 3 && distance > radius) break;
      }
      if (distance <= radius) hits->push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(j)});
    }
  }
}

TFHASH_INLINE void FindByLength(const uint64_t* codes, int64_t words, const Tile& tile,
                                int64_t radius, std::vector<Hit>* hits) {
  switch (words) {
    case 1: return FindByWords<1>(codes, words, tile, radius, hits);
    case 2: return FindByWords<2>(codes, words, tile, radius, hits);
    default: return FindByWords<0>(codes, words, tile, radius, hits);
  }
}

void FindPortably(const uint64_t* codes, int64_t words, const Tile& tile, int64_t radius,
                  std::vector<Hit>* hits) {
  FindByLength(codes, words, tile, radius, hits);
}

#if defined(__x86_64__)

__attribute__((target("popcnt"))) void FindByPopcnt(const uint64_t* codes, int64_t words,
                                                    const Tile& tile, int64_t radius,
                                                    std::vector<Hit>* hits) {
  FindByLength(codes, words, tile, radius, hits);
}

#define TFHASH_AVX512 __attribute__((target("avx512f,avx512vpopcntdq,popcnt")))

TFHASH_AVX512 void FindByAvx512(const uint64_t* codes, int64_t, const Tile& tile, int64_t radius,
                                std::vector<Hit>* hits) {
  constexpr int64_t kLanes = 8;
  const __m512i limit = _mm512_set1_epi64(radius);
  for (int64_t i = tile.row_begin; i < tile.row_end; ++i) {
    const __m512i row = _mm512_set1_epi64(static_cast<int64_t>(codes[i]));
    int64_t j = std::max(tile.column_begin, i + 1);
    const auto add = [&](uint32_t mask) {
      for (; mask != 0; mask &= mask - 1) {
        const int64_t column = j + __builtin_ctz(mask);
        hits->push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(column)});
      }
    };
    for (; j + 4 * kLanes <= tile.column_end; j += 4 * kLanes) {
      __mmask8 near[4];
      for (int part = 0; part < 4; ++part) {
        const __m512i differ = _mm512_xor_si512(row, _mm512_loadu_si512(codes + j + 8 * part));
        near[part] = _mm512_cmple_epu64_mask(_mm512_popcnt_epi64(differ), limit);
      }
      const uint32_t all = near[0] | near[1] << 8 | near[2] << 16 | uint32_t{near[3]} << 24;
      if (__builtin_expect(all != 0, 0)) add(all);
    }
    for (; j < tile.column_end; j += kLanes) {
      const int64_t rest = std::min(kLanes, tile.column_end - j);
      const auto lanes = static_cast<__mmask8>((1u << rest) - 1);
      const __m512i differ = _mm512_xor_si512(row, _mm512_maskz_loadu_epi64(lanes, codes + j));
      add(_mm512_mask_cmple_epu64_mask(lanes, _mm512_popcnt_epi64(differ), limit));
    }
  }
}

#endif

}  // namespace

NearPairs NearPairsOf(const std::string& kernel, int64_t words) {
#if defined(__x86_64__)
  if (kernel == "avx512") {
    if (words == 1) return {FindByAvx512, 0.25};
    return {FindByPopcnt, 0.5};
  }
  if (kernel == "avx2") return {FindByPopcnt, 0.5};
#endif
  static_cast<void>(words);
  return {FindPortably, kernel == "neon" ? 1.0 : 2.5};
}

}  // namespace tfhash::join
