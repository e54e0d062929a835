// What the library tells about itself, in C, for Python to ask.

#ifndef TFHASH_OPS_CC_FFI_ABOUT_H_
#define TFHASH_OPS_CC_FFI_ABOUT_H_

extern "C" {

// The TensorFlow it was compiled against; empty if against none.
const char* TfhashTensorflowVersion();

// The kernel it runs on this CPU; null where TFHASH_CPU_KERNEL names none it can run.
const char* TfhashCpuKernel();

// All kernels this CPU can run, the fastest first, separated by spaces.
const char* TfhashSupportedCpuKernels();
}

#endif  // TFHASH_OPS_CC_FFI_ABOUT_H_
