// Bit-sliced comparison against a plain loop.

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "hamming.h"
#include "kernel.h"
#include "testing.h"

namespace tfhash {

// Every output of `find`, for all limits, one query for each.
void BitSlicedComparisonsHold(const Kernel& kernel, int64_t bytes, std::mt19937& random) {
  const SlicedKernel& sliced = *kernel.sliced;
  const int64_t count = sliced.block - 3;
  const int64_t limits = 8 * bytes + 2;
  const OwnedCodes database = MakeCodes(count, bytes, Layout::kRandom, random);
  const OwnedCodes queries = MakeCodes(limits, bytes, Layout::kRandom, random);
  std::vector<uint8_t> memory(sliced.table_bytes(bytes) + 64);
  void* table = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::vector<uint16_t> selectors(limits * sliced.selectors(bytes));
  std::vector<uint64_t> words(limits * sliced.limit_words(bytes));
  for (int64_t limit = 0; limit < limits; ++limit) {
    sliced.select(Codes(queries)[limit], bytes, &selectors[limit * sliced.selectors(bytes)]);
    sliced.set_limit(limit, bytes, &words[limit * sliced.limit_words(bytes)]);
  }
  std::vector<int32_t> found(limits);
  std::vector<uint64_t> masks(limits * sliced.block / 64);
  sliced.build(Codes(database)[0], count, bytes, table);
  const int64_t found_count = sliced.find(table, bytes, selectors.data(), words.data(), limits,
                                          found.data(), masks.data());

  bool holds = true;
  int64_t f = 0;
  for (int64_t limit = 0; limit < limits; ++limit) {
    std::vector<bool> below(sliced.block);
    const OwnedCodes zeros(1, bytes);
    for (int64_t j = 0; j < sliced.block; ++j) {
      const int32_t distance = j < count ? Distance(queries, limit, database, j)
                                         : Distance(queries, limit, zeros, 0);
      below[j] = distance < limit;
    }
    if (std::find(below.begin(), below.end(), true) == below.end()) continue;
    holds &= f < found_count && found[f] == limit;
    for (int64_t j = 0; holds && j < sliced.block; ++j) {
      holds &= (masks[f * sliced.block / 64 + j / 64] >> (j % 64) & 1) == below[j];
    }
    ++f;
  }
  Expect(holds && f == found_count, std::string("bit-sliced comparison finds the codes below the limit: ") +
                                        kernel.name + ", " + std::to_string(bytes) + " bytes");
}

}  // namespace tfhash
