// Which codes of some buckets are near a query.

#ifndef TFHASH_OPS_CC_INDEX_FILTER_H_
#define TFHASH_OPS_CC_INDEX_FILTER_H_

#include <cstdint>

#include "core/grid.h"
#include "core/kernel.h"

namespace tfhash {

// Most rows that a filter takes at once.
constexpr int64_t kFilterRows = 512;

// Finds the rows of some ranges of a table that are at most `limit` bits from the query. Writes the rows
// and their distances, in the order of the ranges, and returns how many there are.
//
// REQUIRES: the ranges have at most kFilterRows rows together
using Filter = int64_t (*)(const Kernel& kernel, const uint8_t* query, const uint8_t* table,
                           const Range* ranges, int64_t count, int64_t bytes, int64_t limit,
                           int64_t* rows, int32_t* distances);

// By the distances of the kernel: the specification of the others.
int64_t FilterByDistances(const Kernel& kernel, const uint8_t* query, const uint8_t* table,
                          const Range* ranges, int64_t count, int64_t bytes, int64_t limit,
                          int64_t* rows, int32_t* distances);

// For codes of this length; null if there is none, or if the library was compiled for another CPU.
Filter Avx512Filter(int64_t bytes);

// The fastest one that goes with a kernel.
inline Filter ChooseFilter(const Kernel& kernel, int64_t bytes) {
  const Filter filter = &kernel == Avx512Kernel() ? Avx512Filter(bytes) : nullptr;
  return filter == nullptr ? FilterByDistances : filter;
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_FILTER_H_
