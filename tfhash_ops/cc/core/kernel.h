// What an instruction set provides, and the choice of one at run time.

#ifndef TFHASH_OPS_CC_CORE_KERNEL_H_
#define TFHASH_OPS_CC_CORE_KERNEL_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tfhash {

// Compares many queries with a block of codes by bit slicing; see sliced-inl.h.
struct SlicedKernel {
  // Codes of a block, a multiple of 64.
  int64_t block;

  // Bytes of the table of a block.
  int64_t (*table_bytes)(int64_t bytes);

  // Numbers of a query's selectors, and of the words of its limit.
  int64_t (*selectors)(int64_t bytes);
  int64_t (*limit_words)(int64_t bytes);

  // Fills the table of a block, 64-byte aligned. REQUIRES: 0 <= count <= block
  void (*build)(const uint8_t* codes, int64_t count, int64_t bytes, void* table);

  // What `find` needs to know of a query.
  void (*select)(const uint8_t* query, int64_t bytes, uint16_t* selectors);

  // What `find` needs to know of a limit. REQUIRES: 0 <= limit <= 8 * bytes + 1
  void (*set_limit)(int64_t limit, int64_t bytes, uint64_t* words);

  // Finds the queries that have codes of the block nearer than their limits. Writes their
  // numbers, ascending, and for each a mask of `block` bits with a bit set for each such code.
  // Places of the block that hold no code count as codes of zeros. Returns how many queries. Writes
  // anything to the rest of `found` and `masks`, which have room for all queries.
  int64_t (*find)(const void* table, int64_t bytes, const uint16_t* selectors,
                  const uint64_t* limits, int64_t queries, int32_t* found, uint64_t* masks);

  // Longest codes that `count` takes.
  int64_t max_counted_bytes;

  // Adds to counts[i * (8 * bytes + 1) + m], for each query i, the number of codes whose distances
  // have all the bits of m set. Places of the block that hold no code count as codes of zeros.
  // REQUIRES: bytes <= max_counted_bytes
  void (*count)(const void* table, int64_t bytes, const uint16_t* selectors, int64_t queries,
                int64_t* counts);
};

struct Kernel {
  const char* name;

  // Distances of one query to `count` codes that follow each other.
  void (*distances)(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
                    int32_t* distances);

  // The smallest of some distances. REQUIRES: count >= 1
  int32_t (*least)(const int32_t* distances, int64_t count);

  // Null where the instruction set has no words wider than a register of integers.
  const SlicedKernel* sliced;
};

// The specification of `distances`, for every CPU.
const Kernel& ScalarKernel();

// Null where the library was compiled for another architecture.
const Kernel* Avx2Kernel();
const Kernel* Avx512Kernel();
const Kernel* NeonKernel();

// The kernels this CPU can run, the fastest first; the scalar one is always the last.
const std::vector<const Kernel*>& SupportedKernels();

// The fastest of them, or the one that the environment variable TFHASH_CPU_KERNEL names. Null
// if it names none of them; `error` then says which there are.
const Kernel* ChooseKernel(std::string* error);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_KERNEL_H_
