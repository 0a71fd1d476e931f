// The engine's workers: started once, pinned to processors, spinning a little for the next job before they sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace ockham {

class ThreadPool {
 public:
  // `threads` in all, the caller of run() among them; 0: thread_count(). Pinned where they take all processors.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(part, worker) for every part of [0, parts), parts < 2^20, worker in [0, threads()). Which worker takes
  // which part is open, so a part writes results of its own that do not depend on the worker. Returns when all are
  // done; the first exception is thrown again. One caller at a time; nothing is allocated.
  template <typename Body>
  void run(int64_t parts, const Body& body) {
    if (parts <= 1 || workers_.empty()) {
      for (int64_t part = 0; part < parts; ++part) body(part, 0);
      return;
    }
    run_parts(
        parts,
        {[](const void* given, int64_t part, int worker) { (*static_cast<const Body*>(given))(part, worker); }, &body});
  }

 private:
  struct Job {
    void (*call)(const void* body, int64_t part, int worker) = nullptr;
    const void* body = nullptr;
  };
  void run_parts(int64_t parts, const Job& job);
  void work(int worker);
  void take_parts(int worker);

  std::vector<std::jthread> workers_;
  std::atomic<uint32_t> generation_ = 0;  // of jobs
  // The job's generation (24 bits), its parts (20) and the next one to take (20), so that a worker who comes late never
  // takes a part of another job.
  std::atomic<uint64_t> ticket_ = 0;
  std::atomic<int64_t> finished_ = 0;
  std::atomic<int> sleepers_ = 0;
  std::atomic<bool> is_caller_asleep_ = false, is_stopping_ = false;
  Job job_;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace ockham
