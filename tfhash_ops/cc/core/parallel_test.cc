// Running tasks on a thread pool: exceptions, and pools that refuse work.

#include "parallel.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "testing.h"

namespace tfhash {
namespace {

void AFailedTaskIsReported() {
  for (int64_t threads : {1, 2, 7}) {
    bool caught = false;
    std::atomic<int64_t> started{0};
    try {
      RunTasks(Threads(threads), 100000, [&](int64_t i) {
        ++started;
        if (i == 37) throw std::runtime_error("task 37");
        // Gives task 37 time to fail.
        if (i > 37) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "task 37";
    }
    Expect(caught, "a failed task is reported, " + std::to_string(threads) + " threads");
    Expect(started < 100000, "tasks that had not started are skipped");
  }
}

void AllTasksRunEvenWithoutMoreThreads() {
  Executor executor = Threads(3);
  executor.schedule = [calls = 0, schedule = executor.schedule](auto run) mutable {
    if (++calls == 2) throw std::runtime_error("no more threads");
    schedule(std::move(run));
  };
  std::atomic<int64_t> started{0};
  RunTasks(executor, 100, [&](int64_t) { ++started; });
  Expect(started == 100, "all tasks run even if no more threads are available");
}

}  // namespace

void ParallelTasksHold() {
  AFailedTaskIsReported();
  AllTasksRunEvenWithoutMoreThreads();
}

}  // namespace tfhash
