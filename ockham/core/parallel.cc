// Threads are started per call: the users are seconds long, so a pool would only add state.
#include "ockham/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace ockham {
namespace {
std::atomic<int> configured{0};
}

void set_thread_count(int count) {
  configured.store(std::max(count, 0));
}

int thread_count() {
  const int count = configured.load();
  return count > 0 ? count : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  const int64_t parts = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, thread_count());
  if (parts == 1) {
    body(0, n);
    return;
  }
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto run = [&](int64_t part) {
    try {
      body(n * part / parts, n * (part + 1) / parts);
    } catch (...) {
      std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;  // joined also when the next one cannot be started
  for (int64_t part = 1; part < parts; ++part) threads.emplace_back(run, part);
  run(0);
  for (std::jthread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ockham
