// The k nearest of the candidates that a warp meets for one query.

#ifndef TFHASH_OPS_CC_CUDA_SELECTION_H_
#define TFHASH_OPS_CC_CUDA_SELECTION_H_

#include <cstdint>

#include "cuda/device.h"

namespace tfhash::cuda {

// Loaded and stored whole.
struct alignas(8) Candidate {
  int32_t distance;
  uint32_t index;
};

// Candidates there must be room for: those of one step may come on top of 2k - 1.
__host__ __device__ inline int64_t RoomOfSelection(int64_t k) { return 2 * k + kLanes; }

// How many of `count` candidates are at most at this distance.
__device__ inline int CountUpTo(const Candidate* candidates, int count, int32_t distance) {
  int found = 0;
  for (int i = Lane(); i < count; i += kLanes) found += candidates[i].distance <= distance;
  return static_cast<int>(__reduce_add_sync(kAllLanes, static_cast<unsigned>(found)));
}

// Keeps the k nearest of `count` candidates, in their order; of those that are as far as the last
// of them, the first. Returns its distance.
//
// REQUIRES: 1 <= k <= count; a whole warp calls it
__device__ inline int32_t KeepNearest(Candidate* candidates, int count, int k) {
  // The least distance that k candidates do not exceed.
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
    // What is now written over has been read, for what is still to be read lies further on.
    __syncwarp();
    if (stays) candidates[kept + RankIn(staying)] = candidate;
    ties -= __popc(tied);
    kept += __popc(staying);
  }
  __syncwarp();
  return low;
}

// Takes in one candidate of every lane, in the order of the lanes, where it is nearer than `limit`,
// and lowers the limit once there are 2k. The caller may lower it, too, at any time.
//
// REQUIRES: a whole warp calls it, with the same `count`, which is below 2k, and `limit`
__device__ inline void Offer(Candidate* candidates, int* count, int32_t* limit, int k,
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
