// Input validation, shared by op kernels, XLA lowerings and FFI handlers.
//
// Each function returns an empty string for valid input, otherwise an error message that says what was
// expected and received.

#ifndef TFHASH_OPS_CC_CORE_CHECKS_H_
#define TFHASH_OPS_CC_CORE_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tfhash {

using Dims = std::vector<int64_t>;

// Formats dimensions as "[2,3]".
std::string ToString(const Dims& dims);

std::string CheckCodes(const Dims& queries, const Dims& database);

// Checks that the size in bytes of such a result fits in 64 bits.
std::string CheckResult(int64_t rows, int64_t columns);

std::string CheckK(int64_t k, int64_t items);

std::string CheckRadius(int64_t radius);

std::string CheckBits(int64_t bits, int64_t bytes);

// Labels are one integer per code, or one packed multi-hot row per code.
std::string CheckLabels(const Dims& query_labels, const Dims& database_labels, bool is_multi_hot,
                        int64_t queries, int64_t items);

// `query` and `item` are results of FindPaddingBits.
std::string CheckPaddingBits(int64_t query, int64_t item, int64_t bits);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_CHECKS_H_
