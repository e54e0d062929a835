// Selects the k nearest of the candidates that a warp finds for one query.

#ifndef TFHASH_OPS_CC_CUDA_SELECTION_H_
#define TFHASH_OPS_CC_CUDA_SELECTION_H_

#include <cstdint>

#include "cuda/device.h"

namespace tfhash::cuda {

// Loaded and stored by one instruction.
struct alignas(8) Candidate {
  int32_t distance;
  uint32_t index;
};

// Capacity of a selection: 2k - 1 candidates and those of one step.
__host__ __device__ inline int64_t RoomOfSelection(int64_t k) { return 2 * k + kLanes; }

// Number of the `count` candidates at this distance or nearer.
__device__ inline int CountUpTo(const Candidate* candidates, int count, int32_t distance) {
  int found = 0;
  for (int i = Lane(); i < count; i += kLanes) found += candidates[i].distance <= distance;
  return static_cast<int>(__reduce_add_sync(kAllLanes, static_cast<unsigned>(found)));
}

// Keeps the k nearest of `count` candidates, without changing their order; ties at the k-th distance go
// to the first. Returns the k-th distance.
//
// REQUIRES: 1 <= k <= count; all lanes of the warp call it
__device__ inline int32_t KeepNearest(Candidate* candidates, int count, int k) {
  // Binary search for the k-th smallest distance.
  int32_t low = 0, high = 0;
  for (int i = Lane(); i < count; i += kLanes) high = max(high, candidates[i].distance);
  high = __reduce_max_sync(kAllLanes, high);
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (CountUpTo(candidates, count, middle) >= k) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  int ties = k - CountUpTo(candidates, count, low - 1);
  int kept = 0;
  for (int first = 0; first < count; first += kLanes) {
    const int i = first + Lane();
    const Candidate candidate = i < count ? candidates[i] : Candidate{INT32_MAX, 0};
    const unsigned tied = __ballot_sync(kAllLanes, candidate.distance == low);
    const bool stays =
        candidate.distance < low || (candidate.distance == low && RankIn(tied) < ties);
    const unsigned staying = __ballot_sync(kAllLanes, stays);
    // Compacting in place: only candidates that were already read are overwritten.
    __syncwarp();
    if (stays) candidates[kept + RankIn(staying)] = candidate;
    ties -= __popc(tied);
    kept += __popc(staying);
  }
  __syncwarp();
  return low;
}

// Pushes one candidate from every lane, in the order of the lanes, if it is nearer than `limit`. Lowers
// the limit when there are 2k candidates. The caller may lower the limit at any time as well.
//
// REQUIRES: all lanes of the warp call it with the same `count` < 2k and the same `limit`
__device__ inline void Push(Candidate* candidates, int* count, int32_t* limit, int k,
                            const Candidate& candidate) {
  const bool is_near = candidate.distance < *limit;
  const unsigned near = __ballot_sync(kAllLanes, is_near);
  if (near == 0) return;
  if (is_near) candidates[*count + RankIn(near)] = candidate;
  *count += __popc(near);
  __syncwarp();
  if (*count < 2 * k) return;
  *limit = min(*limit, KeepNearest(candidates, *count, k));
  *count = k;
}

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_SELECTION_H_
