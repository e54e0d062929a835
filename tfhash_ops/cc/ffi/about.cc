#include "ffi/about.h"

#include <string>

#include "core/kernel.h"

#ifndef TFHASH_TENSORFLOW_VERSION
#define TFHASH_TENSORFLOW_VERSION ""
#endif

const char* TfhashTensorflowVersion() { return TFHASH_TENSORFLOW_VERSION; }

int TfhashHasXla() {
#if defined(TFHASH_WITH_XLA)
  return 1;
#else
  return 0;
#endif
}

const char* TfhashCpuKernel() {
  std::string error;
  const tfhash::Kernel* kernel = tfhash::ChooseKernel(&error);
  return kernel == nullptr ? nullptr : kernel->name;
}

const char* TfhashSupportedCpuKernels() {
  static const std::string names = [] {
    std::string names;
    for (const tfhash::Kernel* kernel : tfhash::SupportedKernels()) {
      names += names.empty() ? kernel->name : std::string(" ") + kernel->name;
    }
    return names;
  }();
  return names.c_str();
}
