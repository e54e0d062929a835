// Distance histograms without labels.

#ifndef TFHASH_OPS_CC_CORE_COUNTING_H_
#define TFHASH_OPS_CC_CORE_COUNTING_H_

#include <cstdint>

#include "hamming.h"

namespace tfhash {

// counts[i * (bits + 1) + d] = number of items at distance d from query i.
//
// REQUIRES: queries.bytes == database.bytes == ceil(bits / 8); padding bits are zero
void CountDistances(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t bits,
                    int64_t* counts, const Executor& executor);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_COUNTING_H_
