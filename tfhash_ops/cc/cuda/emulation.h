// Emulates enough of CUDA to run kernels on a CPU, one warp after another. Each lane of a warp runs up
// to its next collective operation and waits there for the others. The program aborts if lanes reach
// different operations, which would be undefined on a GPU.
//
// This tests the results of kernels, but does not find races between warps.

#ifndef TFHASH_OPS_CC_CUDA_EMULATION_H_
#define TFHASH_OPS_CC_CUDA_EMULATION_H_

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice, cudaMemcpyDeviceToHost, cudaMemcpyHostToDevice };

inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
  if (bytes > 0) std::memset(memory, value, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

struct Dim3 {
  unsigned x;
};
inline Dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::max;
using std::min;

namespace tfhash::cuda::emulation {

constexpr int kLanes = 32;
constexpr size_t kStackBytes = size_t{1} << 17;

struct Deposit {
  const char* operation = nullptr;
  int64_t count = 0;
  int64_t value = 0;
};

class Warp {
 public:
  static Warp& Current() {
    static Warp warp;
    return warp;
  }

  void Run(const std::function<void()>& kernel, unsigned first_thread) {
    kernel_ = &kernel;
    first_thread_ = first_thread;
    running_ = kLanes;
    for (int lane = 0; lane < kLanes; ++lane) {
      counts_[lane] = 0;
      has_begun_[lane] = false;
      getcontext(&contexts_[lane]);
      contexts_[lane].uc_stack.ss_sp = stacks_[lane].data();
      contexts_[lane].uc_stack.ss_size = stacks_[lane].size();
      contexts_[lane].uc_link = nullptr;
      makecontext(&contexts_[lane], &Warp::Enter, 0);
    }
    if (_setjmp(outside_) == 0) Continue(0);
  }

  // Publishes a value, waits for all lanes, and returns the values of all.
  const Deposit* Exchange(const char* operation, int64_t value) {
    const int lane = lane_;
    const int64_t count = counts_[lane]++;
    // Double buffering: lanes that are ahead write to the other half while others still read this one.
    Deposit* deposits = deposits_[count % 2];
    deposits[lane] = {operation, count, value};
    if (_setjmp(waiting_[lane]) == 0) Continue((lane + 1) % kLanes);
    for (int other = 0; other < kLanes; ++other) {
      if (deposits[other].count != count || deposits[other].operation != operation) {
        std::fprintf(stderr, "a warp diverged at %s\n", operation);
        std::abort();
      }
    }
    return deposits;
  }

 private:
  Warp() : stacks_(kLanes, std::vector<char>(kStackBytes)) {}

  static void Enter() {
    Warp& warp = Current();
    (*warp.kernel_)();
    if (--warp.running_ == 0) _longjmp(warp.outside_, 1);
    // The next lane must finish, too: if it waits at an operation, it aborts.
    warp.Continue((warp.lane_ + 1) % kLanes);
  }

  // Long jumps, because they need no system call, unlike swapcontext.
  [[noreturn]] void Continue(int lane) {
    lane_ = lane;
    threadIdx.x = first_thread_ + lane;
    if (has_begun_[lane]) _longjmp(waiting_[lane], 1);
    has_begun_[lane] = true;
    setcontext(&contexts_[lane]);
    std::abort();
  }

  const std::function<void()>* kernel_ = nullptr;
  unsigned first_thread_ = 0;
  int lane_ = 0;
  int running_ = 0;
  int64_t counts_[kLanes];
  bool has_begun_[kLanes];
  Deposit deposits_[2][kLanes];
  jmp_buf outside_;
  jmp_buf waiting_[kLanes];
  ucontext_t contexts_[kLanes];
  std::vector<std::vector<char>> stacks_;
};

inline std::vector<uint32_t>& SharedMemory() {
  static std::vector<uint32_t> memory;
  return memory;
}

inline cudaError_t Run(const std::function<void()>& kernel, unsigned blocks, unsigned threads,
                       int64_t shared_bytes) {
  SharedMemory().assign(shared_bytes / 4, 0x5A5A5A5A);
  blockDim.x = threads;
  gridDim.x = blocks;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    for (unsigned first = 0; first < threads; first += kLanes) Warp::Current().Run(kernel, first);
  }
  return cudaSuccess;
}

}  // namespace tfhash::cuda::emulation

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

inline void __syncwarp() { tfhash::cuda::emulation::Warp::Current().Exchange("__syncwarp", 0); }

inline unsigned __ballot_sync(unsigned, bool predicate) {
  const auto* deposits =
      tfhash::cuda::emulation::Warp::Current().Exchange("__ballot_sync", predicate);
  unsigned lanes = 0;
  for (int lane = 0; lane < 32; ++lane) lanes |= static_cast<unsigned>(deposits[lane].value) << lane;
  return lanes;
}

inline bool __any_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) != 0; }

inline int __shfl_sync(unsigned, int value, int lane) {
  return static_cast<int>(
      tfhash::cuda::emulation::Warp::Current().Exchange("__shfl_sync", value)[lane % 32].value);
}

inline unsigned __match_any_sync(unsigned, int value) {
  const auto* deposits =
      tfhash::cuda::emulation::Warp::Current().Exchange("__match_any_sync", value);
  unsigned lanes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    lanes |= static_cast<unsigned>(deposits[lane].value == value) << lane;
  }
  return lanes;
}

inline unsigned __reduce_add_sync(unsigned, unsigned value) {
  const auto* deposits =
      tfhash::cuda::emulation::Warp::Current().Exchange("__reduce_add_sync", value);
  unsigned sum = 0;
  for (int lane = 0; lane < 32; ++lane) sum += static_cast<unsigned>(deposits[lane].value);
  return sum;
}

inline int __reduce_min_sync(unsigned, int value) {
  const auto* deposits =
      tfhash::cuda::emulation::Warp::Current().Exchange("__reduce_min_sync", value);
  int least = value;
  for (int lane = 0; lane < 32; ++lane) {
    least = std::min(least, static_cast<int>(deposits[lane].value));
  }
  return least;
}

inline int __reduce_max_sync(unsigned mask, int value) { return -__reduce_min_sync(mask, -value); }

template <typename T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address += value;
  return before;
}

template <typename T>
T atomicMin(T* address, T value) {
  const T before = *address;
  *address = std::min(before, value);
  return before;
}

#endif  // TFHASH_OPS_CC_CUDA_EMULATION_H_
