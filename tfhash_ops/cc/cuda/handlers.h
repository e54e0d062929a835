// Symbols of the typed-FFI handlers for platform "CUDA", for registration with an XLA.

#ifndef TFHASH_OPS_CC_CUDA_HANDLERS_H_
#define TFHASH_OPS_CC_CUDA_HANDLERS_H_

#include "xla/ffi/api/c_api.h"

extern "C" {
XLA_FFI_Error* TfhashCudaHammingDistance(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashCudaHammingTopK(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashCudaHammingWithin(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashCudaHammingHistogram(XLA_FFI_CallFrame* call_frame);
}

#endif  // TFHASH_OPS_CC_CUDA_HANDLERS_H_
