// Converts packed codes to rows of words, the layout that the kernels read.

#ifndef TFHASH_OPS_CC_CUDA_WORDS_H_
#define TFHASH_OPS_CC_CUDA_WORDS_H_

#include <cstdint>
#include <type_traits>

#include "core/hamming.h"
#include "cuda/hamming.h"
#include "cuda/pairs.h"

namespace tfhash::cuda {

// Words that a lane loads at a time from codes of `bytes` bytes: the largest of 1, 2 and 4 that divides
// their number of words.
int WordsOfPiece(int64_t bytes);

// The codes themselves if they consist of aligned whole pieces, otherwise a padded copy.
WordCodes ToWords(const Device& device, const Codes& codes);

// Calls run(WordsOfPiece(bytes)) with a compile-time constant.
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
