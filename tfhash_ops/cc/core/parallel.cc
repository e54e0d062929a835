#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>

namespace tfhash {
namespace {

// Shared ownership with the helpers: one that starts after RunTasks has returned still accesses it.
struct Work {
  std::atomic<int64_t> next{0};
  int64_t count;
  // Dereferenced only by a thread that has claimed a task, hence before RunTasks returns.
  const std::function<void(int64_t)>* task;

  std::mutex mutex;
  std::condition_variable changed;
  int64_t working = 0;
  std::exception_ptr failure;

  void Drain() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      ++working;
    }
    std::exception_ptr thrown;
    for (int64_t i; (i = next.fetch_add(1)) < count;) {
      try {
        (*task)(i);
      } catch (...) {
        thrown = std::current_exception();
        next.store(count);
      }
    }
    std::lock_guard<std::mutex> lock(mutex);
    if (thrown && !failure) failure = std::move(thrown);
    if (--working == 0) changed.notify_all();
  }
};

}  // namespace

void RunTasks(const Executor& executor, int64_t count, const std::function<void(int64_t)>& task) {
  const int64_t helpers = std::min(executor.threads, count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  auto work = std::make_shared<Work>();
  work->count = count;
  work->task = &task;
  try {
    for (int64_t i = 0; i < helpers; ++i) executor.schedule([work] { work->Drain(); });
  } catch (...) {
    // The helpers that were scheduled and this thread can do all the work.
  }
  work->Drain();
  // A helper that starts later will find no task left.
  std::unique_lock<std::mutex> lock(work->mutex);
  work->changed.wait(lock, [&] { return work->working == 0; });
  // Moved out, so that a helper that releases the work late does not destroy the exception.
  if (work->failure) std::rethrow_exception(std::move(work->failure));
}

}  // namespace tfhash
