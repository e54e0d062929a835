// Counted first, written then: every warp compares some queries with a slice of the items, and counts
// those at each distance up to the radius. A running sum over queries, distances and slices, in that
// order, is where each of these lots goes, and a second pass puts its items there in their order.

#include <algorithm>

#include "cuda/hamming.h"
#include "cuda/pairs.h"
#include "cuda/plan.h"
#include "cuda/words.h"

#if !defined(TFHASH_EMULATE_CUDA)
#include <cub/device/device_scan.cuh>
#endif

namespace tfhash::cuda {
namespace {

constexpr int kQueriesOfStep = 4;

struct Search {
  WordCodes queries;
  WordCodes items;
  int32_t radius;
  int64_t slices;
  // For each query, distance and slice a lot: its size, then the place of its next item.
  Counter* lots;

  __host__ __device__ int64_t lots_of_query() const { return (radius + int64_t{1}) * slices; }
  __host__ __device__ int64_t groups() const { return GroupsOf(queries.count); }
};

// Calls visit(query, index, distance, lot) for a candidate of every lane, in the order of the items;
// lot is null where the lane has none.
template <int kWords, typename Visit>
__device__ void ForEachNear(const Search& search, const Visit& visit) {
  __shared__ StagedDistances<kQueriesOfStep> of_warps[kWarpsOfBlock];
  StagedDistances<kQueriesOfStep>& staged = of_warps[WarpOfBlock()];
  const int64_t slice = Warp() / search.groups(), first = Warp() % search.groups() * kQueriesOfWarp;
  if (slice >= search.slices) return;
  const Range queries = {first, min(first + kQueriesOfWarp, search.queries.count)};
  const Range items = Part(search.items.count, search.slices, slice, kItemsOfStep);
  ForEachStep<kWords, kQueriesOfStep>(
      search.queries, queries, search.items, items,
      [&](int64_t query, int64_t item, const int32_t (&distances)[kItemsOfLane][kQueriesOfStep]) {
        int32_t least = search.radius + 1;
#pragma unroll
        for (int i = 0; i < kItemsOfLane; ++i) {
#pragma unroll
          for (int j = 0; j < kQueriesOfStep; ++j) least = min(least, distances[i][j]);
        }
        if (!__any_sync(kAllLanes, least <= search.radius)) return;
        staged.Put(distances);
        for (int j = 0; j < kQueriesOfStep && query + j < queries.end; ++j) {
          for (int i = 0; i < kItemsOfLane; ++i) {
            const int64_t index = item + i * kLanes + Lane();
            const int32_t distance = staged(i, j);
            const bool is_near = index < items.end && distance <= search.radius;
            visit(query + j, index, distance,
                  is_near ? search.lots + (query + j) * search.lots_of_query() +
                                distance * search.slices + slice
                          : nullptr);
          }
        }
      });
}

template <int kWords>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor) CountLots(Search search) {
  ForEachNear<kWords>(search, [&](int64_t, int64_t, int32_t, Counter* lot) {
    if (lot != nullptr) atomicAdd(lot, Counter{1});
  });
}

template <typename Index>
__global__ void WriteSplits(Search search, int64_t first_query, Index* row_splits) {
  const int64_t query = Warp() * kLanes + Lane();
  // The end of the last row, too, which the next queries or none will write again.
  if (query > search.queries.count) return;
  row_splits[first_query + query] = static_cast<Index>(search.lots[query * search.lots_of_query()]);
}

template <int kWords, typename Index>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor)
    WriteLots(Search search, int64_t size, int32_t* distances, Index* indices) {
  ForEachNear<kWords>(search, [&](int64_t, int64_t index, int32_t distance, Counter* lot) {
    // What another lane wrote for the items before is to be read now.
    __syncwarp();
    const unsigned peers = __match_any_sync(kAllLanes, lot == nullptr ? -1 : distance);
    Counter place = 0;
    if (lot != nullptr) place = *lot + RankIn(peers);
    __syncwarp();
    if (lot == nullptr) return;
    if (RankIn(peers) == 0) *lot += __popc(peers);
    if (place < static_cast<Counter>(size)) {
      distances[place] = distance;
      indices[place] = static_cast<Index>(index);
    }
  });
}

template <typename Index>
__global__ void Fill(int64_t begin, int64_t end, int32_t* distances, Index* indices) {
  const int64_t i = begin + Warp() * kLanes + Lane();
  if (i >= end) return;
  distances[i] = -1;
  indices[i] = -1;
}

// Makes a running sum of `count` numbers of them. Called without memory it does nothing but set how
// many bytes of it there must be.
void SumUp(void* memory, size_t* bytes, Counter* numbers, int64_t count,
           [[maybe_unused]] cudaStream_t stream) {
#if defined(TFHASH_EMULATE_CUDA)
  *bytes = 1;
  for (int64_t i = 1; memory != nullptr && i < count; ++i) numbers[i] += numbers[i - 1];
#else
  Check(cub::DeviceScan::InclusiveSum(memory, *bytes, numbers, count, stream));
#endif
}

}  // namespace

template <typename Index>
int64_t HammingWithin(const Device& device, const Codes& queries, const Codes& database,
                      int64_t radius, int64_t size, Index* row_splits, int32_t* distances,
                      Index* indices) {
  Search search{ToWords(device, queries), ToWords(device, database),
                static_cast<int32_t>(std::min(radius, 8 * queries.bytes)), 0, nullptr};
  const WordCodes asked = search.queries;
  const int64_t bytes_of_query = sizeof(Counter) * (search.radius + int64_t{1});
  const Plan plan = MakePlan(device, queries.count, database.count, bytes_of_query);
  const int64_t at_a_time = plan.queries_at_a_time;
  search.slices = plan.slices;

  // The sum begins with a number that says where the first lot goes, and ends with where the first
  // one of the queries that follow goes.
  const int64_t lots = at_a_time * search.lots_of_query();
  search.lots = device.Allocate<Counter>(lots + 1);
  Check(Clear(search.lots, 1, device.stream));
  size_t bytes_of_sum = 0;
  SumUp(nullptr, &bytes_of_sum, search.lots, lots + 1, device.stream);
  void* const memory_of_sum = device.Allocate<char>(bytes_of_sum);
  Counter found = 0;
  WithWords(queries.bytes, [&](auto words) {
    // Once without any queries, too: there is always a first split.
    for (int64_t first = 0; first == 0 || first < queries.count; first += at_a_time) {
      search.queries.data = asked.data + first * asked.pieces * words;
      search.queries.count = std::min(at_a_time, queries.count - first);
      const int64_t lots_of_queries = search.queries.count * search.lots_of_query();
      const int64_t warps = search.groups() * search.slices;
      Search counting = search;
      ++counting.lots;
      Check(Clear(counting.lots, lots_of_queries, device.stream));
      Check(Launch(CountLots<words>, warps, device.stream, counting));
      SumUp(memory_of_sum, &bytes_of_sum, search.lots, lots_of_queries + 1, device.stream);
      Check(Launch(WriteSplits<Index>, search.groups() + 1, device.stream, search, first,
                   row_splits));
      const Counter* end = search.lots + lots_of_queries;
      Check(cudaMemcpyAsync(&found, end, sizeof(Counter), cudaMemcpyDeviceToHost, device.stream));
      Check(Launch(WriteLots<words, Index>, warps, device.stream, search, size, distances,
                   indices));
      Check(cudaMemcpyAsync(search.lots, end, sizeof(Counter), cudaMemcpyDeviceToDevice,
                            device.stream));
    }
  });
  Check(cudaStreamSynchronize(device.stream));
  return static_cast<int64_t>(found);
}

template <typename Index>
void FillUp(const Device& device, int64_t begin, int64_t end, int32_t* distances, Index* indices) {
  if (begin >= end) return;
  Check(Launch(Fill<Index>, (end - begin + kLanes - 1) / kLanes, device.stream, begin, end,
               distances, indices));
}

#define TFHASH_INSTANTIATE(Index)                                                              \
  template int64_t HammingWithin(const Device&, const Codes&, const Codes&, int64_t, int64_t,  \
                                 Index*, int32_t*, Index*);                                    \
  template void FillUp(const Device&, int64_t, int64_t, int32_t*, Index*)
TFHASH_INSTANTIATE(int32_t);
TFHASH_INSTANTIATE(int64_t);
#undef TFHASH_INSTANTIATE

}  // namespace tfhash::cuda
