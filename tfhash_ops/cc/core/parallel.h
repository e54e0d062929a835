// Runs tasks on the thread pool of the caller: TensorFlow's, XLA's or a test's.

#ifndef TFHASH_OPS_CC_CORE_PARALLEL_H_
#define TFHASH_OPS_CC_CORE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace tfhash {

struct Executor {
  // Number of threads to use, including the calling one; >= 1.
  int64_t threads = 1;
  // Runs a closure on another thread at some later time. Not called if threads == 1.
  std::function<void(std::function<void()>)> schedule;
};

// Calls task(i) once for every i in [0, count) and returns when all calls have returned. The calling
// thread takes part, so this finishes even if no other thread becomes free. If a task throws, tasks that
// have not started are skipped and the first exception is rethrown here.
void RunTasks(const Executor& executor, int64_t count, const std::function<void(int64_t)>& task);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_PARALLEL_H_
