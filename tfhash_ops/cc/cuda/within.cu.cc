// Two passes. In the first, every warp compares a group of queries with a slice of the items and counts
// the items at each distance up to the radius. A prefix sum over queries, distances and slices, in that
// order, gives the position of each bucket in the results. The second pass writes the items there in
// order.

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
  // One bucket for each query, distance and slice: first its size, then the position of its next item.
  Counter* buckets;

  __host__ __device__ int64_t buckets_of_query() const { return (radius + int64_t{1}) * slices; }
  __host__ __device__ int64_t groups() const { return GroupsOf(queries.count); }
};

// Calls visit(query, index, distance, bucket) with a candidate of every lane, in the order of the items;
// `bucket` is null if the lane has none.
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
                  is_near ? search.buckets + (query + j) * search.buckets_of_query() +
                                distance * search.slices + slice
                          : nullptr);
          }
        }
      });
}

template <int kWords>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor) CountBuckets(Search search) {
  ForEachNear<kWords>(search, [&](int64_t, int64_t, int32_t, Counter* bucket) {
    if (bucket != nullptr) atomicAdd(bucket, Counter{1});
  });
}

template <typename Index>
__global__ void WriteSplits(Search search, int64_t first_query, Index* row_splits) {
  const int64_t query = Warp() * kLanes + Lane();
  // Includes the end of the last row; the next group of queries, if any, writes it again.
  if (query > search.queries.count) return;
  row_splits[first_query + query] =
      static_cast<Index>(search.buckets[query * search.buckets_of_query()]);
}

template <int kWords, typename Index>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor)
    WriteBuckets(Search search, int64_t size, int32_t* distances, Index* indices) {
  ForEachNear<kWords>(search, [&](int64_t, int64_t index, int32_t distance, Counter* bucket) {
    // Makes the positions that other lanes wrote for earlier items visible.
    __syncwarp();
    const unsigned peers = __match_any_sync(kAllLanes, bucket == nullptr ? -1 : distance);
    Counter place = 0;
    if (bucket != nullptr) place = *bucket + RankIn(peers);
    __syncwarp();
    if (bucket == nullptr) return;
    if (RankIn(peers) == 0) *bucket += __popc(peers);
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

// Replaces `count` numbers by their inclusive prefix sum. If `memory` is null, only sets `bytes` to the
// scratch memory needed.
void PrefixSum(void* memory, size_t* bytes, Counter* numbers, int64_t count,
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

  // The prefix sum starts with the position of the first bucket and ends with the position of the first
  // bucket of the next group of queries.
  const int64_t buckets = at_a_time * search.buckets_of_query();
  search.buckets = device.Allocate<Counter>(buckets + 1);
  Check(Clear(search.buckets, 1, device.stream));
  size_t sum_bytes = 0;
  PrefixSum(nullptr, &sum_bytes, search.buckets, buckets + 1, device.stream);
  void* const sum_memory = device.Allocate<char>(sum_bytes);
  Counter found = 0;
  WithWords(queries.bytes, [&](auto words) {
    // Runs once even without queries, because there is always a first split.
    for (int64_t first = 0; first == 0 || first < queries.count; first += at_a_time) {
      search.queries.data = asked.data + first * asked.pieces * words;
      search.queries.count = std::min(at_a_time, queries.count - first);
      const int64_t buckets_of_queries = search.queries.count * search.buckets_of_query();
      const int64_t warps = search.groups() * search.slices;
      Search counting = search;
      ++counting.buckets;
      Check(Clear(counting.buckets, buckets_of_queries, device.stream));
      Check(Launch(CountBuckets<words>, warps, device.stream, counting));
      PrefixSum(sum_memory, &sum_bytes, search.buckets, buckets_of_queries + 1, device.stream);
      Check(Launch(WriteSplits<Index>, search.groups() + 1, device.stream, search, first,
                   row_splits));
      const Counter* end = search.buckets + buckets_of_queries;
      Check(cudaMemcpyAsync(&found, end, sizeof(Counter), cudaMemcpyDeviceToHost, device.stream));
      Check(Launch(WriteBuckets<words, Index>, warps, device.stream, search, size, distances,
                   indices));
      Check(cudaMemcpyAsync(search.buckets, end, sizeof(Counter), cudaMemcpyDeviceToDevice,
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
