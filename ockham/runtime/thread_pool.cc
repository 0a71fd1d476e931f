// Parts are taken one by one from a shared counter, so that a worker whom the system puts aside holds up no more than
// the part in his hands.
#include "ockham/runtime/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"

namespace ockham {
namespace {

constexpr int kPartBits = 20;
constexpr uint64_t kPartMask = (uint64_t{1} << kPartBits) - 1, kGenerationMask = (uint64_t{1} << 24) - 1;
// About 30 to 60 microseconds: longer than what lies between two products of one pass, shorter than a time slice.
constexpr int kSpins = 1000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True once `is_ready` holds, false when it did not within the spins.
template <typename Ready>
bool spin_until(const Ready& is_ready) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (is_ready()) return true;
    relax();
  }
  return is_ready();
}

std::vector<int> allowed_processors() {
  std::vector<int> found;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return found;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
#endif
  return found;
}

// A wish: where the system refuses, the thread runs anywhere.
void pin(std::jthread& thread, int cpu) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int wanted = threads > 0 ? threads : thread_count();
  const std::vector<int> processors = allowed_processors();
  // With fewer threads than processors the system knows better which of them share a core.
  const bool takes_all = static_cast<size_t>(wanted) == processors.size();
  for (int worker = 1; worker < wanted; ++worker) {
    workers_.emplace_back([this, worker] { work(worker); });
    // The caller's thread is not ours to pin; one processor is left to it.
    if (takes_all) pin(workers_.back(), processors[static_cast<size_t>(worker)]);
  }
}

ThreadPool::~ThreadPool() {
  is_stopping_ = true;
  ++generation_;
  generation_.notify_all();
}

void ThreadPool::run_parts(int64_t parts, const Job& job) {
  OCKHAM_CHECK(parts <= static_cast<int64_t>(kPartMask) - 1024);
  job_ = job;
  finished_.store(0, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  ticket_.store((generation & kGenerationMask) << (2 * kPartBits) | static_cast<uint64_t>(parts) << kPartBits);
  generation_.store(generation);
  if (sleepers_.load() > 0) generation_.notify_all();
  take_parts(0);
  const auto is_finished = [&] { return finished_.load() == parts; };
  if (!spin_until(is_finished)) {
    is_caller_asleep_ = true;
    for (int64_t seen = finished_.load(); seen != parts; seen = finished_.load()) finished_.wait(seen);
    is_caller_asleep_ = false;
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::take_parts(int worker) {
  while (true) {
    const uint64_t ticket = ticket_.fetch_add(1);
    const auto part = static_cast<int64_t>(ticket & kPartMask),
               parts = static_cast<int64_t>(ticket >> kPartBits & kPartMask);
    if (part >= parts) return;
    // A part that is taken keeps its job alive, whichever job this worker came for.
    try {
      job_.call(job_.body, part, worker);
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    if (finished_.fetch_add(1) + 1 == parts && is_caller_asleep_.load()) finished_.notify_all();
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  while (true) {
    if (!spin_until([&] { return generation_.load() != seen; })) {
      ++sleepers_;
      generation_.wait(seen);
      --sleepers_;
    }
    seen = generation_.load();
    if (is_stopping_) return;
    take_parts(worker);
  }
}

}  // namespace ockham
