// A directory for one test, removed with everything in it; shared by the test programs of the torch-free half.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/core/error.h"

namespace ockham {

class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ockham-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data()) == nullptr ? "" : pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file and gives its path.
  std::string put(const std::string& name, std::string_view content) const {
    std::ofstream(file(name), std::ios::binary) << content;
    return file(name);
  }
  // Names of everything directly inside, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

// The message of the error that `work` throws; fails the test where it throws none or one of another kind.
template <typename Work>
std::string error_text(Work&& work, ErrorKind kind = ErrorKind::kInput) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

// The message holds every one of these pieces.
inline ::testing::AssertionResult has(const std::string& text, const std::vector<std::string>& pieces) {
  for (const std::string& piece : pieces) {
    if (text.find(piece) == std::string::npos)
      return ::testing::AssertionFailure() << "no '" << piece << "' in: " << text;
  }
  return ::testing::AssertionSuccess();
}

}  // namespace ockham
