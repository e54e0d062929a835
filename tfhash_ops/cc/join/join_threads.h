// Threads of one join, which no caller's pool runs.

#ifndef TFHASH_OPS_CC_JOIN_JOIN_THREADS_H_
#define TFHASH_OPS_CC_JOIN_JOIN_THREADS_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/parallel.h"

namespace tfhash::join {

class JoinThreads {
 public:
  // `threads` includes the calling thread.
  explicit JoinThreads(int64_t threads) : threads_(threads) {
    try {
      for (int64_t i = 1; i < threads; ++i) workers_.emplace_back([this] { Serve(); });
    } catch (...) {
      Stop();
      throw;
    }
  }
  ~JoinThreads() { Stop(); }
  JoinThreads(const JoinThreads&) = delete;
  JoinThreads& operator=(const JoinThreads&) = delete;

  int64_t threads() const { return threads_; }

  void Run(int64_t count, const std::function<void(int64_t)>& task) {
    RunTasks({threads_, [this](std::function<void()> work) { Add(std::move(work)); }}, count, task);
  }

 private:
  void Add(std::function<void()> work) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    changed_.notify_one();
  }

  void Serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return is_stopped_ || !waiting_.empty(); });
      if (is_stopped_) return;
      std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
    }
  }

  void Stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      is_stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  const int64_t threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool is_stopped_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_JOIN_THREADS_H_
