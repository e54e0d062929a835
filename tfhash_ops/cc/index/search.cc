#include "index/search.h"

#include <algorithm>
#include <utility>

#include "core/grid.h"
#include "core/scan.h"
#include "index/cost.h"
#include "index/tables.h"

namespace tfhash {
namespace {

constexpr int64_t kMaxQueriesOfTask = 256;
// A thread is worth its start for this many nanoseconds of work.
constexpr double kMinTask = 200e3;
// Queries that skip the tables after one that gave them up, at most.
constexpr int32_t kMaxSkips = 64;

// Where more is wanted than this part of the rows, they are scanned.
constexpr int64_t kMinRowsOfWanted = 64;

// Whether this query goes straight to the scan. The more queries in turn have given up the tables, the
// more go to the scan before one tries again. This changes the time alone.
bool SkipsTables(const Segment& segment, const Nearest& nearest) {
  if (nearest.k() > segment.rows() / kMinRowsOfWanted) return true;
  if (nearest.k() == 0) return false;  // The costs are known.
  int32_t left = segment.skips.load(std::memory_order_relaxed);
  while (left > 0) {
    if (segment.skips.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Learn(const Segment& segment, bool was_cheap) {
  if (was_cheap) {
    segment.next_skips.store(1, std::memory_order_relaxed);
    return;
  }
  const int32_t skips = segment.next_skips.load(std::memory_order_relaxed);
  segment.skips.store(skips, std::memory_order_relaxed);
  segment.next_skips.store(std::min(2 * skips, kMaxSkips), std::memory_order_relaxed);
}

// Scans a range of rows of a part for some queries.
void ScanPart(const Kernel& kernel, const PartOfIndex& part, Range rows, const Codes& queries,
              const std::vector<Nearest*>& nearest) {
  Scan(
      kernel, queries, {0, queries.count}, part.segment->codes(), rows,
      [&](int64_t i) { return nearest[i]->limit() + 1; },
      [&](int64_t i, int32_t distance, int64_t row) { nearest[i]->Push(distance, 0, row); });
}

// The same for all rows, shared by threads if that is worth their start.
void ScanPart(const Kernel& kernel, const PartOfIndex& part, const Codes& queries,
              const std::vector<Nearest*>& nearest, const Executor& executor) {
  const int64_t rows = part.segment->rows();
  const double cost = queries.count * Costs::Scan(rows, queries.bytes, queries.count);
  const int64_t tasks = std::min(executor.threads, 1 + static_cast<int64_t>(cost / kMinTask));
  std::vector<std::vector<Nearest>> forks(tasks);
  for (int64_t task = 1; task < tasks; ++task) {
    for (const Nearest* each : nearest) forks[task].push_back(each->Fork());
  }
  RunTasks(executor, tasks, [&](int64_t task) {
    std::vector<Nearest*> own = nearest;
    for (size_t i = 0; task > 0 && i < own.size(); ++i) own[i] = &forks[task][i];
    ScanPart(kernel, part, Part(rows, tasks, task), queries, own);
  });
  for (int64_t task = 1; task < tasks; ++task) {
    for (size_t i = 0; i < nearest.size(); ++i) nearest[i]->Join(&forks[task][i]);
  }
}

// Searches one part for a block of queries.
void SearchPart(const Kernel& kernel, const PartOfIndex& part, const Codes& queries,
                std::vector<Nearest>* nearest, const Executor& executor) {
  const Segment& segment = *part.segment;
  for (Nearest& each : *nearest) each.Begin(&part);
  std::vector<int64_t> left;
  if (segment.has_tables()) {
    const double budget = Costs::Scan(segment.rows(), queries.bytes, queries.count);
    for (int64_t i = 0; i < queries.count; ++i) {
      Nearest& each = (*nearest)[i];
      if (SkipsTables(segment, each)) {
        left.push_back(i);
        continue;
      }
      const bool is_done = SearchTables(kernel, segment, queries[i], budget, &each);
      if (each.k() > 0) Learn(segment, is_done);
      if (is_done) continue;
      each.Restart();
      left.push_back(i);
    }
  } else {
    for (int64_t i = 0; i < queries.count; ++i) left.push_back(i);
  }
  if (left.empty()) return;
  std::vector<uint8_t> codes;
  std::vector<Nearest*> selected;
  for (const int64_t i : left) {
    codes.insert(codes.end(), queries[i], queries[i] + queries.bytes);
    selected.push_back(&(*nearest)[i]);
  }
  const Codes some{codes.data(), static_cast<int64_t>(left.size()), queries.bytes};
  ScanPart(kernel, part, some, selected, executor);
}

// Searches all parts for every query; finish(i, nearest) gets what query i has found.
template <typename Start, typename Finish>
void Search(const Kernel& kernel, const std::vector<PartOfIndex>& parts, const Codes& queries,
            const Executor& executor, const Start& start, const Finish& finish) {
  double rows = 0;
  for (const PartOfIndex& part : parts) rows += part.segment->rows();
  // By the cost of a search that is not a scan.
  const double cost = queries.count * std::min(20e3, Costs::Scan(rows, queries.bytes, 1));
  const int64_t most = std::min<int64_t>(executor.threads, 1 + static_cast<int64_t>(cost / kMinTask));
  int64_t tasks = std::min(most, queries.count);
  if (tasks > 1) tasks *= 4;  // queries differ in cost
  tasks = std::max(tasks, (queries.count + kMaxQueriesOfTask - 1) / kMaxQueriesOfTask);
  tasks = std::clamp<int64_t>(tasks, 1, std::max<int64_t>(queries.count, 1));
  // What threads are left share the scans.
  Executor of_task = executor;
  of_task.threads = std::max<int64_t>(1, executor.threads / tasks);
  RunTasks(executor, tasks, [&](int64_t task) {
    const Range range = Part(queries.count, tasks, task);
    std::vector<Nearest> nearest(range.size(), start());
    const Codes block{queries[range.begin], range.size(), queries.bytes};
    for (const PartOfIndex& part : parts) SearchPart(kernel, part, block, &nearest, of_task);
    for (int64_t i = 0; i < range.size(); ++i) finish(range.begin + i, &nearest[i]);
  });
}

}  // namespace

void SearchTopK(const Kernel& kernel, const std::vector<PartOfIndex>& parts, const Codes& queries,
                int64_t bits, int64_t k, int32_t* distances, int64_t* ids,
                const Executor& executor) {
  Search(
      kernel, parts, queries, executor, [&] { return Nearest::TopK(k, bits); },
      [&](int64_t i, Nearest* nearest) {
        const std::vector<Neighbor> found = nearest->Finish();
        if (static_cast<int64_t>(found.size()) != k) {
          throw DamagedError("a search did not find as many items as there are");
        }
        for (int64_t j = 0; j < k; ++j) {
          distances[i * k + j] = found[j].distance;
          ids[i * k + j] = found[j].id;
        }
      });
}

Neighbors SearchWithin(const Kernel& kernel, const std::vector<PartOfIndex>& parts,
                       const Codes& queries, int64_t bits, int64_t radius,
                       const Executor& executor) {
  std::vector<std::vector<Neighbor>> rows(queries.count);
  Search(
      kernel, parts, queries, executor,
      [&] { return Nearest::Within(std::min(radius, bits), bits); },
      [&](int64_t i, Nearest* nearest) {
        rows[i] = nearest->Finish();
        rows[i].shrink_to_fit();  // it may have grown to twice as much
      });
  Neighbors neighbors;
  neighbors.row_splits.push_back(0);
  for (const auto& row : rows) {
    neighbors.row_splits.push_back(neighbors.row_splits.back() + static_cast<int64_t>(row.size()));
  }
  neighbors.distances.reserve(neighbors.row_splits.back());
  neighbors.indices.reserve(neighbors.row_splits.back());
  for (auto& row : rows) {
    for (const Neighbor& neighbor : row) {
      neighbors.distances.push_back(neighbor.distance);
      neighbors.indices.push_back(neighbor.id);
    }
    row = std::vector<Neighbor>();
  }
  return neighbors;
}

}  // namespace tfhash
