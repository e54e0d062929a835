// Running tasks on threads that belong to someone else: TensorFlow's, XLA's, a test's.

#ifndef TFHASH_OPS_CC_CORE_PARALLEL_H_
#define TFHASH_OPS_CC_CORE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace tfhash {

struct Executor {
  // Threads that may work at the same time, the calling one included; >= 1.
  int64_t threads = 1;
  // Runs a closure some time on another thread. Not called when threads == 1.
  std::function<void(std::function<void()>)> schedule;
};

// Calls task(i) once for every i in [0, count) and returns when all calls have returned. The
// calling thread takes part, so that this ends even if no other thread ever comes free. The
// first exception of a task is thrown here; tasks not yet begun are then left out.
void RunTasks(const Executor& executor, int64_t count, const std::function<void(int64_t)>& task);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_PARALLEL_H_
