// The searches of core/hamming.h on a GPU: codes, labels and results lie in its memory. The results
// are the same ones.

#ifndef TFHASH_OPS_CC_CUDA_HAMMING_H_
#define TFHASH_OPS_CC_CUDA_HAMMING_H_

#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

#include "core/hamming.h"
#include "cuda/device.h"

namespace tfhash::cuda {

// Where a search runs.
struct Device {
  cudaStream_t stream;
  // Warps that can run at the same time.
  int64_t warps;
  // Memory that a search may take beside its results, as far as it can do with less.
  int64_t scratch_bytes;
  // Memory that is ours until the stream has done what it was given; null where there is none left.
  std::function<void*(int64_t bytes)> allocate;

  template <typename T>
  T* Allocate(int64_t count) const {
    void* memory = allocate(count * static_cast<int64_t>(sizeof(T)));
    if (memory == nullptr && count > 0) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
};

// Most neighbors of a query that a search can be asked for.
constexpr int64_t kMaxK = int64_t{1} << 29;

// Most items that the nearest are sought among.
constexpr int64_t kMaxItems = int64_t{0xFFFFFFFF};

// Throws `std::runtime_error` unless all is well.
void Check(cudaError_t error);

// All searches throw `std::bad_alloc` where memory does not suffice. As tfhash::HammingDistance:
//
// REQUIRES: as there
void HammingDistance(const Device& device, const Codes& queries, const Codes& database,
                     int32_t* distances);

// As tfhash::HammingTopK.
//
// REQUIRES: as there; k <= kMaxK; database.count <= kMaxItems
template <typename Index>
void HammingTopK(const Device& device, const Codes& queries, const Codes& database, int64_t k,
                 int32_t* distances, Index* indices);

// As tfhash::HammingWithin, with room for `size` neighbors; what is beyond is left out, though
// row_splits counts it. Waits for the stream, and returns how many there are.
//
// REQUIRES: as there
template <typename Index>
int64_t HammingWithin(const Device& device, const Codes& queries, const Codes& database,
                      int64_t radius, int64_t size, Index* row_splits, int32_t* distances,
                      Index* indices);

// Writes -1 from `begin` up to `end`.
template <typename Index>
void FillUp(const Device& device, int64_t begin, int64_t end, int32_t* distances, Index* indices);

// As tfhash::HammingHistogram.
//
// REQUIRES: as there
template <typename Index, typename Label>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Label* query_labels, const Label* database_labels, int64_t bits,
                      Index* items, Index* relevant);

template <typename Index>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      Index* items, Index* relevant);

// As tfhash::FindPaddingBits; waits for the stream.
int64_t FindPaddingBits(const Device& device, const Codes& codes, int64_t bits);

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_HAMMING_H_
