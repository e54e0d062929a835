// Partition of a search among warps: each compares a group of queries with a slice of the items.

#ifndef TFHASH_OPS_CC_CUDA_PLAN_H_
#define TFHASH_OPS_CC_CUDA_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "cuda/hamming.h"
#include "cuda/pairs.h"

namespace tfhash::cuda {

// Queries of a group: one per lane, because a lane may keep the state of one query.
constexpr int kQueriesOfWarp = kLanes;

// Least number of steps in a slice, to amortize the fixed cost per slice.
constexpr int64_t kMinStepsOfSlice = 16;

__host__ __device__ inline int64_t GroupsOf(int64_t queries) {
  return (queries + kQueriesOfWarp - 1) / kQueriesOfWarp;
}

inline int64_t StepsOf(int64_t items) { return (items + kItemsOfStep - 1) / kItemsOfStep; }

struct Plan {
  // Slices per concurrent warp: several, for load balance at the end of a search.
  static constexpr int64_t kTasksOfWarp = 2;

  int64_t queries_at_a_time;
  int64_t slices;
};

// Chooses as many queries at a time as memory allows, in whole groups, then as many slices. A query
// takes `bytes` bytes for each slice.
inline Plan MakePlan(const Device& device, int64_t queries, int64_t items, int64_t bytes) {
  const int64_t affordable = std::max<int64_t>(1, device.scratch_bytes / bytes);
  const int64_t at_a_time = std::clamp<int64_t>(
      affordable < kQueriesOfWarp ? affordable : affordable / kQueriesOfWarp * kQueriesOfWarp, 1,
      std::max<int64_t>(1, queries));
  const int64_t groups = GroupsOf(at_a_time);
  const int64_t wanted = (Plan::kTasksOfWarp * device.warps + groups - 1) / groups;
  return {at_a_time, std::max<int64_t>(1, std::min({wanted, StepsOf(items) / kMinStepsOfSlice,
                                                    affordable / at_a_time}))};
}

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_PLAN_H_
