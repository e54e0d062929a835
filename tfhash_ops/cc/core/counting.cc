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
// Short codes: histograms for every possible code at once.

// Row d holds, for every code c, the number of items at distance d from c.
//
// Dynamic programming over the bits. Before bit j, row d counts the items that differ from c in exactly
// d of the bits below j and in no other bit; at first (j = 0), row 0 counts the items equal to c. Bit j
// then adds to row d the count in row d - 1 of the code with bit j flipped. In all this takes
// 2^bits * bits^2 / 2 additions, regardless of the number of queries.
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
      // Descending, because row d needs row d - 1 from before this step.
      for (int64_t d = j + 1; d > 0; --d) AddFlipped(int64_t{1} << j, Row(d - 1), Row(d));
    }
  }

  int64_t Count(int64_t code, int64_t distance) const { return counts_[distance * size_ + code]; }

 private:
  uint32_t* Row(int64_t distance) { return &counts_[distance * size_]; }

  // Adds to the count of every code the count of the code with one bit flipped.
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
// Longer codes: bit-sliced counting; see sliced-inl.h.

// Transposing a block into bit planes costs about as much as counting for this many queries.
constexpr int64_t kMinSlicedQueries = 6;

// Queries processed together, so that their counts stay in the cache from block to block.
constexpr int64_t kQueriesAtATime = 256;

// Möbius inversion. Before: counts[m] is the number of items whose distance has all bits of m set. After:
// counts[m] is the number of items at distance m.
void InvertSupersetCounts(int64_t largest, int64_t* counts) {
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
    InvertSupersetCounts(largest, of_query);
    // Unused places of the last block were counted as codes of zeros.
    int32_t distance_of_zeros;
    kernel.distances(queries[range.begin + i], zeros.data(), 1, bytes, &distance_of_zeros);
    of_query[distance_of_zeros] -= places - database.count;
    std::copy_n(of_query, bits + 1, counts + (range.begin + i) * (bits + 1));
  }
}

// ---------------------------------------------------------------------------------------------
// Everything else: pair by pair.

// Successive items increment different copies of the counters, so that an increment does not wait for
// the previous one to the same address.
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
