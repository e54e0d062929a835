// Partition of all pairs of queries and items into tasks.

#ifndef TFHASH_OPS_CC_CORE_GRID_H_
#define TFHASH_OPS_CC_CORE_GRID_H_

#include <algorithm>
#include <cstdint>

namespace tfhash {

struct Range {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

// The i-th of `parts` ranges of nearly equal size that cover [0, count).
inline Range Part(int64_t count, int64_t parts, int64_t i) {
  const int64_t size = count / parts;
  const int64_t longer = count % parts;
  const int64_t begin = i * size + std::min(i, longer);
  return {begin, begin + size + (i < longer ? 1 : 0)};
}

// Smaller parts are not worth a thread.
constexpr int64_t kMinQueriesOfTask = 64;
constexpr int64_t kMinItemsOfTask = 16384;

// Items that a task processes at a time: small enough to stay in the cache for all its queries.
constexpr int64_t kBlockItems = 2048;

struct Grid {
  int64_t queries;
  int64_t items;
  int64_t query_parts;
  int64_t item_parts;

  int64_t tasks() const { return query_parts * item_parts; }
  Range query_range(int64_t task) const { return Part(queries, query_parts, task / item_parts); }
  Range item_range(int64_t task) const { return Part(items, item_parts, task % item_parts); }
};

// Splits the queries first, because the table of a block of items is shared by all queries of a task;
// splits the items as well if there are few queries. No task gets more than `max_queries`.
inline Grid MakeGrid(int64_t queries, int64_t items, int64_t threads, int64_t max_queries) {
  const int64_t at_least = (queries + max_queries - 1) / max_queries;
  int64_t query_parts = std::max(at_least, std::min(threads, queries / kMinQueriesOfTask));
  if (query_parts > threads) query_parts = (query_parts + threads - 1) / threads * threads;
  query_parts = std::clamp<int64_t>(query_parts, 1, std::max<int64_t>(queries, 1));
  const int64_t wanted = (threads + query_parts - 1) / query_parts;
  const int64_t item_parts = std::clamp<int64_t>(items / kMinItemsOfTask, 1, wanted);
  return {queries, items, query_parts, item_parts};
}

// Splits only the queries, into tasks of at least `min_queries`, so that the work that a task spends on
// preparing each block of items pays off.
inline Grid MakeQueryGrid(int64_t queries, int64_t items, int64_t threads,
                          int64_t min_queries = 1) {
  const double pairs = static_cast<double>(queries) * static_cast<double>(items);
  const double tasks_worth_it = pairs / (kMinQueriesOfTask * kMinItemsOfTask);
  const int64_t most = std::min(threads, queries / min_queries);
  const int64_t parts = std::min(static_cast<double>(most), tasks_worth_it);
  return {queries, items, std::max<int64_t>(parts, 1), 1};
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_GRID_H_
