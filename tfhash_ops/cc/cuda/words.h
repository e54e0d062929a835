// Packed codes as rows of words, which is how the kernels read them.

#ifndef TFHASH_OPS_CC_CUDA_WORDS_H_
#define TFHASH_OPS_CC_CUDA_WORDS_H_

#include <cstdint>
#include <type_traits>

#include "core/hamming.h"
#include "cuda/hamming.h"
#include "cuda/pairs.h"

namespace tfhash::cuda {

// Words that a lane loads at a time from codes of so many bytes: as many of 1, 2 or 4 as go into
// their words.
int WordsOfPiece(int64_t bytes);

// The codes themselves where they are whole aligned pieces, else a copy.
WordCodes ToWords(const Device& device, const Codes& codes);

// Calls run with WordsOfPiece(bytes) as a constant.
template <typename Run>
void WithWords(int64_t bytes, const Run& run) {
  switch (WordsOfPiece(bytes)) {
    case 1: return run(std::integral_constant<int, 1>());
    case 2: return run(std::integral_constant<int, 2>());
    default: return run(std::integral_constant<int, 4>());
  }
}

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_WORDS_H_
