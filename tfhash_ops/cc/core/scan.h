// Finds the pairs of queries and items that are nearer than a limit.

#ifndef TFHASH_OPS_CC_CORE_SCAN_H_
#define TFHASH_OPS_CC_CORE_SCAN_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "aligned_bytes.h"
#include "grid.h"
#include "hamming.h"
#include "kernel.h"

namespace tfhash {

// Transposing a block into bit planes costs about as much as comparing it with this many queries.
constexpr int64_t kMinSlicedQueries = 12;
// Larger tables do not stay in the last-level cache from query to query.
constexpr int64_t kMaxTableBytes = int64_t{1} << 23;
// Codes in a block if no table is built.
constexpr int64_t kDirectBlock = 256;

// Scan calls visit(i, distance, index) for every item with distance < limit(i), and for each query in
// ascending order of the index. limit(i) is at most 8 * bytes + 1; visit may lower it.
template <typename Limit, typename Visit>
void ScanDirect(const Kernel& kernel, const Codes& queries, Range query_range,
                const Codes& database, Range item_range, const Limit& limit, const Visit& visit) {
  int32_t distances[kDirectBlock];
  for (int64_t first = item_range.begin; first < item_range.end; first += kDirectBlock) {
    const int64_t count = std::min(kDirectBlock, item_range.end - first);
    for (int64_t i = query_range.begin; i < query_range.end; ++i) {
      kernel.distances(queries[i], database[first], count, database.bytes, distances);
      // Usually none of them is below the limit.
      if (kernel.least(distances, count) >= limit(i)) continue;
      for (int64_t j = 0; j < count; ++j) {
        if (distances[j] < limit(i)) visit(i, distances[j], first + j);
      }
    }
  }
}

// Bit i of the result tells whether word i is not zero. REQUIRES: count <= 64
inline uint64_t NonzeroWords(const uint64_t* words, int64_t count) {
  uint64_t nonzero = 0;
  for (int64_t i = 0; i < count; ++i) nonzero |= uint64_t{words[i] != 0} << i;
  return nonzero;
}

// The same with bit-sliced comparisons.
template <typename Limit, typename Visit>
void ScanSliced(const Kernel& kernel, const Codes& queries, Range query_range,
                const Codes& database, Range item_range, const Limit& limit, const Visit& visit) {
  const SlicedKernel& sliced = *kernel.sliced;
  const int64_t bytes = database.bytes;
  const int64_t selector_count = sliced.selectors(bytes);
  const int64_t limit_words = sliced.limit_words(bytes);
  const int64_t mask_words = sliced.block / 64;

  AlignedBytes table(sliced.table_bytes(bytes));
  std::vector<uint16_t> selectors(query_range.size() * selector_count);
  std::vector<uint64_t> limits(query_range.size() * limit_words);
  std::vector<int32_t> found(query_range.size());
  std::vector<uint64_t> masks(query_range.size() * mask_words);
  for (int64_t i = 0; i < query_range.size(); ++i) {
    const int64_t query = query_range.begin + i;
    sliced.select(queries[query], bytes, &selectors[i * selector_count]);
    sliced.set_limit(limit(query), bytes, &limits[i * limit_words]);
  }

  for (int64_t first = item_range.begin; first < item_range.end; first += sliced.block) {
    const int64_t count = std::min(sliced.block, item_range.end - first);
    sliced.build(database[first], count, bytes, table.data());
    const int64_t found_count =
        sliced.find(table.data(), bytes, selectors.data(), limits.data(), query_range.size(),
                    found.data(), masks.data());
    for (int64_t f = 0; f < found_count; ++f) {
      const int64_t query = query_range.begin + found[f];
      const int64_t limit_before = limit(query);
      const uint64_t* mask = &masks[f * mask_words];
      // Usually a single word has codes, and it may be any of them: testing each in turn would be an
      // unpredictable branch.
      for (uint64_t words = NonzeroWords(mask, mask_words); words != 0; words &= words - 1) {
        const int64_t word = __builtin_ctzll(words);
        for (uint64_t places = mask[word]; places != 0; places &= places - 1) {
          const int64_t place = 64 * word + __builtin_ctzll(places);
          if (place >= count) break;
          int32_t distance;
          kernel.distances(queries[query], database[first + place], 1, bytes, &distance);
          if (distance < limit(query)) visit(query, distance, first + place);
        }
      }
      if (limit(query) != limit_before) {
        sliced.set_limit(limit(query), bytes, &limits[found[f] * limit_words]);
      }
    }
  }
}

template <typename Limit, typename Visit>
void Scan(const Kernel& kernel, const Codes& queries, Range query_range, const Codes& database,
          Range item_range, const Limit& limit, const Visit& visit) {
  const bool is_sliced = kernel.sliced != nullptr && query_range.size() >= kMinSlicedQueries &&
                         kernel.sliced->table_bytes(database.bytes) <= kMaxTableBytes;
  auto* scan = is_sliced ? ScanSliced<Limit, Visit> : ScanDirect<Limit, Visit>;
  scan(kernel, queries, query_range, database, item_range, limit, visit);
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_SCAN_H_
