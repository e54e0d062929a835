// Every warp compares a group of queries with a slice of the items and keeps the nearest candidates of
// each query. The candidates of adjacent slices are then merged until one slice is left. Distances are
// never written to global memory, and candidates stay in the order of the items.

#include <algorithm>

#include "cuda/hamming.h"
#include "cuda/pairs.h"
#include "cuda/plan.h"
#include "cuda/selection.h"
#include "cuda/words.h"

namespace tfhash::cuda {
namespace {

constexpr int kQueriesOfStep = 4;  // listed one by one where their signs are tested

// Slices merged at a time.
constexpr int64_t kSlicesOfMerge = 32;

struct Search {
  WordCodes queries;
  WordCodes items;
  int k;
  int32_t limit;  // above all distances
  int64_t slices;
  // For each slice and query: RoomOfSelection(k) candidates, and their number.
  Candidate* candidates;
  int32_t* counts;
  // For each query, an upper bound on the distance of its k-th nearest item.
  int32_t* bounds;

  __host__ __device__ int64_t groups() const { return GroupsOf(queries.count); }
  __device__ Candidate* Selected(int64_t slice, int64_t query) const {
    return candidates + (slice * queries.count + query) * RoomOfSelection(k);
  }
  __device__ int32_t& Count(int64_t slice, int64_t query) const {
    return counts[slice * queries.count + query];
  }
};

__global__ void SetBounds(Search search) {
  const int64_t query = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (query < search.queries.count) search.bounds[query] = search.limit;
}

template <int kWords>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor) Select(Search search) {
  __shared__ StagedDistances<kQueriesOfStep> of_warps[kWarpsOfBlock];
  StagedDistances<kQueriesOfStep>& staged = of_warps[WarpOfBlock()];
  const int lane = Lane();
  // Warps of a block read the same items.
  const int64_t slice = Warp() / search.groups(), first = Warp() % search.groups() * kQueriesOfWarp;
  if (slice >= search.slices) return;
  const Range queries = {first, min(first + kQueriesOfWarp, search.queries.count)};
  const Range items = Part(search.items.count, search.slices, slice, kItemsOfStep);

  // Lane i keeps the state of the selection of query first + i.
  const bool is_query = first + lane < queries.end;
  int count = 0;
  int32_t limit = is_query ? search.limit : 0;

  ForEachStep<kWords, kQueriesOfStep>(
      search.queries, queries, search.items, items,
      [&](int64_t query, int64_t item, const int32_t (&distances)[kItemsOfLane][kQueriesOfStep]) {
        const int owner = static_cast<int>(query - first);
        if (owner == 0 && is_query) {
          // The bound from other slices rules out farther items, whatever their index.
          const auto* bound = static_cast<volatile const int32_t*>(search.bounds + first + lane);
          limit = min(limit, *bound + 1);
        }
        // Negative if any distance is below the limit.
        int32_t nearest[kQueriesOfStep] = {};
#pragma unroll
        for (int j = 0; j < kQueriesOfStep; ++j) {
          const int32_t of_query = __shfl_sync(kAllLanes, limit, owner + j);
#pragma unroll
          for (int i = 0; i < kItemsOfLane; ++i) nearest[j] |= distances[i][j] - of_query;
        }
        if (!__any_sync(kAllLanes, (nearest[0] | nearest[1] | nearest[2] | nearest[3]) < 0)) return;

        staged.Put(distances);
#pragma unroll
        for (int j = 0; j < kQueriesOfStep; ++j) {
          if (!__any_sync(kAllLanes, nearest[j] < 0)) continue;
          int found = __shfl_sync(kAllLanes, count, owner + j);
          const int32_t before = __shfl_sync(kAllLanes, limit, owner + j);
          int32_t below = before;
          for (int i = 0; i < kItemsOfLane; ++i) {
            const int64_t index = item + i * kLanes + lane;
            Push(search.Selected(slice, query + j), &found, &below, search.k,
                 {index < items.end ? staged(i, j) : search.limit,
                   static_cast<uint32_t>(index)});
          }
          if (lane == owner + j) {
            count = found;
            limit = below;
            if (below < before) atomicMin(search.bounds + query + j, below);
          }
        }
      });

  for (int64_t query = queries.begin; query < queries.end; ++query) {
    const int owner = static_cast<int>(query - first);
    int found = __shfl_sync(kAllLanes, count, owner);
    if (found > search.k) {
      KeepNearest(search.Selected(slice, query), found, search.k);
      found = search.k;
    }
    if (lane == owner) search.Count(slice, query) = found;
  }
}

// Merges the candidates of kSlicesOfMerge slices, `stride` apart, into the first of them.
__global__ void Merge(Search search, int64_t stride) {
  const int64_t query = Warp() % search.queries.count;
  const int64_t first = Warp() / search.queries.count * kSlicesOfMerge * stride;
  if (first >= search.slices) return;
  const int64_t end = min(first + kSlicesOfMerge * stride, search.slices);
  Candidate* nearest = search.Selected(first, query);
  int count = search.Count(first, query);
  int32_t limit = search.limit;
  for (int64_t slice = first + stride; slice < end; slice += stride) {
    const Candidate* selected = search.Selected(slice, query);
    const int found = search.Count(slice, query);
    for (int i = Lane(); i - Lane() < found; i += kLanes) {
      Push(nearest, &count, &limit, search.k,
           i < found ? selected[i] : Candidate{search.limit, 0});
    }
  }
  if (count > search.k) {
    KeepNearest(nearest, count, search.k);
    count = search.k;
  }
  if (Lane() == 0) search.Count(first, query) = count;
}

// Writes the k nearest items, which the first slice holds in the order of the items, in ascending order
// of the distance.
template <typename Index>
__global__ void WriteNearest(Search search, int32_t* distances, Index* indices) {
  const int64_t query = Warp();
  if (query >= search.queries.count) return;
  const Candidate* nearest = search.Selected(0, query);
  int32_t distance = -1;
  for (int rank = 0; rank < search.k && distance < search.limit;) {
    int32_t next = search.limit;
    for (int i = Lane(); i < search.k; i += kLanes) {
      if (nearest[i].distance > distance) next = min(next, nearest[i].distance);
    }
    distance = __reduce_min_sync(kAllLanes, next);
    for (int i = Lane(); i - Lane() < search.k; i += kLanes) {
      const bool is_next = i < search.k && nearest[i].distance == distance;
      const unsigned at_distance = __ballot_sync(kAllLanes, is_next);
      if (is_next) {
        const int64_t place = query * search.k + rank + RankIn(at_distance);
        distances[place] = distance;
        indices[place] = static_cast<Index>(nearest[i].index);
      }
      rank += __popc(at_distance);
    }
  }
}

}  // namespace

template <typename Index>
void HammingTopK(const Device& device, const Codes& queries, const Codes& database, int64_t k,
                 int32_t* distances, Index* indices) {
  if (queries.count == 0) return;
  const WordCodes asked = ToWords(device, queries), items = ToWords(device, database);
  const int64_t bytes_of_selection = RoomOfSelection(k) * sizeof(Candidate) + sizeof(int32_t);
  const Plan plan = MakePlan(device, queries.count, items.count, bytes_of_selection);
  const int64_t at_a_time = plan.queries_at_a_time, slices = plan.slices;
  Search search{asked,
                items,
                static_cast<int>(k),
                static_cast<int32_t>(8 * queries.bytes + 1),
                slices,
                device.Allocate<Candidate>(slices * at_a_time * RoomOfSelection(k)),
                device.Allocate<int32_t>(slices * at_a_time),
                device.Allocate<int32_t>(at_a_time)};
  WithWords(queries.bytes, [&](auto words) {
    for (int64_t first = 0; first < queries.count; first += at_a_time) {
      search.queries.data = asked.data + first * asked.pieces * words;
      search.queries.count = std::min(at_a_time, queries.count - first);
      Check(Launch(SetBounds, search.groups(), device.stream, search));
      Check(Launch(Select<words>, search.groups() * slices, device.stream, search));
      for (int64_t stride = 1; stride < slices; stride *= kSlicesOfMerge) {
        const int64_t merges = (slices + stride * kSlicesOfMerge - 1) / (stride * kSlicesOfMerge);
        Check(Launch(Merge, search.queries.count * merges, device.stream, search, stride));
      }
      Check(Launch(WriteNearest<Index>, search.queries.count, device.stream, search,
                   distances + first * k, indices + first * k));
    }
  });
}

template void HammingTopK(const Device&, const Codes&, const Codes&, int64_t, int32_t*, int32_t*);
template void HammingTopK(const Device&, const Codes&, const Codes&, int64_t, int32_t*, int64_t*);

}  // namespace tfhash::cuda
