// Runs the built program as a user would and keeps what it printed.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/test_data.h"

namespace ockham {

inline const std::string kMini = OCKHAM_SOURCE_DIR "/models/mini";
constexpr const char* kSecretKey = "sk-very-secret-key-1234";

struct ProgramRun {
  int exit_code = -1;
  std::string output, errors;
};

// A fresh directory, removed at the end of the test.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ockham-cli-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string read_whole(const std::string& path) {
  std::string text;
  if (FILE* file = std::fopen(path.c_str(), "rb")) {
    std::array<char, 4096> part{};
    while (const size_t n = std::fread(part.data(), 1, part.size(), file)) text.append(part.data(), n);
    std::fclose(file);
  }
  return text;
}

// `arguments` as typed in a shell; two threads, like the smallest machine that Ockham is made for.
inline ProgramRun run_program(const std::string& arguments, const std::string& environment = "") {
  const ScratchDirectory scratch;
  const std::string command = environment + " " OCKHAM_BINARY_DIR "/ockham " + arguments + " >" + (scratch / "out") +
                              " 2>" + (scratch / "err") + " </dev/null";
  const int status = std::system(command.c_str());
  ProgramRun run;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  run.output = read_whole(scratch / "out");
  run.errors = read_whole(scratch / "err");
  return run;
}

}  // namespace ockham
