#include "counting.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "aligned_bytes.h"
#include "buckets.h"
#include "grid.h"
#include "kernel.h"

namespace tfhash {
namespace {

// ---------------------------------------------------------------------------------------------
// Short codes: the counts of all codes there are, at once.

// Row d holds for every code c the number of items that differ from c in d bits.
//
// At first only bits below the j-th may differ, none of them for j = 0, where row 0 counts the items
// that have the code itself. The items that differ from c in d of the bits up to the j-th are those
// that differ in d of the bits below it, and those that differ in d - 1 from the code that has the
// j-th bit flipped. That costs 2^bits * bits^2 / 2 additions, whatever the number of queries.
class CountsOfAllCodes {
 public:
  static constexpr int64_t kMaxBits = 16;
  static constexpr int64_t kMaxItems = std::numeric_limits<uint32_t>::max();

  static double Additions(int64_t bits) { return (int64_t{1} << bits) * bits * bits / 2.0; }

  // REQUIRES: bits <= kMaxBits; database.count <= kMaxItems
  CountsOfAllCodes(const Codes& database, int64_t bits)
      : size_(int64_t{1} << bits), counts_((bits + 1) * size_) {
    for (int64_t i = 0; i < database.count; ++i) ++counts_[ShortCode(database[i], database.bytes)];
    for (int64_t j = 0; j < bits; ++j) {
      // Downwards, for a row takes from the one before it what that was until now.
      for (int64_t d = j + 1; d > 0; --d) AddFlipped(int64_t{1} << j, Row(d - 1), Row(d));
    }
  }

  int64_t Count(int64_t code, int64_t distance) const { return counts_[distance * size_ + code]; }

 private:
  uint32_t* Row(int64_t distance) { return &counts_[distance * size_]; }

  // Adds to the counts of every code those of the code with one bit flipped.
  void AddFlipped(int64_t bit, const uint32_t* from, uint32_t* to) const {
    for (int64_t first = 0; first < size_; first += 2 * bit) {
      for (int64_t code = first; code < first + bit; ++code) {
        to[code] += from[code + bit];
        to[code + bit] += from[code];
      }
    }
  }

  int64_t size_;
  std::vector<uint32_t> counts_;
};

bool UseCountsOfAllCodes(const Codes& queries, const Codes& database, int64_t bits) {
  const double pairs = static_cast<double>(queries.count) * static_cast<double>(database.count);
  return bits <= CountsOfAllCodes::kMaxBits && database.count <= CountsOfAllCodes::kMaxItems &&
         pairs > CountsOfAllCodes::Additions(bits);
}

// ---------------------------------------------------------------------------------------------
// Longer codes, by bit slicing.

// Cutting a block into planes costs as much as about this many queries' counting in it.
constexpr int64_t kMinSlicedQueries = 6;

// Queries whose counts stay in the cache while they meet one block after the other.
constexpr int64_t kQueriesAtATime = 256;

// From the numbers of items whose distances have all bits of m set, for every m up to `largest`, to
// those of the items whose distance is m: for each bit in turn, those that have it are taken away
// from where it is not asked for.
void CountExactly(int64_t largest, int64_t* counts) {
  for (int64_t bit = 1; bit <= largest; bit *= 2) {
    for (int64_t m = 0; m + bit <= largest; ++m) {
      if ((m & bit) == 0) counts[m] -= counts[m | bit];
    }
  }
}

void CountSliced(const Kernel& kernel, const Codes& queries, Range range, const Codes& database,
                 int64_t bits, int64_t* counts) {
  const SlicedKernel& sliced = *kernel.sliced;
  const int64_t bytes = database.bytes, largest = 8 * bytes;
  const int64_t selector_count = sliced.selectors(bytes);
  AlignedBytes table(sliced.table_bytes(bytes));
  std::vector<uint16_t> selectors(range.size() * selector_count);
  std::vector<int64_t> found(range.size() * (largest + 1));
  for (int64_t i = 0; i < range.size(); ++i) {
    sliced.select(queries[range.begin + i], bytes, &selectors[i * selector_count]);
  }

  int64_t places = 0;
  for (; places < database.count; places += sliced.block) {
    const int64_t count = std::min(sliced.block, database.count - places);
    sliced.build(database[places], count, bytes, table.data());
    sliced.count(table.data(), bytes, selectors.data(), range.size(), found.data());
  }

  const std::vector<uint8_t> zeros(bytes);
  for (int64_t i = 0; i < range.size(); ++i) {
    int64_t* of_query = &found[i * (largest + 1)];
    CountExactly(largest, of_query);
    // Places without a code counted as codes of zeros.
    int32_t distance_of_zeros;
    kernel.distances(queries[range.begin + i], zeros.data(), 1, bytes, &distance_of_zeros);
    of_query[distance_of_zeros] -= places - database.count;
    std::copy_n(of_query, bits + 1, counts + (range.begin + i) * (bits + 1));
  }
}

// ---------------------------------------------------------------------------------------------
// What is left, pair by pair.

// Counts at one distance go to different counters in turn, so that one addition need not wait
// for the one before it.
constexpr int64_t kCounters = 4;

void CountPairs(const Kernel& kernel, const Codes& queries, Range range, const Codes& database,
                int64_t bits, int64_t* counts) {
  const int64_t stride = bits + 1;
  std::fill(counts + range.begin * stride, counts + range.end * stride, 0);
  std::vector<int32_t> distances(kBlockItems);
  std::vector<uint32_t> counters(kCounters * stride);
  for (int64_t first = 0; first < database.count; first += kBlockItems) {
    const int64_t count = std::min(kBlockItems, database.count - first);
    for (int64_t i = range.begin; i < range.end; ++i) {
      kernel.distances(queries[i], database[first], count, database.bytes, distances.data());
      std::fill(counters.begin(), counters.end(), 0);
      int64_t j = 0;
      for (; j + kCounters <= count; j += kCounters) {
        for (int64_t c = 0; c < kCounters; ++c) ++counters[c * stride + distances[j + c]];
      }
      for (; j < count; ++j) ++counters[distances[j]];
      for (int64_t c = 0; c < kCounters; ++c) {
        for (int64_t d = 0; d <= bits; ++d) counts[i * stride + d] += counters[c * stride + d];
      }
    }
  }
}

}  // namespace

void CountDistances(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t bits,
                    int64_t* counts, const Executor& executor) {
  if (UseCountsOfAllCodes(queries, database, bits)) {
    const CountsOfAllCodes all(database, bits);
    for (int64_t i = 0; i < queries.count; ++i) {
      const int64_t code = ShortCode(queries[i], queries.bytes);
      for (int64_t d = 0; d <= bits; ++d) counts[i * (bits + 1) + d] = all.Count(code, d);
    }
    return;
  }
  const bool can_be_sliced =
      kernel.sliced != nullptr && database.bytes <= kernel.sliced->max_counted_bytes;
  const Grid grid = MakeQueryGrid(queries.count, database.count, executor.threads,
                                  can_be_sliced ? kMinSlicedQueries : 1);
  RunTasks(executor, grid.tasks(), [&](int64_t task) {
    const Range of_task = grid.query_range(task);
    for (int64_t first = of_task.begin; first < of_task.end; first += kQueriesAtATime) {
      const Range range = {first, std::min(first + kQueriesAtATime, of_task.end)};
      const bool is_sliced = can_be_sliced && range.size() >= kMinSlicedQueries;
      auto* count = is_sliced ? CountSliced : CountPairs;
      count(kernel, queries, range, database, bits, counts);
    }
  });
}

}  // namespace tfhash
