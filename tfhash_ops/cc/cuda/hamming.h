// The functions of core/hamming.h on a GPU, with the same results. Codes, labels and results are in
// device memory.

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
  // Scratch memory that a search should not exceed.
  int64_t scratch_bytes;
  // Allocates memory that is valid until the work queued on the stream is done; null if out of memory.
  std::function<void*(int64_t bytes)> allocate;

  template <typename T>
  T* Allocate(int64_t count) const {
    void* memory = allocate(count * static_cast<int64_t>(sizeof(T)));
    if (memory == nullptr && count > 0) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
};

// Largest k.
constexpr int64_t kMaxK = int64_t{1} << 29;

// Largest database of a top-k search.
constexpr int64_t kMaxItems = int64_t{0xFFFFFFFF};

// Throws `std::bad_alloc` or `std::runtime_error` on failure.
void Check(cudaError_t error);

// All functions throw `std::bad_alloc` if memory does not suffice, and require what those of the core
// require.

// As tfhash::HammingDistance.
void HammingDistance(const Device& device, const Codes& queries, const Codes& database,
                     int32_t* distances);

// As tfhash::HammingTopK.
//
// REQUIRES: k <= kMaxK; database.count <= kMaxItems
template <typename Index>
void HammingTopK(const Device& device, const Codes& queries, const Codes& database, int64_t k,
                 int32_t* distances, Index* indices);

// As tfhash::HammingWithin, with space for `size` neighbors. Further neighbors are dropped but counted
// in row_splits. Synchronizes the stream and returns the total number of neighbors.
template <typename Index>
int64_t HammingWithin(const Device& device, const Codes& queries, const Codes& database,
                      int64_t radius, int64_t size, Index* row_splits, int32_t* distances,
                      Index* indices);

// Writes -1 to places [begin, end).
template <typename Index>
void FillUp(const Device& device, int64_t begin, int64_t end, int32_t* distances, Index* indices);

// As tfhash::HammingHistogram.
template <typename Index, typename Label>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Label* query_labels, const Label* database_labels, int64_t bits,
                      Index* items, Index* relevant);

template <typename Index>
void HammingHistogram(const Device& device, const Codes& queries, const Codes& database,
                      const Codes& query_labels, const Codes& database_labels, int64_t bits,
                      Index* items, Index* relevant);

// As tfhash::FindPaddingBits. Synchronizes the stream.
int64_t FindPaddingBits(const Device& device, const Codes& codes, int64_t bits);

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_HAMMING_H_
