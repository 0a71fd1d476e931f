// Models through GGUF files: names, settings, row order and codes come back as they were.
#include "ockham/model/gguf_model.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/io/families/gguf_settings.h"
#include "ockham/io/json.h"
#include "ockham/model/families.h"
#include "ockham/model/interchange_writer.h"
#include "tests/model/family_fixture.h"

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

// Random weights everywhere, norms and biases included.
std::unique_ptr<Decoder> shaken_decoder(const ModelConfig& config) {
  const at::NoGradGuard no_grad;
  auto decoder = Decoder::random(config, 5, DType::kF32);
  at::manual_seed(11);
  const auto shake = [](Tensor* tensor) { tensor->add_(at::randn_like(*tensor), 0.3); };
  for (Tensor* tensor : decoder->tensors()) shake(tensor);
  for (Block& block : decoder->blocks) {
    for (Tensor* tensor : block.tensors()) shake(tensor);
    for (Linear& linear : block.linears) {
      shake(&std::get<DenseWeight>(linear.weight).values);
      if (linear.bias.defined()) shake(&linear.bias);
    }
  }
  return decoder;
}

// What llama.cpp has no setting for gets the value that it assumes.
Json gguf_config(const std::string& name) {
  Json config = read_json_file(test::golden_path(name))["config"];
  if (name == "gemma2" || name == "gemma3") config["query_pre_attn_scalar"] = config["head_dim"];
  if (name == "qwen2_moe") config["mlp_only_layers"] = Json::array();
  return config;
}

class GgufFamily : public testing::TestWithParam<std::string> {
 protected:
  const at::NoGradGuard no_grad_;
  test::ScratchDirectory scratch_;
};

TEST_P(GgufFamily, ComesBackBitForBit) {
  const ModelConfig config = ModelConfig::parse(gguf_config(GetParam()), "golden");
  const auto decoder = shaken_decoder(config);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const std::string name = scratch_.path(std::string(dtype_config_name(dtype)));
    std::filesystem::create_directories(name);
    save_decoder(*decoder, name, dtype, "");
    const Checkpoint source(name);
    GgufExport options;
    options.type = "auto";
    const std::string path = name + ".gguf";
    if (config.family == "opt" || config.rope.type == "dynamic") {
      EXPECT_THROW(write_gguf(source, path, options), Error);
      EXPECT_FALSE(std::filesystem::exists(path));
      continue;
    }
    write_gguf(source, path, options);
    const Checkpoint back(path);
    EXPECT_TRUE(back.unused_tensors().empty());
    EXPECT_EQ(back.config().family, config.family);
    EXPECT_EQ(back.config().dtype, dtype);
    EXPECT_EQ(options.summary.rounded, 0);
    const auto left = source.read_all(DType::kF32), right = back.read_all(DType::kF32);
    for (size_t i = 0; i < left->blocks.size(); ++i) {
      Block &ours = left->blocks[i], &theirs = right->blocks[i];
      const auto tensors = ours.tensors(), again = theirs.tensors();
      ASSERT_EQ(tensors.size(), again.size());
      for (size_t j = 0; j < tensors.size(); ++j) {
        // 1 + w is rounded in float32; what is computed from it is the same.
        EXPECT_TRUE(at::allclose(*tensors[j], *again[j], 0, config.norm_offset == 0 ? 0 : 1e-6)) << i << " " << j;
      }
      ASSERT_EQ(ours.linears.size(), theirs.linears.size());
      for (size_t j = 0; j < ours.linears.size(); ++j) {
        const Linear &one = ours.linears[j], &other = theirs.linears[j];
        EXPECT_EQ(one.name, other.name);
        EXPECT_TRUE(at::equal(weight_to_dense(one.weight, at::kFloat), weight_to_dense(other.weight, at::kFloat)))
            << one.name;
        ASSERT_EQ(one.bias.defined(), other.bias.defined()) << one.name;
        if (one.bias.defined()) {
          EXPECT_TRUE(at::equal(one.bias, other.bias)) << one.name;
        }
      }
    }
    const Tensor ids = (at::arange(24, at::kLong) * 7 + 3).remainder(32).unsqueeze(0);
    const Tensor gap = left->logits(left->forward(ids)) - right->logits(right->forward(ids));
    // The factor of longrope is stored as F32.
    EXPECT_LE(gap.abs().max().item<double>(), config.rope.type == "longrope" ? 1e-4 : 0);
    // And from the file to a directory, as `ockham convert` does.
    test::ScratchDirectory out;
    save_decoder(*right, out.path(), dtype, "");
    const auto third = Checkpoint(out.path()).read_all(DType::kF32);
    EXPECT_TRUE(at::equal(third->logits(third->forward(ids)), right->logits(right->forward(ids))));
  }
}

TEST_P(GgufFamily, CodesOfASharedTensorAreKept) {
  Json json = gguf_config(GetParam());
  // Rows of whole blocks of 32.
  const Family& family = *find_family(json["model_type"].get<std::string>());
  for (const char* key : {"hidden_size", "intermediate_size", "moe_intermediate_size",
                          "shared_expert_intermediate_size", "word_embed_proj_dim"}) {
    const std::string theirs = config_key(family, key);
    if (json.contains(theirs) && !json[theirs].is_null()) json[theirs] = std::string(key) == "hidden_size" ? 32 : 64;
  }
  if (json.contains("head_dim") && json["head_dim"] == 4) json["head_dim"] = 8;
  const ModelConfig parsed = ModelConfig::parse(gguf_config(GetParam()), "golden");
  if (parsed.family == "opt" || parsed.rope.type == "dynamic") GTEST_SKIP() << "not written to GGUF";
  if (json.contains("query_pre_attn_scalar")) json["query_pre_attn_scalar"] = json["head_dim"];
  if (parsed.rope.type == "longrope")
    for (const char* key : {"short_factor", "long_factor"}) json["rope_parameters"][key] = {1.0, 1.25, 1.5, 2.0};
  const ModelConfig config = ModelConfig::parse(json, "golden");
  const auto decoder = shaken_decoder(config);
  CheckpointWriter writer(scratch_.path(), config, {.is_packed = true});
  write_frame(writer, *decoder, DType::kF32);
  for (Block& block : decoder->blocks) {
    for (Linear& linear : block.linears) {
      GroupIntWeight weight = round_to_grid(weight_to_dense(linear.weight, at::kFloat), 4, 32, true);
      weight.scales = weight.scales.to(at::kHalf);
      linear.weight = weight;
    }
    write_block(writer, block, block.index, DType::kF32);
  }
  writer.finish("");
  GgufExport options;
  options.type = "auto";
  const Checkpoint source(scratch_.path());
  write_gguf(source, scratch_.path("m.gguf"), options);
  EXPECT_EQ(options.summary.rounded + options.summary.rescaled, 0);
  const Checkpoint back(scratch_.path("m.gguf"));
  EXPECT_TRUE(back.layout().ends_with(" Q4_0")) << back.layout();
  const auto again = back.read_all(DType::kF32), left = source.read_all(DType::kF32);
  for (size_t i = 0; i < left->blocks.size(); ++i) {
    for (size_t j = 0; j < left->blocks[i].linears.size(); ++j) {
      const Weight &one = left->blocks[i].linears[j].weight, &other = again->blocks[i].linears[j].weight;
      EXPECT_EQ(weight_format(other), "group-int");
      EXPECT_TRUE(at::equal(weight_to_dense(one, at::kFloat), weight_to_dense(other, at::kFloat)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GgufFamily, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

ModelConfig rope_config(const Json& rope) {
  Json config = test::tiny_config(1).to_json();
  config["hidden_size"] = 128;
  config["num_attention_heads"] = config["num_key_value_heads"] = 1;
  config["head_dim"] = 128;
  config["rope_parameters"] = rope;
  return ModelConfig::parse(config, "test");
}

// The file has divisors only; what they come from is found again.
TEST(GgufModel, Llama3ScalingIsReadOffItsDivisors) {
  const test::ScratchDirectory scratch;
  const struct {
    double factor, low, high, theta;
    int64_t original;
  } cases[] = {{8, 1, 4, 5e5, 8192}, {32, 1, 4, 5e5, 8192}, {4, 1, 4, 1e6, 4096}, {16, 1, 8, 1e5, 2048}};
  for (const auto& row : cases) {
    const ModelConfig config = rope_config({{"rope_type", "llama3"},
                                            {"rope_theta", row.theta},
                                            {"factor", row.factor},
                                            {"low_freq_factor", row.low},
                                            {"high_freq_factor", row.high},
                                            {"original_max_position_embeddings", row.original}});
    const std::string source = write_model(scratch.path("m"), config, 0, true);
    GgufExport options;
    options.type = "auto";
    write_gguf(Checkpoint(source), scratch.path("m.gguf"), options);
    const RopeConfig rope = Checkpoint(scratch.path("m.gguf")).config().rope;
    EXPECT_EQ(rope.type, "llama3");
    EXPECT_EQ(rope.factor, row.factor);
    EXPECT_EQ(rope.low_freq_factor, row.low);
    EXPECT_EQ(rope.high_freq_factor, row.high);
    EXPECT_EQ(rope.original_max_position_embeddings, row.original);
    EXPECT_EQ(difference(source, scratch.path("m.gguf")), 0);
    std::filesystem::remove_all(scratch.path("m"));
  }
}

TEST(GgufModel, OtherDivisorsBecomeOneTable) {
  GgufFacts facts;
  facts.vocabulary = 32;
  facts.rope_tensors["rope_freqs.weight"] = {1, 3, 2, 5};
  const Json keys = {{"general.architecture", "llama"}, {"llama.embedding_length", 16},    {"llama.block_count", 2},
                     {"llama.feed_forward_length", 24}, {"llama.attention.head_count", 2}, {"llama.context_length", 64},
                     {"llama.rope.freq_base", 1000.0}};
  const ModelConfig config = ModelConfig::parse(config_from_gguf(keys, facts, "test"), "test");
  EXPECT_EQ(config.rope.type, "longrope");
  const std::vector<double> scaled = rope_frequencies(config.rope, 8, 10);
  RopeConfig plain;
  plain.theta = 1000;
  const std::vector<double> frequencies = rope_frequencies(plain, 8);
  const double divisors[] = {1, 3, 2, 5};
  for (size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(scaled[i], frequencies[i] / divisors[i]);
  EXPECT_EQ(config.rope.attention_factor, 1);
  facts.rope_tensors["rope_freqs.weight"] = {1, 3, 2};
  EXPECT_THROW(config_from_gguf(keys, facts, "test"), Error);
}

// What llama.cpp would compute differently is refused by name.
TEST(GgufModel, RefusesWhatLlamaCppComputesDifferently) {
  const struct {
    const char *family, *key;
    Json value;
    const char* message;
  } cases[] = {{"gemma2", "query_pre_attn_scalar", 12, "query_pre_attn_scalar"},
               {"gemma2", "attn_logit_softcapping", nullptr, "soft caps"},
               {"gemma3", "layer_types", {"full_attention", "sliding_attention", "full_attention"}, "layer_types"},
               {"gpt2", "scale_attn_weights", false, "scale_attn_weights"},
               {"qwen2_moe", "mlp_only_layers", {1}, "mlp_only_layers"},
               {"qwen2_moe", "norm_topk_prob", true, "norm_topk_prob"},
               {"qwen3_moe", "norm_topk_prob", false, "norm_topk_prob"},
               {"qwen2", "head_dim", 8, "together"},
               {"gpt_neox", "hidden_act", "relu", "hidden_act"},
               {"opt", "activation_function", "relu", "no architecture"},
               {"phi3", "hidden_act", "gelu", "hidden_act"}};
  for (const auto& row : cases) {
    Json config = gguf_config(row.family);
    config[row.key] = row.value;
    try {
      gguf_keys(ModelConfig::parse(config, "test"), "model");
      ADD_FAILURE() << row.family << " " << row.key;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(row.message), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("write safetensors"), std::string::npos) << error.what();
    }
  }
}

// Files of other writers, by their tensors: keys that are missing or wrong are named.
TEST(GgufModel, DamagedFilesAreRefused) {
  const test::ScratchDirectory scratch;
  const auto write = [&](const Json& keys, const std::vector<GgufTensor>& tensors) {
    GgufWriter writer(scratch.path("m.gguf"), keys, tensors);
    for (const GgufTensor& tensor : tensors) {
      const std::vector<float> values(static_cast<size_t>(tensor.elements()));
      writer.append(tensor.name, {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
    }
    writer.finish();
  };
  const Json keys = {{"general.architecture", "llama"}, {"llama.embedding_length", 16},
                     {"llama.block_count", 2},          {"llama.feed_forward_length", 24},
                     {"llama.attention.head_count", 2}, {"llama.context_length", 64}};
  const std::vector<GgufTensor> tensors = {{"token_embd.weight", GgufType::kF32, {32, 16}, 0, 0},
                                           {"output_norm.weight", GgufType::kF32, {16}, 0, 0}};
  const struct {
    const char* key;
    Json value;
    const char* message;
  } cases[] = {{"general.architecture", "rwkv", "general.architecture"},
               {"llama.attention.head_count", 0, "head_count"},
               {"llama.block_count", 2, "blk.0.attn_norm.weight"},
               {"llama.block_count", -1, "block_count"},
               {"llama.block_count", int64_t{1} << 30, "num_hidden_layers"},
               {"llama.embedding_length", 32, "token_embd.weight"},
               {"llama.rope.dimension_count", 7, "dimension_count"},
               {"llama.rope.scaling.type", "spiral", "scaling.type"},
               {"llama.rope.scaling.type", "longrope", "rope_factors_long"},
               {"llama.expert_count", 4, "expert_used_count"}};
  for (const auto& row : cases) {
    Json changed = keys;
    changed[row.key] = row.value;
    write(changed, tensors);
    try {
      Checkpoint model(scratch.path("m.gguf"));
      ADD_FAILURE() << row.key;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(row.message), std::string::npos) << error.what();
    }
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
  config["rope_parameters"] = {{"rope_type", "dynamic"}, {"rope_theta", 5e5}, {"factor", 8.0}};
  test::write_text(scratch.path("m/config.json"), config.dump());
  options.type = "auto";
  EXPECT_THROW(write_gguf(Checkpoint(source), scratch.path("m.gguf"), options), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch.path("m.gguf")));
  test::write_text(scratch.path("cut.gguf"), "GGUF");
  EXPECT_THROW(Checkpoint(scratch.path("cut.gguf")), Error);
}

}  // namespace
}  // namespace ockham
