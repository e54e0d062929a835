// Every warp compares one or two queries with a slice of the items and counts in shared memory: items in
// the low half of a word, relevant items in the high half. There are as many copies of the counters as
// fit, to avoid conflicts between lanes; they are summed at the end. Integer sums do not depend on the
// order.

#include <algorithm>
#include <type_traits>

#include "cuda/hamming.h"
#include "cuda/pairs.h"
#include "cuda/plan.h"
#include "cuda/words.h"

namespace tfhash::cuda {
namespace {

constexpr int64_t kTasksOfWarp = 4;

// Largest count in half a word.
constexpr int64_t kMaxCount = 0xFFFF;

template <typename Result>
struct Count {
  WordCodes queries;
  WordCodes items;
  int64_t bits;
  int64_t slices;
  // Copies of the counters in shared memory per warp: a power of 2, at most the number of lanes; 0 if
  // not even one fits.
  int copies;
  Result* found;
  Result* relevant;
};

template <typename Label>
struct SameLabel {
  const Label* queries;
  const Label* items;

  __device__ bool operator()(int64_t query, int64_t item) const {
    return queries[query] == items[item];
  }
};

// Labels are packed multi-hot rows.
struct SharedTag {
  const uint32_t* queries;
  const uint32_t* items;
  int64_t words;

  __device__ bool operator()(int64_t query, int64_t item) const {
    uint32_t shared = 0;
    for (int64_t i = 0; i < words; ++i) shared |= queries[query * words + i] & items[item * words + i];
    return shared != 0;
  }
};

template <int kWords, int kQueries, typename Result, typename IsRelevant>
__global__ void __launch_bounds__(kThreadsOfBlock, kBlocksOfMultiprocessor)
    CountPairs(Count<Result> count, IsRelevant is_relevant) {
  const int lane = Lane(), copies = count.copies;
  const int64_t groups = (count.queries.count + kQueries - 1) / kQueries;
  const int64_t slice = Warp() / groups, first = Warp() % groups * kQueries;
  if (slice >= count.slices) return;
  const Range queries = {first, min(first + kQueries, count.queries.count)};
  const Range items = Part(count.items.count, count.slices, slice, kItemsOfStep);
  const int64_t bins = count.bits + 1, words_of_warp = bins * kQueries * copies;
  uint32_t* counters = SharedMemory() + WarpOfBlock() * words_of_warp;
  for (int64_t i = lane; i < words_of_warp; i += kLanes) counters[i] = 0;
  __syncwarp();

  ForEachStep<kWords, kQueries>(
      count.queries, queries, count.items, items,
      [&](int64_t query, int64_t item, const int32_t (&distances)[kItemsOfLane][kQueries]) {
#pragma unroll
        for (int i = 0; i < kItemsOfLane; ++i) {
          const int64_t index = item + i * kLanes + lane;
          if (index >= items.end) continue;
#pragma unroll
          for (int j = 0; j < kQueries; ++j) {
            if (query + j >= queries.end) continue;
            const int64_t bin = j * bins + distances[i][j];
            const bool counts_twice = is_relevant(query + j, index);
            if (copies > 0) {
              atomicAdd(counters + bin * copies + lane % copies, counts_twice ? 0x10001u : 1u);
            } else {
              atomicAdd(count.found + first * bins + bin, Result{1});
              if (counts_twice) atomicAdd(count.relevant + first * bins + bin, Result{1});
            }
          }
        }
      });
  if (copies == 0) return;

  __syncwarp();
  for (int64_t bin = lane; bin < bins * (queries.end - first); bin += kLanes) {
    uint32_t found = 0, relevant = 0;
    for (int copy = 0; copy < copies; ++copy) {
      const uint32_t counted = counters[bin * copies + copy];
      found += counted & kMaxCount;
      relevant += counted >> 16;
    }
    if (found > 0) atomicAdd(count.found + first * bins + bin, Result{found});
    if (relevant > 0) atomicAdd(count.relevant + first * bins + bin, Result{relevant});
  }
}

template <typename Index, typename IsRelevant>
void Histogram(const Device& device, const Codes& queries, const Codes& database,
               const IsRelevant& is_relevant, int64_t bits, Index* items, Index* relevant) {
  // The type that atomicAdd supports.
  using Result = std::conditional_t<sizeof(Index) == 4, unsigned, Counter>;
  const int64_t size = queries.count * (bits + 1);
  Check(Clear(items, size, device.stream));
  Check(Clear(relevant, size, device.stream));
  if (queries.count == 0 || database.count == 0) return;
  Count<Result> count{ToWords(device, queries),
                      ToWords(device, database),
                      bits,
                      0,
                      0,
                      reinterpret_cast<Result*>(items),
                      reinterpret_cast<Result*>(relevant)};

  const auto shared_bytes = [&](int queries_of_warp, int copies) {
    return int64_t{sizeof(uint32_t)} * kWarpsOfBlock * queries_of_warp * (bits + 1) * copies;
  };
  // Two queries at a time if every lane still gets its own copy of the counters.
  const int queries_of_warp = shared_bytes(2, kLanes) <= kSharedBytes ? 2 : 1;
  for (int copies = kLanes; copies > 0 && count.copies == 0; copies /= 2) {
    if (shared_bytes(queries_of_warp, copies) <= kSharedBytes) count.copies = copies;
  }

  const int64_t groups = (queries.count + queries_of_warp - 1) / queries_of_warp;
  const int64_t steps = StepsOf(database.count);
  // In a step, each lane that shares a copy adds at most kItemsOfLane to a counter.
  const int64_t max_steps = kMaxCount * std::max(1, count.copies) / kItemsOfStep;
  count.slices = std::max((steps + max_steps - 1) / max_steps,
                          std::min((kTasksOfWarp * device.warps + groups - 1) / groups,
                                   std::max<int64_t>(1, steps / kMinStepsOfSlice)));
  const int64_t warps = groups * count.slices;
  const int64_t shared = shared_bytes(queries_of_warp, count.copies);
  WithWords(queries.bytes, [&](auto words) {
    const auto kernel = queries_of_warp == 2 ? CountPairs<words, 2, Result, IsRelevant>
                                             : CountPairs<words, 1, Result, IsRelevant>;
    Check(LaunchSharing(shared, kernel, warps, device.stream, count, is_relevant));
  });
}

__global__ void FindFirst(Codes codes, int padding, Counter* first) {
  const int64_t i = Warp() * kLanes + Lane();
  if (i < codes.count && codes.data[(i + 1) * codes.bytes - 1] & padding) {
    atomicMin(first, static_cast<Counter>(i));
  }
}

}  // namespace

int64_t FindPaddingBits(const Device& device, const Codes& codes, int64_t bits) {
  if (bits % 8 == 0) return -1;
  Counter* first = device.Allocate<Counter>(1);
  Check(cudaMemsetAsync(first, 0xFF, sizeof(Counter), device.stream));
  Check(Launch(FindFirst, (codes.count + kLanes - 1) / kLanes, device.stream, codes,
               0xFF << (bits % 8) & 0xFF, first));
  Counter found = 0;
  Check(cudaMemcpyAsync(&found, first, sizeof(found), cudaMemcpyDeviceToHost, device.stream));
  Check(cudaStreamSynchronize(device.stream));
  return found == ~Counter{0} ? -1 : static_cast<int64_t>(found);
}

template <typename Index, typename Label>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Label* query_labels, const Label* database_labels, int64_t bits,
                      Index* items, Index* relevant) {
  Histogram(device, queries, database, SameLabel<Label>{query_labels, database_labels}, bits,
            items, relevant);
}

template <typename Index>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      Index* items, Index* relevant) {
  const WordCodes asked = ToWords(device, query_labels), marks = ToWords(device, database_labels);
  Histogram(device, queries, database,
            SharedTag{asked.data, marks.data,
                      int64_t{WordsOfPiece(query_labels.bytes)} * asked.pieces},
            bits, items, relevant);
}

#define TFHASH_INSTANTIATE(Index)                                                               \
  template void HammingHistogram(const Device&, const Codes&, const Codes&, const int32_t*,     \
                                 const int32_t*, int64_t, Index*, Index*);                      \
  template void HammingHistogram(const Device&, const Codes&, const Codes&, const int64_t*,     \
                                 const int64_t*, int64_t, Index*, Index*);                      \
  template void HammingHistogram(const Device&, const Codes&, const Codes&, const Codes&,       \
                                 const Codes&, int64_t, Index*, Index*)
TFHASH_INSTANTIATE(int32_t);
TFHASH_INSTANTIATE(int64_t);
#undef TFHASH_INSTANTIATE

}  // namespace tfhash::cuda
