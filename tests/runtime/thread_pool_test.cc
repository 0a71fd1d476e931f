#include "ockham/runtime/thread_pool.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

namespace ockham {
namespace {

TEST(ThreadPool, EveryPartOnceOnAWorkerOfItsOwn) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t parts = 0; parts < 40; ++parts) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(parts));
      std::vector<std::atomic<int>> at_work(static_cast<size_t>(threads));
      pool.run(parts, [&](int64_t part, int worker) {
        ASSERT_TRUE(worker >= 0 && worker < threads);
        EXPECT_EQ(at_work[static_cast<size_t>(worker)]++, 0);
        ++seen[static_cast<size_t>(part)];
        --at_work[static_cast<size_t>(worker)];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, ManyShortJobsAndSleepInBetween) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  for (int64_t job = 0; job < 20000; ++job) pool.run(3, [&](int64_t part, int) { sum += part; });
  EXPECT_EQ(sum, 20000 * 3);
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than workers spin
    pool.run(64, [&](int64_t, int) { ++sum; });
  }
  EXPECT_EQ(sum, 20000 * 3 + 5 * 64);
}

TEST(ThreadPool, ThrowsWhatAPartThrowsAndGoesOn) {
  ThreadPool pool(2);
  const auto fail = [](int64_t part, int) {
    if (part == 7) throw std::runtime_error("seven");
  };
  EXPECT_THROW(pool.run(20, fail), std::runtime_error);
  std::atomic<int> count = 0;
  pool.run(20, [&](int64_t, int) { ++count; });
  EXPECT_EQ(count, 20);
}

}  // namespace
}  // namespace ockham
