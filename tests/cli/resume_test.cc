// `ockham compress` killed in the middle, as a power cut or the system would: the same command goes on.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "tests/cli/program.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

std::string command_for(const std::string& out) {
  return "compress " + kMini + " --recipe wanda-50 --calibration factworld --samples 64 --tokens 256 --threads 1 -o " +
         out;
}

// Starts the command and sends `signal_number` once the state says that so many blocks are done; the wait status.
int run_and_signal(const std::string& out, int blocks, int signal_number) {
  const pid_t child = fork();
  if (child == 0) {
    const std::string command = "exec " OCKHAM_BINARY_DIR "/ockham " + command_for(out) + " >/dev/null 2>&1 </dev/null";
    execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  for (;;) {
    if (waitpid(child, &status, WNOHANG) == child) return status;
    const std::string state = read_whole(out + ".resume/state.json");
    const size_t place = state.find("\"next\":");
    if (place != std::string::npos && std::atoi(state.c_str() + place + 7) >= blocks) break;
    usleep(500);
  }
  kill(child, signal_number);
  waitpid(child, &status, 0);
  return status;
}

TEST(ResumeProgram, KilledAndGoneOnWithIsTheSameAsInOneGo) {
  const ScratchDirectory scratch;
  ASSERT_EQ(run_program(command_for(scratch / "whole")).exit_code, 0);
  EXPECT_FALSE(fs::exists(scratch / "whole.resume"));
  // Twice in one run by SIGKILL, then by Ctrl-C.
  ASSERT_TRUE(WIFSIGNALED(run_and_signal(scratch / "out", 1, SIGKILL)));
  ASSERT_TRUE(WIFSIGNALED(run_and_signal(scratch / "out", 3, SIGKILL)));
  const int status = run_and_signal(scratch / "out", 5, SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_FALSE(fs::exists(scratch / "out"));
  const ProgramRun last = run_program(command_for(scratch / "out"));
  EXPECT_EQ(last.exit_code, 0) << last.errors;
  EXPECT_NE(last.errors.find("going on at block "), std::string::npos) << last.errors;
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(scratch.path())) left.push_back(entry.path().filename().string());
  EXPECT_EQ(left.size(), 2U);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(scratch / "whole")) {
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(read_whole(entry.path().string()), read_whole(scratch / ("out/" + name))) << name;
    ++files;
  }
  EXPECT_GE(files, 4);
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch / "out"), fs::directory_iterator()), files);
}

}  // namespace
}  // namespace ockham
