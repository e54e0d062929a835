// Declarations of a library that TensorFlow's headers include and its pip package leaves out.
// Nothing here calls them; they only have to be declared.

#ifndef TFHASH_OPS_CC_WHEEL_FARMHASH_H_
#define TFHASH_OPS_CC_WHEEL_FARMHASH_H_

#include <cstddef>
#include <cstdint>
#include <utility>

namespace util {

using uint128_t = std::pair<uint64_t, uint64_t>;

inline uint64_t Uint128Low64(const uint128_t& value) { return value.first; }
inline uint64_t Uint128High64(const uint128_t& value) { return value.second; }

uint32_t Fingerprint32(const char* data, size_t length);
uint64_t Fingerprint64(const char* data, size_t length);
uint128_t Fingerprint128(const char* data, size_t length);

}  // namespace util

#endif  // TFHASH_OPS_CC_WHEEL_FARMHASH_H_
