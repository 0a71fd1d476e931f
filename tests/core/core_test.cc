// Errors, element types, threads, progress and interruption.
#include <gtest/gtest.h>

#include <atomic>

#include "ockham/core/dtype.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

TEST(ErrorKinds, TellTheUsersFaultFromTheMachines) {
  EXPECT_EQ(exit_code(ErrorKind::kUsage), 2);
  EXPECT_EQ(exit_code(ErrorKind::kInput), 2);
  EXPECT_EQ(exit_code(ErrorKind::kUnsupported), 2);
  EXPECT_EQ(exit_code(ErrorKind::kResource), 1);
  EXPECT_EQ(exit_code(ErrorKind::kInterrupted), 1);
  EXPECT_EQ(exit_code(ErrorKind::kInternal), 1);
}

TEST(ErrorKinds, TextIsFormatted) {
  EXPECT_EQ(error_text([] { throw_input("{}: key '{}' is {}", "f.yaml", "bits", 9); }), "f.yaml: key 'bits' is 9");
  EXPECT_TRUE(has(error_text([] { OCKHAM_CHECK(1 == 2); }, ErrorKind::kInternal), {"core_test.cc", "1 == 2"}));
}

TEST(DTypes, NamesGoBothWays) {
  for (const char* name : {"F32", "F16", "BF16", "F64", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL",
                           "F8_E4M3", "F8_E5M2"}) {
    const std::optional<DType> dtype = dtype_from_name(name);
    ASSERT_TRUE(dtype.has_value()) << name;
    EXPECT_EQ(dtype_name(*dtype), name);
    EXPECT_GE(dtype_size(*dtype), 1);
  }
  EXPECT_EQ(dtype_from_name("f32"), std::nullopt);
  EXPECT_EQ(dtype_size(DType::kF64), 8);
  EXPECT_EQ(dtype_size(DType::kBF16), 2);
  EXPECT_EQ(dtype_size(DType::kF8E4M3), 1);
  EXPECT_EQ(dtype_from_config("bfloat16"), DType::kBF16);
  EXPECT_EQ(dtype_from_config("int4"), std::nullopt);
  EXPECT_EQ(dtype_config_name(DType::kF16), "float16");
}

class ParallelFor : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(0); }
};

TEST_P(ParallelFor, VisitsEveryIndexOnce) {
  std::vector<std::atomic<int>> visits(1003);
  parallel_for(1003, 10, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
  });
  for (const auto& count : visits) EXPECT_EQ(count.load(), 1);
  parallel_for(0, 1, [](int64_t, int64_t) { FAIL() << "no work to do"; });
}

TEST_P(ParallelFor, PartsAreAtLeastTheGrain) {
  std::atomic<int> parts = 0;
  parallel_for(100, 60, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(end - begin, 100);
    ++parts;
  });
  EXPECT_EQ(parts.load(), 1);
}

TEST_P(ParallelFor, RethrowsAnException) {
  std::atomic<int64_t> done = 0;
  const std::string text = error_text([&] {
    parallel_for(1000, 1, [&](int64_t begin, int64_t end) {
      done += end - begin;
      if (begin <= 500 && 500 < end) throw_input("bad item {}", 500);
    });
  });
  EXPECT_EQ(text, "bad item 500");
  EXPECT_EQ(done.load(), 1000);  // the other parts ran to their end before the exception came out
}

INSTANTIATE_TEST_SUITE_P(Threads, ParallelFor, ::testing::Values(1, 2, 7));

TEST(Progress, GoesToTheSink) {
  std::vector<std::string> messages;
  set_log_sink([&](LogLevel, std::string_view text) { messages.emplace_back(text); });
  int64_t done = 0;
  set_progress_sink([&](const ProgressEvent& event) { done = event.done; });
  log_warning("careful");
  report_progress({"stage", 3, 10, "items"});
  set_log_sink(nullptr);
  set_progress_sink(nullptr);
  log_info("nobody listens");
  report_progress({"stage", 4, 10, "items"});
  EXPECT_EQ(messages, std::vector<std::string>{"careful"});
  EXPECT_EQ(done, 3);
}

TEST(Interrupt, IsSeenUntilCleared) {
  clear_interrupt();
  check_interrupt();
  request_interrupt();
  EXPECT_TRUE(interrupt_requested());
  error_text([] { check_interrupt(); }, ErrorKind::kInterrupted);
  clear_interrupt();
  EXPECT_FALSE(interrupt_requested());
  check_interrupt();
}

TEST(Version, DescribesProgramAndMachine) {
  const std::string number = version();
  EXPECT_EQ(std::count(number.begin(), number.end(), '.'), 2);
  EXPECT_TRUE(has(machine_description(), {"core"}));
  EXPECT_EQ(utc_now().size(), 20u);
  EXPECT_EQ(utc_now().back(), 'Z');
  EXPECT_GT(peak_memory_bytes(), 1'000'000);
}

}  // namespace
}  // namespace ockham
