// The specification: every other kernel must give the same results.

#include <algorithm>

#include "kernel.h"

namespace tfhash {
namespace {

void Distances(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
               int32_t* distances) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t distance = 0;
    for (int64_t byte = 0; byte < bytes; ++byte) {
      distance += __builtin_popcount(query[byte] ^ codes[i * bytes + byte]);
    }
    distances[i] = distance;
  }
}

int32_t Least(const int32_t* distances, int64_t count) {
  return *std::min_element(distances, distances + count);
}

}  // namespace

const Kernel& ScalarKernel() {
  static const Kernel kernel{"scalar", Distances, Least, nullptr};
  return kernel;
}

}  // namespace tfhash
