// The ops in plain HLO, for platforms without FFI handlers.

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

// In ascending order of (distance, index). REQUIRES: 1 <= k <= n
TopKResult TopK(const Codes& queries, const Codes& database, int64_t k);

struct WithinResult {
  xla::XlaOp row_splits;  // s64 [q + 1]
  xla::XlaOp distances;   // s32 [<= q n]
  xla::XlaOp indices;     // s64 [<= q n]
};

// radius: s64 []. REQUIRES: q * n < 2^31, the largest dynamic dimension.
WithinResult Within(const Codes& queries, const Codes& database, xla::XlaOp radius);

// The first `size` values of a vector; size: s32 [].
xla::XlaOp Shortened(xla::XlaOp vector, xla::XlaOp size);

struct HistogramResult {
  xla::XlaOp items;     // s64 [q, bits + 1]
  xla::XlaOp relevant;  // s64 [q, bits + 1]
};

// Labels of both sides: integers [q] and [n], or packed multi-hot rows, u8 [q, bytes] and
// [n, bytes].
struct Labels {
  xla::XlaOp queries;
  xla::XlaOp database;
  bool are_multi_hot;
  int64_t bytes;
};

HistogramResult Histogram(const Codes& queries, const Codes& database, const Labels& labels,
                          int64_t bits);

}  // namespace tfhash::hlo

#endif  // TFHASH_OPS_CC_TF_HLO_H_
