#include "cuda/words.h"

#include <string>

namespace tfhash::cuda {
namespace {

__global__ void CopyToWords(Codes codes, int64_t words_of_row, uint32_t* words) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < codes.count * words_of_row;
       i += step) {
    const uint8_t* code = codes.data + i / words_of_row * codes.bytes;
    const int64_t first = 4 * (i % words_of_row);
    uint32_t word = 0;
    for (int byte = 0; byte < 4 && first + byte < codes.bytes; ++byte) {
      word |= uint32_t{code[first + byte]} << (8 * byte);
    }
    words[i] = word;
  }
}

}  // namespace

void Check(cudaError_t error) {
#if !defined(TFHASH_EMULATE_CUDA)
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
#else
  static_cast<void>(error);
#endif
}

int WordsOfPiece(int64_t bytes) {
  const int64_t words = (bytes + 3) / 4;
  return words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
}

WordCodes ToWords(const Device& device, const Codes& codes) {
  const int64_t words = WordsOfPiece(codes.bytes);
  const int64_t pieces = (codes.bytes + 4 * words - 1) / (4 * words);
  const bool is_aligned = reinterpret_cast<uintptr_t>(codes.data) % (4 * words) == 0;
  if (codes.bytes == 4 * words * pieces && is_aligned) {
    return {reinterpret_cast<const uint32_t*>(codes.data), codes.count, static_cast<int>(pieces)};
  }
  uint32_t* copy = device.Allocate<uint32_t>(codes.count * words * pieces);
  if (codes.count > 0) {
    Check(Launch(CopyToWords, 4 * device.warps, device.stream, codes, words * pieces, copy));
  }
  return {copy, codes.count, static_cast<int>(pieces)};
}

}  // namespace tfhash::cuda
