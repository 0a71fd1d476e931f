// Small made-up models and the real one of the test data, for tests of the workshop half.
#pragma once

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "ockham/io/npy.h"
#include "ockham/model/checkpoint.h"
#include "ockham/model/decoder.h"
#include "ockham/tensor/ops.h"
#include "tests/test_data.h"

namespace ockham::test {

// Tiny models gain nothing from a second thread, and its waiting loop costs much on a busy machine.
inline const bool kIsSingleThreaded = [] {
  at::set_num_threads(1);
  return true;
}();

inline std::string stories() {
  return test_data("models/stories260K");
}
inline std::string golden() {
  return test_data("golden/stories260K");
}

// An empty directory that is removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ockham-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : fmt::format("{}/{}", path_, name);
  }

 private:
  std::string path_;
};

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline ModelConfig tiny_config(int64_t blocks = 2) {
  ModelConfig config;
  config.family = "llama";
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.blocks = blocks;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 4;
  config.vocabulary = 40;
  config.context_length = 64;
  config.tied_embeddings = true;
  return config;
}

// One whose linears the groups of every ready recipe divide.
inline ModelConfig recipe_config(int64_t blocks = 6) {
  ModelConfig config = tiny_config(blocks);
  config.hidden_size = 32;
  config.head_dim = 8;
  config.intermediate_size = 48;
  return config;
}

// int64 [rows, tokens] from an .npy file.
inline at::Tensor read_ids(const std::string& path) {
  const auto rows = read_token_ids_npy(path);
  at::Tensor ids = at::empty({static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.at(0).size())}, at::kLong);
  int64_t* out = ids.mutable_data_ptr<int64_t>();
  for (const auto& row : rows) out = std::copy(row.begin(), row.end(), out);
  return ids;
}

// exp of the mean negative log-likelihood of tokens 1.. over all rows; the loss in float64.
inline double perplexity(const Decoder& decoder, const at::Tensor& ids) {
  double total = 0;
  int64_t count = 0;
  for (int64_t row = 0; row < ids.size(0); row += 8) {
    const at::Tensor part = ids.narrow(0, row, std::min<int64_t>(8, ids.size(0) - row));
    const at::Tensor logits = decoder.logits(decoder.forward(part)).to(at::kDouble);
    const int64_t steps = part.size(1) - 1;
    const at::Tensor logprobs = at::log_softmax(logits.narrow(1, 0, steps), -1);
    total -= logprobs.gather(2, part.narrow(1, 1, steps).unsqueeze(2)).sum().item<double>();
    count += part.size(0) * steps;
  }
  return std::exp(total / static_cast<double>(count));
}

}  // namespace ockham::test

#define OCKHAM_REQUIRE_DATA(path)                                                              \
  if (!std::filesystem::exists(path)) {                                                        \
    GTEST_SKIP() << (path) << " is absent: set OCKHAM_TEST_DATA to the test data's directory"; \
  }
