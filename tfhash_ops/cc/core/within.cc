#include <algorithm>
#include <vector>

#include "hamming.h"
#include "kernel.h"
#include "scan.h"

namespace tfhash {
namespace {

constexpr int64_t kMaxQueriesOfTask = 512;

struct Neighbor {
  int32_t distance;
  int64_t index;
};

}  // namespace

Neighbors HammingWithin(const Kernel& kernel, const Codes& queries, const Codes& database,
                        int64_t radius, const Executor& executor) {
  const int64_t limit = std::min(radius, 8 * database.bytes) + 1;
  const Grid grid = MakeGrid(queries.count, database.count, executor.threads, kMaxQueriesOfTask);

  // rows[task][i]: neighbors that a task found for its i-th query.
  std::vector<std::vector<std::vector<Neighbor>>> rows(grid.tasks());
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    rows[task].resize(range.size());
    Scan(
        kernel, queries, range, database, grid.item_range(task),
        [&](int64_t) { return limit; },
        [&](int64_t query, int32_t distance, int64_t index) {
          rows[task][query - range.begin].push_back({distance, index});
        });
  });

  Neighbors neighbors;
  neighbors.row_splits.push_back(0);
  for (int64_t part = 0; part < grid.query_parts; ++part) {
    const int64_t first = part * grid.item_parts;
    for (size_t i = 0; i < rows[first].size(); ++i) {
      int64_t end = neighbors.row_splits.back();
      for (int64_t j = 0; j < grid.item_parts; ++j) end += rows[first + j][i].size();
      neighbors.row_splits.push_back(end);
    }
  }
  neighbors.distances.resize(neighbors.row_splits.back());
  neighbors.indices.resize(neighbors.row_splits.back());

  RunTasks(executor, grid.query_parts, [&](int64_t part) {
    const Range range = Part(grid.queries, grid.query_parts, part);
    for (int64_t i = 0; i < range.size(); ++i) {
      std::vector<Neighbor>& row = rows[part * grid.item_parts][i];
      for (int64_t j = 1; j < grid.item_parts; ++j) {
        std::vector<Neighbor>& later = rows[part * grid.item_parts + j][i];
        row.insert(row.end(), later.begin(), later.end());
        later = std::vector<Neighbor>();
      }
      // Already in ascending order of the index.
      std::stable_sort(row.begin(), row.end(), [](const Neighbor& a, const Neighbor& b) {
        return a.distance < b.distance;
      });
      const int64_t begin = neighbors.row_splits[range.begin + i];
      for (size_t j = 0; j < row.size(); ++j) {
        neighbors.distances[begin + j] = row[j].distance;
        neighbors.indices[begin + j] = row[j].index;
      }
      row = std::vector<Neighbor>();  // Unlike {}, this frees the memory.
    }
  });
  return neighbors;
}

}  // namespace tfhash
