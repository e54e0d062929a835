// Distances of many pairs at a time: the inner loop of every kernel.

#ifndef TFHASH_OPS_CC_CUDA_PAIRS_H_
#define TFHASH_OPS_CC_CUDA_PAIRS_H_

#include <algorithm>
#include <cstdint>

#include "cuda/device.h"

namespace tfhash::cuda {

// Codes as rows of `pieces` pieces; a piece has as many words as the kernel is compiled for. Bits beyond
// the end of a code are zero.
struct WordCodes {
  const uint32_t* data;
  int64_t count;
  int pieces;
};

struct Range {
  int64_t begin;
  int64_t end;
};

// The i-th of `parts` ranges of equal size, rounded up to a multiple of `unit`.
__host__ __device__ inline Range Part(int64_t count, int64_t parts, int64_t i, int64_t unit) {
  const int64_t units = (count + unit - 1) / unit;
  const int64_t begin = units * i / parts * unit, end = units * (i + 1) / parts * unit;
  return {begin < count ? begin : count, end < count ? end : count};
}

// Loaded by one instruction.
template <int kWords>
struct alignas(4 * kWords) Piece {
  uint32_t words[kWords];
};

// Items that each lane compares with all queries of a step.
constexpr int kItemsOfLane = 8;
constexpr int kItemsOfStep = kItemsOfLane * kLanes;

// Compares a range of items with a range of queries in steps of kItemsOfStep items and kQueries queries,
// and calls visit(query, item, distances) for each step: distances[i][j] is the distance between query
// `query + j` and item `item + i * kLanes + Lane()`. Past the ends of the ranges, the last query and the
// last item are repeated.
//
// REQUIRES: no range is empty; all lanes of the warp call it
template <int kWords, int kQueries, typename Visit>
__device__ void ForEachStep(const WordCodes& queries, Range query_range, const WordCodes& items,
                            Range item_range, const Visit& visit) {
  const auto* query_data = reinterpret_cast<const Piece<kWords>*>(queries.data);
  const auto* item_data = reinterpret_cast<const Piece<kWords>*>(items.data);
  const int pieces = items.pieces;
  for (int64_t item = item_range.begin; item < item_range.end; item += kItemsOfStep) {
    int64_t rows[kItemsOfLane];
    Piece<kWords> own[kItemsOfLane];
#pragma unroll
    for (int i = 0; i < kItemsOfLane; ++i) {
      const int64_t index = item + i * kLanes + Lane();
      rows[i] = (index < item_range.end ? index : item_range.end - 1) * pieces;
      own[i] = item_data[rows[i]];
    }
    for (int64_t query = query_range.begin; query < query_range.end; query += kQueries) {
      int32_t distances[kItemsOfLane][kQueries] = {};
      for (int piece = 0; piece < pieces; ++piece) {
        // Items with short codes stay in registers for all queries.
        if (pieces > 1) {
#pragma unroll
          for (int i = 0; i < kItemsOfLane; ++i) own[i] = item_data[rows[i] + piece];
        }
#pragma unroll
        for (int j = 0; j < kQueries; ++j) {
          const int64_t index = query + j < query_range.end ? query + j : query_range.end - 1;
          const Piece<kWords> asked = query_data[index * pieces + piece];
#pragma unroll
          for (int i = 0; i < kItemsOfLane; ++i) {
#pragma unroll
            for (int w = 0; w < kWords; ++w) {
              distances[i][j] += __popc(own[i].words[w] ^ asked.words[w]);
            }
          }
        }
      }
      visit(query, item, distances);
    }
  }
}

// Shared-memory copy of the distances of a step, because registers cannot be indexed at run time. Each
// lane accesses its own distances.
template <int kQueries>
struct StagedDistances {
  int32_t of_lanes[kItemsOfLane][kQueries][kLanes];

  __device__ void Put(const int32_t (&distances)[kItemsOfLane][kQueries]) {
#pragma unroll
    for (int i = 0; i < kItemsOfLane; ++i) {
#pragma unroll
      for (int j = 0; j < kQueries; ++j) of_lanes[i][j][Lane()] = distances[i][j];
    }
  }
  __device__ int32_t operator()(int i, int j) const { return of_lanes[i][j][Lane()]; }
};

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_PAIRS_H_
