// Exact search in the parts of an index.

#ifndef TFHASH_OPS_CC_INDEX_SEARCH_H_
#define TFHASH_OPS_CC_INDEX_SEARCH_H_

#include <cstdint>
#include <vector>

#include "core/hamming.h"
#include "core/kernel.h"
#include "core/parallel.h"
#include "index/nearest.h"

namespace tfhash {

// The k nearest items of every query in ascending order of (distance, id), into rows of k.
//
// REQUIRES: 1 <= k <= number of items
void SearchTopK(const Kernel& kernel, const std::vector<PartOfIndex>& parts, const Codes& queries,
                int64_t bits, int64_t k, int32_t* distances, int64_t* ids,
                const Executor& executor);

// All items at most `radius` bits from a query; `indices` are ids.
Neighbors SearchWithin(const Kernel& kernel, const std::vector<PartOfIndex>& parts,
                       const Codes& queries, int64_t bits, int64_t radius,
                       const Executor& executor);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_SEARCH_H_
