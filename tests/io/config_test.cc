// config.json in both spellings, rotary frequencies, and everything that is refused.
#include "ockham/io/families/config.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

Json valid() {
  return {{"model_type", "llama"},    {"hidden_size", 64},
          {"intermediate_size", 172}, {"num_hidden_layers", 5},
          {"num_attention_heads", 8}, {"num_key_value_heads", 4},
          {"vocab_size", 512},        {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-5},     {"torch_dtype", "bfloat16"}};
}

TEST(Config, DefaultsFollowTheReference) {
  Json json = valid();
  json.erase("num_key_value_heads");
  json["head_dim"] = nullptr;
  const ModelConfig config = ModelConfig::parse(json, "config.json");
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.dtype, DType::kBF16);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.rope.theta, 10000);
}

TEST(Config, BothSpellingsOfTheRotarySettings) {
  Json old_style = valid(), new_style = valid();
  old_style["rope_theta"] = 5e5;
  old_style["rope_scaling"] = {{"type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 8192}};
  new_style["dtype"] = "float16";
  new_style["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 5e5},
                                  {"factor", 8.0},           {"low_freq_factor", 1.0},
                                  {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  for (const Json& json : {old_style, new_style}) {
    const ModelConfig config = ModelConfig::parse(json, "config.json");
    const auto frequencies = rope_frequencies(config.rope, config.head_dim);
    const double expected[] = {1, 0.037606031, 0.00052484602, 6.6478697e-06};
    ASSERT_EQ(frequencies.size(), 4U);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(frequencies[i], expected[i], expected[i] * 1e-6);
  }
  EXPECT_EQ(ModelConfig::parse(new_style, "x").dtype, DType::kF16);
}

TEST(Config, RotaryFrequencies) {
  RopeConfig rope;
  rope.theta = 5e5;
  EXPECT_NEAR(rope_frequencies(rope, 8)[3], 5.3182959e-05, 1e-11);
  rope = {};
  rope.type = "linear";
  rope.factor = 4;
  const auto frequencies = rope_frequencies(rope, 8);
  EXPECT_NEAR(frequencies[0], 0.25, 1e-12);
  EXPECT_NEAR(frequencies[3], 0.00025, 1e-12);
}

TEST(Config, WritingAndReadingAgain) {
  const ModelConfig config = ModelConfig::parse(valid(), "config.json");
  ModelConfig bare = config;
  bare.raw = Json();
  const ModelConfig again = ModelConfig::parse(bare.to_json(), "again");
  EXPECT_EQ(again.hidden_size, 64);
  EXPECT_EQ(again.kv_heads, 4);
  EXPECT_EQ(again.norm_eps, 1e-5);
  EXPECT_EQ(again.dtype, DType::kBF16);
  EXPECT_EQ(bare.to_json()["architectures"][0], "LlamaForCausalLM");
}

TEST(Config, CarriesACachePolicy) {
  Json json = valid();
  json["ockham_kv_cache"] = {{"policy", "h2o"}, {"budget", 64}, {"positions", "rolling"}};
  ModelConfig config = ModelConfig::parse(json, "config.json");
  EXPECT_EQ(config.kv_cache.value().text(), "h2o,budget=64,positions=rolling");
  EXPECT_EQ(ModelConfig::parse(config.to_json(), "again").kv_cache.value().text(), config.kv_cache->text());
  config.kv_cache.reset();
  EXPECT_FALSE(config.to_json().contains("ockham_kv_cache"));
  for (const Json& bad : {Json("h2o"), Json{{"budget", 1}}, Json{{"policy", "h2o"}, {"budget", {1}}},
                          Json{{"policy", 3}}, Json{{"policy", "h2o"}, {"budget", 1e300}}}) {
    json["ockham_kv_cache"] = bad;
    EXPECT_THROW(ModelConfig::parse(json, "config.json"), Error) << bad.dump();
  }
}

TEST(Config, AFamilyWithTheSameMathematicsIsARow) {
  Json json = valid();
  json["model_type"] = "mistral";
  json["sliding_window"] = nullptr;
  EXPECT_EQ(ModelConfig::parse(json, "config.json").family, "mistral");
}

struct BadConfig {
  const char* key;
  Json value;  // discarded: the key is removed
  std::vector<std::string> expected;
};

TEST(Config, BadValuesAreRefusedWithFileKeyAndExpectation) {
  const Json removed = Json::value_t::discarded;
  const std::vector<BadConfig> table = {
      {"hidden_size", removed, {"hidden_size"}},
      {"hidden_size", "64", {"hidden_size", "string"}},
      {"hidden_size", 0, {"hidden_size", "0", "positive"}},
      {"hidden_size", int64_t{1} << 40, {"hidden_size", "1099511627776", "2147483647"}},
      {"num_hidden_layers", 1000000000, {"num_hidden_layers", "1000000000", "at most"}},
      {"model_type", removed, {"model_type"}},
      {"model_type", "mamba", {"model_type", "mamba", "llama", "qwen3_moe"}},
      {"num_key_value_heads", 3, {"num_key_value_heads", "3", "divisor"}},
      {"head_dim", 7, {"head_dim", "7", "even"}},
      {"hidden_act", "mish", {"hidden_act", "mish", "silu"}},
      {"torch_dtype", "float8_e4m3fn", {"torch_dtype", "float8_e4m3fn", "bfloat16"}},
      {"rope_scaling", Json{{"rope_type", "mrope"}}, {"rope_type", "mrope", "llama3"}},
      {"rope_scaling", Json{{"rope_type", "yarn"}, {"factor", 2.0}}, {"original_max_position_embeddings"}},
      {"rope_scaling",
       Json{{"rope_type", "longrope"}, {"original_max_position_embeddings", 64}, {"short_factor", {1.0}}},
       {"short_factor", "list of 1", "4 numbers"}},
      {"rope_scaling", Json{{"rope_type", "default"}, {"partial_rotary_factor", 0.4}}, {"share", "even"}},
      {"rope_scaling", Json{{"rope_type", "linear"}}, {"factor"}},
      {"quantization_config", Json{{"quant_method", "ockham"}, {"version", 9}}, {"version", "9", "1"}},
  };
  for (const BadConfig& bad : table) {
    Json json = valid();
    if (bad.value.is_discarded()) {
      json.erase(bad.key);
    } else {
      json[bad.key] = bad.value;
    }
    try {
      ModelConfig::parse(json, "dir/config.json");
      ADD_FAILURE() << bad.key << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(exit_code(error.kind()), 2) << error.what();
      EXPECT_NE(std::string(error.what()).find("dir/config.json"), std::string::npos) << error.what();
      for (const std::string& part : bad.expected)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(Config, SlidingBlocksFollowTheFamily) {
  const auto sliding = [](const char* family, const Json& settings) {
    Json json = valid();
    json["model_type"] = family;
    json.update(settings);
    const ModelConfig config = ModelConfig::parse(json, "config.json");
    std::string text;
    for (int64_t i = 0; i < config.blocks; ++i) text += config.window > 0 && config.is_sliding(i) ? 's' : 'f';
    return text;
  };
  EXPECT_EQ(sliding("mistral", {{"sliding_window", 8}}), "sssss");
  EXPECT_EQ(sliding("mistral", {{"sliding_window", nullptr}}), "fffff");
  EXPECT_EQ(sliding("qwen2", {{"sliding_window", 8}}), "fffff");
  EXPECT_EQ(sliding("qwen2", {{"sliding_window", 8}, {"use_sliding_window", true}, {"max_window_layers", 3}}), "fffss");
  EXPECT_EQ(sliding("gemma2", {{"sliding_window", 8}}), "sfsfs");
  EXPECT_EQ(sliding("gemma3_text", {{"sliding_window", 8}, {"sliding_window_pattern", 3}}), "ssfss");
  EXPECT_EQ(sliding("llama", {{"sliding_window", 8}}), "fffff");
  EXPECT_THROW(sliding("gemma2", {{"layer_types", {"full_attention"}}}), Error);
}

}  // namespace
}  // namespace ockham
