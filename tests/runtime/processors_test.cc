// The program on processors that have less than this one, emulated: what is chosen when it starts must not itself be
// code for another.
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

constexpr const char* kProgram = OCKHAM_BINARY_DIR "/ockham-run";
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsSanitized = true;  // whose shadow memory an emulator does not have
#elif defined(__has_feature)
constexpr bool kIsSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kIsSanitized = false;
#endif

struct Answer {
  int exit_code = -1;
  std::string text;
};
// `emulator`: what stands before the program, or nothing.
Answer ask_mini(const std::string& emulator) {
  const std::string command = emulator + " " + kProgram + " " + test::mini() +
                              " -p 'The capital of' --raw --exact --temperature 0 --max-tokens 6 2> /dev/null";
  Answer answer;
  FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return answer;
  char bytes[256];
  while (const size_t count = std::fread(bytes, 1, sizeof bytes, output)) answer.text.append(bytes, count);
  const int status = ::pclose(output);
  answer.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return answer;
}

// qemu64: SSE2 and no more; Haswell: AVX2.
TEST(Processors, OneProgramRunsOnAll) {
  if (kIsSanitized) GTEST_SKIP() << "every test of this file was skipped: sanitizers do not run under an emulator";
  if (!std::filesystem::exists(kProgram))
    GTEST_SKIP() << "every test of this file was skipped: ockham-run is not built";
  if (std::system("qemu-x86_64 --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "every test of this file was skipped: no qemu-x86_64 on the path (package qemu-user)";
  const Answer here = ask_mini("");
  ASSERT_EQ(here.exit_code, 0);
  ASSERT_FALSE(here.text.empty());
  for (const char* processor : {"qemu64", "Haswell"}) {
    const Answer there = ask_mini(std::string("qemu-x86_64 -cpu ") + processor);
    EXPECT_EQ(there.exit_code, 0) << processor;
    EXPECT_EQ(there.text, here.text) << processor;
  }
}

}  // namespace
}  // namespace ockham
