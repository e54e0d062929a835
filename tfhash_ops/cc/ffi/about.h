// Properties of the library, as C functions for Python.

#ifndef TFHASH_OPS_CC_FFI_ABOUT_H_
#define TFHASH_OPS_CC_FFI_ABOUT_H_

extern "C" {

// The TensorFlow version it was compiled against; empty if compiled without TensorFlow.
const char* TfhashTensorflowVersion();

// 1 if the handlers for XLA, and so for JAX, were compiled, else 0.
int TfhashHasXla();

// The CPU kernel in use; null if TFHASH_CPU_KERNEL names one that this CPU cannot run.
const char* TfhashCpuKernel();

// All kernels that this CPU can run, fastest first, separated by spaces.
const char* TfhashSupportedCpuKernels();
}

#endif  // TFHASH_OPS_CC_FFI_ABOUT_H_
