// The searches in plain HLO, for platforms without handlers of our own.

#ifndef TFHASH_OPS_CC_TF_HLO_H_
#define TFHASH_OPS_CC_TF_HLO_H_

#include <cstdint>

#include "xla/hlo/builder/xla_builder.h"

namespace tfhash::hlo {

// Packed codes, u8 [count, bytes].
struct Codes {
  xla::XlaOp data;
  int64_t count;
  int64_t bytes;
};

// s32 [q, n]
xla::XlaOp Distance(const Codes& queries, const Codes& database);

struct TopKResult {
  xla::XlaOp distances;  // s32 [q, k]
  xla::XlaOp indices;    // s64 [q, k]
};

// Ascending by (distance, index). REQUIRES: 1 <= k <= n
TopKResult TopK(const Codes& queries, const Codes& database, int64_t k);

struct WithinResult {
  xla::XlaOp row_splits;  // s64 [q + 1]
  xla::XlaOp distances;   // s32 [<= q n]
  xla::XlaOp indices;     // s64 [<= q n]
};

// radius: s32 []. REQUIRES: q * n < 2^31, the largest dynamic dimension.
WithinResult Within(const Codes& queries, const Codes& database, xla::XlaOp radius);

// Leaves the first `size` values, s32 [], of a vector.
xla::XlaOp Shortened(xla::XlaOp vector, xla::XlaOp size);

struct HistogramResult {
  xla::XlaOp items;     // s64 [q, bits + 1]
  xla::XlaOp relevant;  // s64 [q, bits + 1]
};

// similar: pred [q, n]
HistogramResult Histogram(const Codes& queries, const Codes& database, xla::XlaOp similar,
                          int64_t bits);

// pred [q, n] from integers [q] and [n]
xla::XlaOp Equal(xla::XlaOp query_labels, xla::XlaOp database_labels, int64_t queries,
                 int64_t items);

// pred [q, n] from packed multi-hot rows
xla::XlaOp ShareAny(const Codes& query_labels, const Codes& database_labels);

}  // namespace tfhash::hlo

#endif  // TFHASH_OPS_CC_TF_HLO_H_
