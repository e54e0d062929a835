// How a search is shared among warps: each compares a group of queries with a slice of the items.

#ifndef TFHASH_OPS_CC_CUDA_PLAN_H_
#define TFHASH_OPS_CC_CUDA_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "cuda/hamming.h"
#include "cuda/pairs.h"

namespace tfhash::cuda {

// Queries of a group: as many as there are lanes, for each may mind one of them.
constexpr int kQueriesOfWarp = kLanes;

// Steps that a slice has at least, so that what a warp does once for it is worth while.
constexpr int64_t kMinStepsOfSlice = 16;

__host__ __device__ inline int64_t GroupsOf(int64_t queries) {
  return (queries + kQueriesOfWarp - 1) / kQueriesOfWarp;
}

inline int64_t StepsOf(int64_t items) { return (items + kItemsOfStep - 1) / kItemsOfStep; }

struct Plan {
  // Slices of a search for each warp that can run at the same time: several, so that none has to
  // wait long for the last one.
  static constexpr int64_t kTasksOfWarp = 2;

  int64_t queries_at_a_time;
  int64_t slices;
};

// As many queries at a time as there is memory for, in whole groups; then as many slices. Each query
// takes `bytes` for each slice.
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
