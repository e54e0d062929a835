// Kernels for instruction sets, and the choice of one at run time.

#ifndef TFHASH_OPS_CC_CORE_KERNEL_H_
#define TFHASH_OPS_CC_CORE_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tfhash {

// Bit-sliced comparison of many queries with a block of codes; see sliced-inl.h.
struct SlicedKernel {
  // Codes of a block, a multiple of 64.
  int64_t block;

  // Size of the table of a block.
  int64_t (*table_bytes)(int64_t bytes);

  // Number of a query's selectors, and of the words of its limit.
  int64_t (*selectors)(int64_t bytes);
  int64_t (*limit_words)(int64_t bytes);

  // Fills the table of a block, 64-byte aligned. REQUIRES: 0 <= count <= block
  void (*build)(const uint8_t* codes, int64_t count, int64_t bytes, void* table);

  // Precomputes the selectors of a query.
  void (*select)(const uint8_t* query, int64_t bytes, uint16_t* selectors);

  // Spreads the bits of a limit into words. REQUIRES: 0 <= limit <= 8 * bytes + 1
  void (*set_limit)(int64_t limit, int64_t bytes, uint64_t* words);

  // Finds the queries for which the block has codes nearer than their limits. Writes the indices of
  // these queries in ascending order, and for each a mask of `block` bits that marks the codes. Returns
  // the number of these queries. Unused places of the block count as codes of zeros. `found` and
  // `masks` must have space for all queries; the rest of them is overwritten with arbitrary values.
  int64_t (*find)(const void* table, int64_t bytes, const uint16_t* selectors,
                  const uint64_t* limits, int64_t queries, int32_t* found, uint64_t* masks);

  // Longest codes that `count` supports.
  int64_t max_counted_bytes;

  // Adds to counts[i * (8 * bytes + 1) + m], for each query i, the number of codes whose distance has
  // all bits of m set. Unused places of the block count as codes of zeros.
  // REQUIRES: bytes <= max_counted_bytes
  void (*count)(const void* table, int64_t bytes, const uint16_t* selectors, int64_t queries,
                int64_t* counts);
};

struct Kernel {
  const char* name;

  // Distances of one query to `count` contiguous codes.
  void (*distances)(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
                    int32_t* distances);

  // REQUIRES: count >= 1
  int32_t (*least)(const int32_t* distances, int64_t count);

  // Null if the instruction set has no vector registers.
  const SlicedKernel* sliced;
};

// Portable, and the specification of the others.
const Kernel& ScalarKernel();

// Null if the library was compiled for another architecture.
const Kernel* Avx2Kernel();
const Kernel* Avx512Kernel();
const Kernel* NeonKernel();

// The kernels that this CPU can run, fastest first; the scalar one is always last.
const std::vector<const Kernel*>& SupportedKernels();

// The fastest supported kernel, or the one named by the environment variable TFHASH_CPU_KERNEL. Returns
// null and sets `error` if that kernel is not supported.
const Kernel* ChooseKernel(std::string* error);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_KERNEL_H_
