#include <algorithm>
#include <vector>

#include "buckets.h"
#include "hamming.h"
#include "kernel.h"
#include "scan.h"
#include "selection.h"

namespace tfhash {
namespace {

// Queries of a task: enough to amortize building a table.
constexpr int64_t kMaxQueriesOfTask = 512;
// Memory of their selections, for each task.
constexpr int64_t kMaxSelectionBytes = int64_t{1} << 27;

// Sorting the items into buckets costs about as much as scanning them for this many queries.
constexpr int64_t kMinBucketQueries = 64;

// The scan starts with a limit from the first kWarmUpItems * k items, which keeps out most candidates
// that would be dropped again later.
constexpr int64_t kWarmUpItems = 8;

bool UseBuckets(const Codes& queries, const Codes& database, int64_t k) {
  return database.bytes <= Buckets::kMaxBytes && database.count < Buckets::kMaxItems &&
         queries.count >= kMinBucketQueries && k <= database.count / 16;
}

void TopKFromBuckets(const Codes& queries, const Codes& database, int64_t k, int32_t* distances,
                     int64_t* indices, const Executor& executor) {
  const Buckets buckets(queries, database);
  const Grid grid = MakeGrid(queries.count, 1, executor.threads, queries.count);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    for (int64_t i = range.begin; i < range.end; ++i) {
      buckets.TopK(queries[i], k, distances + i * k, indices + i * k);
    }
  });
}

// Starts each selection at the smallest limit that k of the first items are nearer than.
void StartSelections(const Kernel& kernel, const Codes& queries, Range query_range,
                     const Codes& database, Range item_range, int64_t k,
                     std::vector<Selection>* selections) {
  // k items or fewer rule nothing out.
  if (item_range.size() <= k) return;
  const int64_t count = std::min(kWarmUpItems * k, item_range.size());
  std::vector<int32_t> distances(count);
  std::vector<int64_t> counts(8 * database.bytes + 1);
  for (int64_t i = 0; i < query_range.size(); ++i) {
    kernel.distances(queries[query_range.begin + i], database[item_range.begin], count,
                     database.bytes, distances.data());
    std::fill(counts.begin(), counts.end(), 0);
    for (const int32_t distance : distances) ++counts[distance];
    int64_t limit = 0;
    for (int64_t nearer = 0; nearer < k; ++limit) nearer += counts[limit];
    (*selections)[i].StartBelow(limit);
  }
}

void TopKByScan(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t k,
                int32_t* distances, int64_t* indices, const Executor& executor) {
  const int64_t max_distance = 8 * database.bytes;
  const int64_t selection_bytes = 8 * max_distance + 16 * k;
  const Grid grid =
      MakeGrid(queries.count, database.count, executor.threads,
               std::clamp<int64_t>(kMaxSelectionBytes / selection_bytes, 1, kMaxQueriesOfTask));

  // Selections outlive their task only if the items are split among tasks.
  std::vector<std::vector<Selection>> parts(grid.item_parts > 1 ? grid.tasks() : 0);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task), items = grid.item_range(task);
    std::vector<Selection> selections(range.size(), Selection(k, max_distance));
    StartSelections(kernel, queries, range, database, items, k, &selections);
    Scan(
        kernel, queries, range, database, items,
        [&](int64_t query) { return selections[query - range.begin].limit(); },
        [&](int64_t query, int32_t distance, int64_t index) {
          selections[query - range.begin].Push(distance, index);
        });
    if (grid.item_parts > 1) {
      parts[task] = std::move(selections);
      return;
    }
    for (int64_t i = 0; i < range.size(); ++i) {
      selections[i].Write(distances + (range.begin + i) * k, indices + (range.begin + i) * k);
    }
  });
  if (grid.item_parts == 1) return;

  RunTasks(executor, grid.query_parts, [&](int64_t query_part) {
    const Range range = Part(grid.queries, grid.query_parts, query_part);
    for (int64_t i = 0; i < range.size(); ++i) {
      const int64_t first = query_part * grid.item_parts;
      Selection& selection = parts[first][i];
      for (int64_t part = 1; part < grid.item_parts; ++part) {
        selection.Merge(parts[first + part][i]);
      }
      selection.Write(distances + (range.begin + i) * k, indices + (range.begin + i) * k);
    }
  });
}

}  // namespace

void HammingTopK(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t k,
                 int32_t* distances, int64_t* indices, const Executor& executor) {
  if (UseBuckets(queries, database, k)) {
    TopKFromBuckets(queries, database, k, distances, indices, executor);
  } else {
    TopKByScan(kernel, queries, database, k, distances, indices, executor);
  }
}

}  // namespace tfhash
