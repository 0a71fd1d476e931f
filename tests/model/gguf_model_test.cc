// Models through GGUF files: names, settings, row order and codes come back as they were.
#include "ockham/model/gguf_model.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/io/json.h"
#include "ockham/model/interchange_writer.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

ModelConfig small_config(const char* family, int64_t hidden) {
  ModelConfig config = test::tiny_config(2);
  config.family = family;
  config.hidden_size = hidden;
  config.intermediate_size = 96;
  config.head_dim = hidden / config.heads;
  config.rope.theta = 5e5;
  config.norm_eps = 1e-5;
  config.tied_embeddings = false;
  return config;
}

// A packed model directory; bits 0: dense.
std::string write_model(const std::string& directory, const ModelConfig& config, int64_t bits, bool is_symmetric) {
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(config, 3, DType::kF32);
  std::filesystem::create_directories(directory);
  CheckpointWriter::Options options;
  options.is_packed = bits > 0;
  CheckpointWriter writer(directory, decoder->config, options);
  write_frame(writer, *decoder, DType::kF32);
  for (int64_t index = 0; index < config.blocks; ++index) {
    Block& block = decoder->blocks[static_cast<size_t>(index)];
    for (Linear& linear : block.linears) {
      if (bits == 0) continue;
      GroupIntWeight weight = round_to_grid(weight_to_dense(linear.weight, at::kFloat), bits, 32, is_symmetric);
      weight.scales = weight.scales.to(at::kHalf);
      linear.weight = weight;
    }
    write_block(writer, block, index, DType::kF32);
  }
  writer.finish("");
  return directory;
}

// Largest difference of all weights, and of the logits.
double difference(const std::string& first, const std::string& second) {
  const at::NoGradGuard no_grad;
  const auto a = Checkpoint(first).read_all(DType::kF32), b = Checkpoint(second).read_all(DType::kF32);
  double largest = 0;
  for (size_t i = 0; i < a->blocks.size(); ++i) {
    for (size_t j = 0; j < a->blocks[i].linears.size(); ++j) {
      const Tensor left = weight_to_dense(a->blocks[i].linears[j].weight, at::kFloat);
      const Tensor right = weight_to_dense(b->blocks[i].linears[j].weight, at::kFloat);
      largest = std::max(largest, (left - right).abs().max().item<double>());
    }
  }
  const Tensor ids = at::arange(12).unsqueeze(0);
  const Tensor gap = a->logits(a->forward(ids)) - b->logits(b->forward(ids));
  return std::max(largest, gap.abs().max().item<double>());
}

TEST(GgufModel, RowsOfOneHeadOfEight) {
  const std::vector<int64_t> expected = {0, 4, 1, 5, 2, 6, 3, 7};
  EXPECT_TRUE(at::equal(gguf_rope_order(1, 8), at::tensor(expected, at::kLong)));
}

TEST(GgufModel, ComesBackAsItWas) {
  const test::ScratchDirectory scratch;
  const struct {
    const char* family;
    int64_t bits;
    bool is_symmetric;
    const char* layout;
  } cases[] = {{"llama", 0, true, "gguf, llama: 14 F32"},
               {"llama", 4, true, "gguf, llama: 14 Q4_0"},
               {"llama", 4, false, "gguf, llama: 14 Q5_0"},
               {"llama", 8, true, "gguf, llama: 14 Q8_0"},
               {"mistral", 3, true, "gguf, llama: 14 Q4_0"}};
  int number = 0;
  for (const auto& row : cases) {
    const std::string name = scratch.path(std::to_string(number++));
    const std::string source = write_model(name, small_config(row.family, 64), row.bits, row.is_symmetric);
    GgufExport options;
    options.type = "auto";
    write_gguf(Checkpoint(source), name + ".gguf", options);
    EXPECT_EQ(options.summary.exact, 14) << row.layout;
    const Checkpoint back(name + ".gguf");
    EXPECT_EQ(back.layout(), row.layout);
    EXPECT_EQ(back.config().rope.theta, 5e5);
    EXPECT_EQ(back.config().kv_heads, 2);
    EXPECT_EQ(difference(source, name + ".gguf"), 0) << row.layout;
  }
}

TEST(GgufModel, ASecondRoundingIsCounted) {
  const test::ScratchDirectory scratch;
  const std::string source = write_model(scratch.path("m"), small_config("llama", 64), 0, true);
  for (const auto& [type, written] :
       {std::pair{"Q4_0", "Q4_0"}, {"Q8_0", "Q8_0"}, {"Q4_K", "Q5_0"}, {"Q6_K", "Q8_0"}}) {
    GgufExport options;
    options.type = type;
    write_gguf(Checkpoint(source), scratch.path("m.gguf"), options);
    EXPECT_EQ(options.summary.rounded, 14) << type;
    EXPECT_GT(options.summary.worst_error, 1e-4) << type;
    EXPECT_LT(options.summary.worst_error, 0.15) << type;
    EXPECT_EQ(Checkpoint(scratch.path("m.gguf")).layout(), std::string("gguf, llama: 14 ") + written);
  }
}

TEST(GgufModel, RefusesWhatItCannotWrite) {
  const test::ScratchDirectory scratch;
  GgufExport options;
  options.type = "Q3_K";
  const std::string source = write_model(scratch.path("m"), small_config("llama", 64), 0, true);
  EXPECT_THROW(write_gguf(Checkpoint(source), scratch.path("m.gguf"), options), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("m.gguf")));
  Json config = read_json_file(scratch.path("m/config.json"));
  config["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 5e5},
                               {"factor", 8.0},           {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 32}};
  test::write_text(scratch.path("m/config.json"), config.dump());
  options.type = "auto";
  EXPECT_THROW(write_gguf(Checkpoint(source), scratch.path("m.gguf"), options), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("m.gguf")));
  test::write_text(scratch.path("cut.gguf"), "GGUF");
  EXPECT_THROW(Checkpoint(scratch.path("cut.gguf")), Error);
}

}  // namespace
}  // namespace ockham
