// Registers the FFI handlers with TensorFlow's XLA.

#include "ffi/handlers.h"
#include "xla/ffi/api/ffi.h"

XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingTopK", "Host", TfhashHammingTopK);
XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingWithin", "Host", TfhashHammingWithin);
XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingHistogram", "Host",
                         TfhashHammingHistogram);

#if defined(TFHASH_WITH_CUDA)
#include "cuda/handlers.h"

XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingTopK", "CUDA", TfhashCudaHammingTopK);
XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingWithin", "CUDA",
                         TfhashCudaHammingWithin);
XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), "TfhashHammingHistogram", "CUDA",
                         TfhashCudaHammingHistogram);
#endif
