// That kernels really have threads: without OpenMP the same code compiles, and runs on one.
#include "ockham/tensor/parallel.h"

#include <ATen/Parallel.h>

#include <mutex>
#include <set>
#include <thread>

#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~ThreadCount() { at::set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

TEST(ParallelRows, RunsOnAsManyThreadsAsLibtorch) {
  for (const int count : {1, 2}) {
    const ThreadCount threads(count);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::vector<int> visits(100, 0);
    parallel_rows(0, 100, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) ++visits[static_cast<size_t>(i)];
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(visits, std::vector<int>(100, 1));
    EXPECT_EQ(seen.size(), static_cast<size_t>(count));
  }
}

TEST(ParallelRows, PassesAnExceptionOn) {
  const ThreadCount threads(2);
  EXPECT_THROW(parallel_rows(0, 100, 1,
                             [](int64_t from, int64_t) {
                               if (from > 0) throw std::runtime_error("part");
                             }),
               std::runtime_error);
}

}  // namespace
}  // namespace ockham
