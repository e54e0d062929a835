#include <algorithm>
#include <vector>

#include "buckets.h"
#include "hamming.h"
#include "kernel.h"
#include "scan.h"
#include "selection.h"

namespace tfhash {
namespace {

// Queries whose selections are alive at a time in one task: enough to make good use of a table.
constexpr int64_t kMaxQueriesOfTask = 512;
// Their memory, for each task.
constexpr int64_t kMaxSelectionBytes = int64_t{1} << 27;

// Sorting the items into buckets costs about as much as comparing this many queries with them.
constexpr int64_t kMinBucketQueries = 64;

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

void TopKByScan(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t k,
                int32_t* distances, int64_t* indices, const Executor& executor) {
  const int64_t max_distance = 8 * database.bytes;
  const int64_t selection_bytes = 8 * max_distance + 32 * k;
  const Grid grid =
      MakeGrid(queries.count, database.count, executor.threads,
               std::clamp<int64_t>(kMaxSelectionBytes / selection_bytes, 1, kMaxQueriesOfTask));

  // Only where the items are shared among tasks do selections outlive their task.
  std::vector<std::vector<Selection>> parts(grid.item_parts > 1 ? grid.tasks() : 0);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    std::vector<Selection> selections(range.size(), Selection(k, max_distance));
    Scan(
        kernel, queries, range, database, grid.item_range(task),
        [&](int64_t query) { return selections[query - range.begin].limit(); },
        [&](int64_t query, int32_t distance, int64_t index) {
          selections[query - range.begin].Offer(distance, index);
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
        selection.Absorb(parts[first + part][i]);
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
