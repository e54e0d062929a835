// Shared by the tests of the core: claims, codes to search, and a plain reference.

#ifndef TFHASH_OPS_CC_CORE_TESTING_H_
#define TFHASH_OPS_CC_CORE_TESTING_H_

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hamming.h"
#include "kernel.h"

namespace tfhash {

inline int failures = 0;

inline void Expect(bool holds, const std::string& claim) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "does not hold: %s\n", claim.c_str());
}

inline Executor Threads(int64_t threads) {
  return {threads, [](std::function<void()> run) { std::thread(std::move(run)).detach(); }};
}

inline std::vector<const Kernel*> Kernels() {
#if defined(TFHASH_EMULATED)
  return {Avx512Kernel()};
#else
  return SupportedKernels();
#endif
}

// Packed codes at an unaligned address.
class OwnedCodes {
 public:
  OwnedCodes(int64_t count, int64_t bytes) : data_(1 + count * bytes), count_(count), bytes_(bytes) {}

  operator Codes() const { return {data_.data() + 1, count_, bytes_}; }
  uint8_t* operator[](int64_t i) { return data_.data() + 1 + i * bytes_; }
  int64_t count() const { return count_; }

 private:
  std::vector<uint8_t> data_;
  int64_t count_;
  int64_t bytes_;
};

enum class Layout { kRandom, kEqual, kFewDistinct, kNearerAndNearer, kZero };
inline constexpr Layout kLayouts[] = {Layout::kRandom, Layout::kEqual, Layout::kFewDistinct,
                               Layout::kNearerAndNearer};

inline OwnedCodes MakeCodes(int64_t count, int64_t bytes, Layout layout, std::mt19937& random) {
  OwnedCodes codes(count, bytes);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t byte = 0; byte < bytes; ++byte) {
      switch (layout) {
        case Layout::kRandom: codes[i][byte] = random(); break;
        case Layout::kEqual: codes[i][byte] = 0xA5; break;
        case Layout::kFewDistinct: codes[i][byte] = random() % 8 == 0 ? 0xFF : 0; break;
        case Layout::kZero: codes[i][byte] = 0; break;
        // From a query of zeros.
        case Layout::kNearerAndNearer: codes[i][byte] = i < count * byte / bytes ? 0xFF : 0;
      }
    }
  }
  return codes;
}

inline int32_t Distance(const Codes& a, int64_t i, const Codes& b, int64_t j) {
  int32_t distance;
  ScalarKernel().distances(a[i], b[j], 1, a.bytes, &distance);
  return distance;
}

// For each query, the items of the database in ascending order of (distance, index).
using Rankings = std::vector<std::vector<std::pair<int32_t, int64_t>>>;

inline Rankings RankingsOf(const Codes& queries, const Codes& database) {
  Rankings rankings(queries.count);
  for (int64_t i = 0; i < queries.count; ++i) {
    for (int64_t j = 0; j < database.count; ++j) {
      rankings[i].emplace_back(Distance(queries, i, database, j), j);
    }
    std::sort(rankings[i].begin(), rankings[i].end());
  }
  return rankings;
}

struct Case {
  const Kernel* kernel;
  int64_t queries;
  int64_t items;
  int64_t bytes;
  int64_t threads;
  Layout layout;

  std::string Name() const {
    return std::string(kernel->name) + ", " + std::to_string(queries) + " x " +
           std::to_string(items) + " codes of " + std::to_string(bytes) + " bytes, layout " +
           std::to_string(static_cast<int>(layout)) + ", " + std::to_string(threads) + " threads";
  }
};

// Claims of the other tests; hamming_test.cc runs them all.
void BitSlicedComparisonsHold(const Kernel& kernel, int64_t bytes, std::mt19937& random);
void ParallelTasksHold();

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_TESTING_H_
