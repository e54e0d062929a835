#include "grid.h"
#include "hamming.h"
#include "kernel.h"

namespace tfhash {
namespace {

// Size of a block of codes that stays in the cache for all queries of a task.
constexpr int64_t kBlockBytes = int64_t{1} << 15;

}  // namespace

void HammingDistance(const Kernel& kernel, const Codes& queries, const Codes& database,
                     int32_t* distances, const Executor& executor) {
  const Grid grid = MakeGrid(queries.count, database.count, executor.threads, queries.count + 1);
  const int64_t block = std::max<int64_t>(1, kBlockBytes / database.bytes);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range query_range = grid.query_range(task);
    const Range item_range = grid.item_range(task);
    for (int64_t first = item_range.begin; first < item_range.end; first += block) {
      const int64_t count = std::min(block, item_range.end - first);
      for (int64_t i = query_range.begin; i < query_range.end; ++i) {
        kernel.distances(queries[i], database[first], count, database.bytes,
                         distances + i * database.count + first);
      }
    }
  });
}

int64_t FindPaddingBits(const Codes& codes, int64_t bits) {
  if (bits % 8 == 0) return -1;
  const int padding = 0xFF << (bits % 8) & 0xFF;
  for (int64_t i = 0; i < codes.count; ++i) {
    if (codes[i][codes.bytes - 1] & padding) return i;
  }
  return -1;
}

}  // namespace tfhash
