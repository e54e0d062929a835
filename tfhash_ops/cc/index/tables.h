// A search by tables.

#ifndef TFHASH_OPS_CC_INDEX_TABLES_H_
#define TFHASH_OPS_CC_INDEX_TABLES_H_

#include <cstdint>

#include "core/kernel.h"
#include "index/nearest.h"

namespace tfhash {

// Offers to `nearest` the rows near a query, and returns whether it has seen all that count. It gives up
// and returns false if that costs more than `budget` (nanoseconds, see cost.h), which a scan would cost.
//
// Visits the keys at 0, 1, 2, ... flips from those of the query, and for each number of flips s the
// tables t = 0, ..., P - 1. When table t is done with s flips, a row not seen yet differs from the query in
// at least s + 1 bits of its keys 0, ..., t, and in at least s bits of its other keys. Keys do not overlap,
// so it is at a distance of at least P s + t + 1. Once P s + t >= nearest->limit(), the limit is below that
// distance, and no row is missing, not even one at the distance of the k-th nearest. (Derived here.)
//
// A row is reached in table t at as many flips as its key t differs in bits. It counts in the first
// table that reaches it: if s flips reach it in table t, then its keys before differ in more than s bits,
// and its keys after in at least s bits.
bool SearchTables(const Kernel& kernel, const Segment& segment, const uint8_t* query, double budget,
                  Nearest* nearest);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_TABLES_H_
