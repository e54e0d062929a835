// What the searches require of their input, told in words: every kernel, lowering and handler
// asks here.
//
// Each function returns an empty string if all is well, else what was expected and received.

#ifndef TFHASH_OPS_CC_CORE_CHECKS_H_
#define TFHASH_OPS_CC_CORE_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tfhash {

using Dims = std::vector<int64_t>;

// As "[2,3]".
std::string ToString(const Dims& dims);

std::string CheckCodes(const Dims& queries, const Dims& database);

// That a result of this shape can be counted in 64 bits.
std::string CheckResult(int64_t rows, int64_t columns);

std::string CheckK(int64_t k, int64_t items);

std::string CheckRadius(int64_t radius);

std::string CheckBits(int64_t bits, int64_t bytes);

// Labels are integers, one for each code, or packed multi-hot rows, one for each code.
std::string CheckLabels(const Dims& query_labels, const Dims& database_labels, bool is_multi_hot,
                        int64_t queries, int64_t items);

// Takes what FindPaddingBits finds among the queries and among the items.
std::string CheckPaddingBits(int64_t query, int64_t item, int64_t bits);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_CHECKS_H_
