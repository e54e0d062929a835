// Hamming distance, search and histograms on packed codes, without TensorFlow. The op kernels and the
// FFI handlers validate their input and call these functions.
//
// A packed code is a row of bytes; bit j of a code is bit j % 8 of byte j / 8. Rows are contiguous and
// need no alignment. Results depend on the input alone, not on the number of threads or on the
// instruction set.

#ifndef TFHASH_OPS_CC_CORE_HAMMING_H_
#define TFHASH_OPS_CC_CORE_HAMMING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "parallel.h"

namespace tfhash {

struct Kernel;

// `count` codes of `bytes` bytes each.
struct Codes {
  const uint8_t* data;
  int64_t count;
  int64_t bytes;

  const uint8_t* operator[](int64_t i) const { return data + i * bytes; }
};

// distances[i * database.count + j] = number of bits in which query i and item j differ.
//
// REQUIRES: queries.bytes == database.bytes >= 1
void HammingDistance(const Kernel& kernel, const Codes& queries, const Codes& database,
                     int32_t* distances, const Executor& executor);

// The k nearest items of every query in ascending order of (distance, index), into rows of k.
//
// REQUIRES: queries.bytes == database.bytes >= 1; 1 <= k <= database.count
void HammingTopK(const Kernel& kernel, const Codes& queries, const Codes& database, int64_t k,
                 int32_t* distances, int64_t* indices, const Executor& executor);

// Rows of different lengths: row i is [row_splits[i], row_splits[i + 1]) of the values.
struct Neighbors {
  std::vector<int64_t> row_splits;
  std::vector<int32_t> distances;
  std::vector<int64_t> indices;
};

// All items at most `radius` bits from a query, each row in ascending order of
// (distance, index).
//
// REQUIRES: queries.bytes == database.bytes >= 1; radius >= 0
Neighbors HammingWithin(const Kernel& kernel, const Codes& queries, const Codes& database,
                        int64_t radius, const Executor& executor);

// items[i * (bits + 1) + d] = number of items at distance d from query i;
// relevant: the same for the items that have the label of the query.
//
// REQUIRES: queries.bytes == database.bytes == ceil(bits / 8); padding bits are zero
void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const int64_t* query_labels, const int64_t* database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor);

// The same for multi-hot labels, packed like codes: relevant items share any label with the query.
//
// REQUIRES: as above; query_labels.bytes == database_labels.bytes
void HammingHistogram(const Kernel& kernel, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      int64_t* items, int64_t* relevant, const Executor& executor);

// Index of the first code with a bit set at position `bits` or above; -1 if there is none.
//
// REQUIRES: codes.bytes == ceil(bits / 8)
int64_t FindPaddingBits(const Codes& codes, int64_t bits);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_HAMMING_H_
