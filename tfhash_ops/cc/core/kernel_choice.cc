#include <cstdlib>

#include "kernel.h"

namespace tfhash {

const std::vector<const Kernel*>& SupportedKernels() {
  static const std::vector<const Kernel*> kernels = [] {
    std::vector<const Kernel*> kernels;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq")) {
      kernels.push_back(Avx512Kernel());
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) {
      kernels.push_back(Avx2Kernel());
    }
#elif defined(__aarch64__)
    kernels.push_back(NeonKernel());  // Every 64-bit Arm CPU has NEON.
#endif
    kernels.push_back(&ScalarKernel());
    return kernels;
  }();
  return kernels;
}

const Kernel* ChooseKernel(std::string* error) {
  // Read once, because another thread may change the environment at any time.
  static const std::string wanted = [] {
    const char* value = std::getenv("TFHASH_CPU_KERNEL");
    return std::string(value == nullptr ? "" : value);
  }();
  if (wanted.empty()) return SupportedKernels().front();
  std::string names;
  for (const Kernel* kernel : SupportedKernels()) {
    if (kernel->name == wanted) return kernel;
    names += names.empty() ? kernel->name : std::string(", ") + kernel->name;
  }
  *error = "TFHASH_CPU_KERNEL must name a kernel that this CPU can run (" + names +
           ") or be unset. Received: " + wanted;
  return nullptr;
}

}  // namespace tfhash
