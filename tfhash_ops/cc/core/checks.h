// What the searches require of their input, told in words. Every shell asks here, so that the
// same mistake gets the same answer from TensorFlow, XLA and JAX.
//
// Each function returns an empty string if all is well, else what was expected and received.

#ifndef TFHASH_OPS_CC_CORE_CHECKS_H_
#define TFHASH_OPS_CC_CORE_CHECKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hamming.h"

namespace tfhash {

using Dims = std::vector<int64_t>;

std::string CheckCodes(const Dims& queries, const Dims& database);

std::string CheckK(int64_t k, int64_t items);

std::string CheckRadius(int64_t radius);

std::string CheckBits(int64_t bits, int64_t bytes);

// Labels are integers, one for each code, or packed multi-hot rows, one for each code.
std::string CheckLabels(const Dims& query_labels, const Dims& database_labels, bool is_multi_hot,
                        int64_t queries, int64_t items);

std::string CheckPaddingBits(const Codes& queries, const Codes& database, int64_t bits);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_CHECKS_H_
