// Symbols of the typed-FFI handlers, for registration with an XLA.

#ifndef TFHASH_OPS_CC_FFI_HANDLERS_H_
#define TFHASH_OPS_CC_FFI_HANDLERS_H_

#include "xla/ffi/api/c_api.h"

extern "C" {
XLA_FFI_Error* TfhashHammingDistance(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashHammingTopK(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashHammingWithin(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* TfhashHammingHistogram(XLA_FFI_CallFrame* call_frame);
}

#endif  // TFHASH_OPS_CC_FFI_HANDLERS_H_
