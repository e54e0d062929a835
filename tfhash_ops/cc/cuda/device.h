// The parts of CUDA that the kernels use. With TFHASH_EMULATE_CUDA these are emulated on the CPU, so
// that the kernels can be tested without a GPU.

#ifndef TFHASH_OPS_CC_CUDA_DEVICE_H_
#define TFHASH_OPS_CC_CUDA_DEVICE_H_

#include <cstdint>

#if defined(TFHASH_EMULATE_CUDA)
#include "cuda/emulation.h"
#else
#include <cuda_runtime.h>
#endif

namespace tfhash::cuda {

constexpr int kLanes = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;
constexpr int kWarpsOfBlock = 4;
constexpr int kThreadsOfBlock = kWarpsOfBlock * kLanes;

// Blocks of the comparison kernels that should fit on a multiprocessor; bounds their registers.
constexpr int kBlocksOfMultiprocessor = 4;

// Largest dynamic shared memory of a block; all supported devices have more.
constexpr int64_t kSharedBytes = 96 * 1024;

__device__ inline int Lane() { return threadIdx.x % kLanes; }

__device__ inline int WarpOfBlock() { return threadIdx.x / kLanes; }

// Index of this warp in the grid.
__device__ inline int64_t Warp() {
  return int64_t{blockIdx.x} * kWarpsOfBlock + WarpOfBlock();
}

// Number of lanes in `lanes` before this one.
__device__ inline int RankIn(unsigned lanes) { return __popc(lanes & ((1u << Lane()) - 1)); }

// The 64-bit type that atomicAdd supports.
using Counter = unsigned long long;

template <typename T>
cudaError_t Clear(T* numbers, int64_t count, cudaStream_t stream) {
  return cudaMemsetAsync(numbers, 0, count * sizeof(T), stream);
}

// The dynamic shared memory of the block.
__device__ inline uint32_t* SharedMemory() {
#if defined(TFHASH_EMULATE_CUDA)
  return emulation::SharedMemory().data();
#else
  extern __shared__ uint32_t memory[];
  return memory;
#endif
}

// Launches `kernel` on at least `warps` warps, in blocks of kWarpsOfBlock warps.
template <typename... Parameters, typename... Arguments>
cudaError_t LaunchSharing(int64_t shared_bytes, void (*kernel)(Parameters...), int64_t warps,
                          [[maybe_unused]] cudaStream_t stream,
                          [[maybe_unused]] const Arguments&... arguments) {
  if (warps == 0) return cudaSuccess;
  const int64_t blocks = (warps + kWarpsOfBlock - 1) / kWarpsOfBlock;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
#if defined(TFHASH_EMULATE_CUDA)
  return emulation::Run([&] { kernel(arguments...); }, static_cast<unsigned>(blocks),
                        kThreadsOfBlock, shared_bytes);
#else
  if (shared_bytes > 0) {
    // Always the same value, because another thread may be launching this kernel.
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kSharedBytes));
    if (error != cudaSuccess) return error;
  }
  kernel<<<static_cast<unsigned>(blocks), kThreadsOfBlock, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
#endif
}

template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), int64_t warps, cudaStream_t stream,
                   const Arguments&... arguments) {
  return LaunchSharing(0, kernel, warps, stream, arguments...);
}

}  // namespace tfhash::cuda

#endif  // TFHASH_OPS_CC_CUDA_DEVICE_H_
