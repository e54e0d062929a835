#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "buckets.h"
#include "grid.h"
#include "hamming.h"
#include "kernel.h"

namespace tfhash {
namespace {

// Codes that all queries of a task meet while they are in the cache.
constexpr int64_t kBlockItems = 2048;

// Counts at one distance go to different counters in turn, so that one addition need not wait
// for the one before it.
constexpr int64_t kCounters = 4;

// Adds to counts[d] the number of items of a range at each distance d.
class Counter {
 public:
  Counter(const Kernel& kernel, const Codes& database, int64_t bits)
      : kernel_(kernel), database_(database), bits_(bits), counters_(kCounters * (bits + 1)) {}

  void Count(const uint8_t* query, Range range, int64_t* counts) {
    if (range.size() <= 0) return;
    kernel_.distances(query, database_[range.begin], range.size(), database_.bytes, distances_);
    uint32_t* counters = counters_.data();
    const int64_t stride = bits_ + 1;
    int64_t i = 0;
    for (; i + kCounters <= range.size(); i += kCounters) {
      for (int64_t c = 0; c < kCounters; ++c) ++counters[c * stride + distances_[i + c]];
    }
    for (; i < range.size(); ++i) ++counters[distances_[i]];
    for (int64_t d = 0; d <= bits_; ++d) {
      for (int64_t c = 0; c < kCounters; ++c) {
        counts[d] += std::exchange(counters[c * stride + d], 0);
      }
    }
  }

 private:
  const Kernel& kernel_;
  const Codes& database_;
  int64_t bits_;
  std::vector<uint32_t> counters_;
  int32_t distances_[kBlockItems];
};

// The items of a database, brought together by class.
struct Classes {
  std::vector<uint8_t> data;
  Codes codes;
  std::unordered_map<int64_t, Range> ranges;

  Classes(const Codes& database, const int64_t* labels)
      : data(database.count * database.bytes),
        codes{data.data(), database.count, database.bytes} {
    for (int64_t i = 0; i < database.count; ++i) ++ranges[labels[i]].end;
    int64_t begin = 0;
    for (auto& [label, range] : ranges) {
      const int64_t count = range.end;
      range = {begin, begin};
      begin += count;
    }
    for (int64_t i = 0; i < database.count; ++i) {
      std::memcpy(&data[ranges[labels[i]].end++ * database.bytes], database[i], database.bytes);
    }
  }

  Range range(int64_t label) const {
    const auto found = ranges.find(label);
    return found == ranges.end() ? Range{0, 0} : found->second;
  }
};

// The part of `range` that lies in `block`; an empty range in `block` if there is none.
Range Within(Range block, Range range) {
  const int64_t begin = std::clamp(range.begin, block.begin, block.end);
  return {begin, std::clamp(range.end, begin, block.end)};
}

// Every pair is compared once: items of the query's class are counted as relevant, those
// before and after them not.
void CountClasses(const Kernel& kernel, const Codes& queries, const Classes& classes,
                  const int64_t* query_labels, int64_t bits, int64_t* items, int64_t* relevant,
                  const Executor& executor) {
  const Grid grid = MakeQueryGrid(queries.count, classes.codes.count, executor.threads);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    Counter counter(kernel, classes.codes, bits);
    for (int64_t first = 0; first < classes.codes.count; first += kBlockItems) {
      const Range block = {first, std::min(first + kBlockItems, classes.codes.count)};
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Range same = Within(block, classes.range(query_labels[i]));
        int64_t* others = items + i * (bits + 1);
        counter.Count(queries[i], {block.begin, same.begin}, others);
        counter.Count(queries[i], same, relevant + i * (bits + 1));
        counter.Count(queries[i], {same.end, block.end}, others);
      }
    }
    for (int64_t j = range.begin * (bits + 1); j < range.end * (bits + 1); ++j) {
      items[j] += relevant[j];
    }
  });
}

struct DistinctCode {
  uint32_t code;
  int64_t count;
};

// The distinct codes of a range of short ones, with the number of items each.
class DistinctCodes {
 public:
  explicit DistinctCodes(int64_t bytes) : counts_(size_t{1} << (8 * bytes)) {}

  std::vector<DistinctCode> Of(const Codes& codes, Range range) {
    for (int64_t i = range.begin; i < range.end; ++i) ++counts_[ShortCode(codes[i], codes.bytes)];
    std::vector<DistinctCode> distinct;
    for (int64_t i = range.begin; i < range.end; ++i) {
      const uint32_t code = ShortCode(codes[i], codes.bytes);
      if (const int64_t count = std::exchange(counts_[code], 0)) distinct.push_back({code, count});
    }
    return distinct;
  }

 private:
  std::vector<int64_t> counts_;
};

void AddDistinct(uint32_t query, const std::vector<DistinctCode>& distinct, int64_t* counts) {
  for (const DistinctCode& other : distinct) {
    counts[__builtin_popcount(query ^ other.code)] += other.count;
  }
}

// Short codes: each distinct one is compared once, however many items have it.
void CountDistinctCodes(const Codes& queries, const Classes& classes, const int64_t* query_labels,
                        int64_t bits, int64_t* items, int64_t* relevant,
                        const Executor& executor) {
  DistinctCodes distinct(queries.bytes);
  const std::vector<DistinctCode> all = distinct.Of(classes.codes, {0, classes.codes.count});
  std::unordered_map<int64_t, std::vector<DistinctCode>> of_class;
  for (const auto& [label, range] : classes.ranges) {
    of_class[label] = distinct.Of(classes.codes, range);
  }
  const Grid grid = MakeQueryGrid(queries.count, all.size(), executor.threads);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const uint32_t query = ShortCode(queries[i], queries.bytes);
      AddDistinct(query, all, items + i * (bits + 1));
      const auto same = of_class.find(query_labels[i]);
      if (same != of_class.end()) AddDistinct(query, same->second, relevant + i * (bits + 1));
    }
  });
}

bool ShareAny(const uint8_t* a, const uint8_t* b, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i) {
    if (a[i] & b[i]) return true;
  }
  return false;
}

void Clear(const Codes& queries, int64_t bits, int64_t* items, int64_t* relevant) {
  std::fill_n(items, queries.count * (bits + 1), 0);
  std::fill_n(relevant, queries.count * (bits + 1), 0);
}

}  // namespace

void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const int64_t* query_labels, const int64_t* database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor) {
  Clear(queries, bits, items, relevant);
  const Classes classes(database, database_labels);
  if (queries.bytes <= Buckets::kMaxBytes) {
    CountDistinctCodes(queries, classes, query_labels, bits, items, relevant, executor);
  } else {
    CountClasses(kernel, queries, classes, query_labels, bits, items, relevant, executor);
  }
}

void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor) {
  Clear(queries, bits, items, relevant);
  const Grid grid = MakeQueryGrid(queries.count, database.count, executor.threads);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range range = grid.query_range(task);
    std::vector<int32_t> distances(kBlockItems);
    for (int64_t first = 0; first < database.count; first += kBlockItems) {
      const int64_t count = std::min(kBlockItems, database.count - first);
      for (int64_t i = range.begin; i < range.end; ++i) {
        kernel.distances(queries[i], database[first], count, database.bytes, distances.data());
        int64_t* counts = items + i * (bits + 1);
        int64_t* relevant_counts = relevant + i * (bits + 1);
        for (int64_t j = 0; j < count; ++j) {
          ++counts[distances[j]];
          relevant_counts[distances[j]] +=
              ShareAny(query_labels[i], database_labels[first + j], query_labels.bytes);
        }
      }
    }
  });
}

}  // namespace tfhash
