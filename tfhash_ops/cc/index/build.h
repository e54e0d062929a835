// Building segments.

#ifndef TFHASH_OPS_CC_INDEX_BUILD_H_
#define TFHASH_OPS_CC_INDEX_BUILD_H_

#include <cstdint>
#include <memory>

#include "core/parallel.h"
#include "index/segment.h"

namespace tfhash {

// Ranks, and so numbers of items and rows, have 32 bits.
constexpr int64_t kMaxSegmentItems = (int64_t{1} << 32) - 2;

// A segment of `ids.size()` items in any order, without repeated ids: with tables if they are worth it and
// `flat` does not forbid them. Consumes its arguments.
std::shared_ptr<const Segment> BuildSegment(Owned<uint8_t> codes, Owned<int64_t> ids, int64_t bits,
                                            bool flat, const Executor& executor);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_BUILD_H_
