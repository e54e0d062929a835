#include "cuda/hamming.h"
#include "cuda/pairs.h"
#include "cuda/plan.h"
#include "cuda/words.h"

namespace tfhash::cuda {
namespace {

constexpr int kQueriesOfStep = 4;

template <int kWords>
__global__ void WriteDistances(WordCodes queries, WordCodes items, int32_t* distances) {
  const int64_t groups = GroupsOf(queries.count);
  const int64_t begin = Warp() / groups * kItemsOfStep, first = Warp() % groups * kQueriesOfWarp;
  if (begin >= items.count) return;
  const Range query_range = {first, min(first + kQueriesOfWarp, queries.count)};
  const Range item_range = {begin, min(begin + kItemsOfStep, items.count)};
  ForEachStep<kWords, kQueriesOfStep>(
      queries, query_range, items, item_range,
      [&](int64_t query, int64_t item, const int32_t (&found)[kItemsOfLane][kQueriesOfStep]) {
#pragma unroll
        for (int j = 0; j < kQueriesOfStep; ++j) {
#pragma unroll
          for (int i = 0; i < kItemsOfLane; ++i) {
            const int64_t index = item + i * kLanes + Lane();
            if (query + j < query_range.end && index < item_range.end) {
              distances[(query + j) * items.count + index] = found[i][j];
            }
          }
        }
      });
}

}  // namespace

void HammingDistance(const Device& device, const Codes& queries, const Codes& database,
                     int32_t* distances) {
  const WordCodes asked = ToWords(device, queries), items = ToWords(device, database);
  const int64_t warps = GroupsOf(queries.count) * StepsOf(database.count);
  WithWords(queries.bytes, [&](auto words) {
    Check(Launch(WriteDistances<words>, warps, device.stream, asked, items, distances));
  });
}

}  // namespace tfhash::cuda
