#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "counting.h"
#include "grid.h"
#include "hamming.h"
#include "kernel.h"

namespace tfhash {
namespace {

// Codes grouped by class.
class Classes {
 public:
  Classes(const Codes& codes, const int64_t* labels)
      : data_(codes.count * codes.bytes), bytes_(codes.bytes), order_(codes.count) {
    for (int64_t i = 0; i < codes.count; ++i) ++ranges_[labels[i]].end;
    int64_t begin = 0;
    for (auto& [label, range] : ranges_) {
      const int64_t count = range.end;
      range = {begin, begin};
      begin += count;
    }
    for (int64_t i = 0; i < codes.count; ++i) {
      const int64_t place = ranges_[labels[i]].end++;
      order_[place] = i;
      std::memcpy(&data_[place * bytes_], codes[i], bytes_);
    }
  }

  // The places of the codes of each class.
  const std::unordered_map<int64_t, Range>& ranges() const { return ranges_; }
  Codes Of(Range range) const {
    return {data_.data() + range.begin * bytes_, range.size(), bytes_};
  }
  // Original index of the code at a place.
  int64_t Origin(int64_t place) const { return order_[place]; }

 private:
  std::vector<uint8_t> data_;
  int64_t bytes_;
  std::vector<int64_t> order_;
  std::unordered_map<int64_t, Range> ranges_;
};

bool ShareAny(const uint8_t* a, const uint8_t* b, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i) {
    if (a[i] & b[i]) return true;
  }
  return false;
}

}  // namespace

void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const int64_t* query_labels, const int64_t* database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor) {
  CountDistances(kernel, queries, database, bits, items, executor);

  const int64_t row = bits + 1;
  std::fill_n(relevant, queries.count * row, 0);
  const Classes query_classes(queries, query_labels), item_classes(database, database_labels);
  for (const auto& [label, range] : query_classes.ranges()) {
    const auto found = item_classes.ranges().find(label);
    if (found == item_classes.ranges().end()) continue;
    std::vector<int64_t> counts(range.size() * row);
    CountDistances(kernel, query_classes.Of(range), item_classes.Of(found->second), bits,
                   counts.data(), executor);
    for (int64_t i = 0; i < range.size(); ++i) {
      std::copy_n(&counts[i * row], row, relevant + query_classes.Origin(range.begin + i) * row);
    }
  }
}

void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor) {
  std::fill_n(items, queries.count * (bits + 1), 0);
  std::fill_n(relevant, queries.count * (bits + 1), 0);
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
