// Training configurations: reading, range checks, and the learning-rate schedule.
#include "ockham/train/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/yaml.h"
#include "ockham/train/vocabulary.h"

namespace ockham {
namespace {

// The section, or an empty one; null counts as empty.
YamlNode section(const YamlNode& root, const std::string& key, const std::vector<std::string>& known) {
  const YamlNode* found = root.find(key);
  if (!found || found->is_null()) return YamlNode::parse("{}", root.where() + ", " + key);
  if (!found->is_map())
    throw_input("{}: key '{}' is not a section; write its keys indented below it", found->where(), key);
  found->allow_only(known);
  return *found;
}

double real_in(const YamlNode& node, const std::string& key, double fallback, double low, double high) {
  const double value = node.real_or(key, fallback);
  if (!(value >= low && value <= high)) {
    throw_input("{}: key '{}' is {}, expected a number from {} to {}", node.where(), key, value, low, high);
  }
  return value;
}

int64_t integer_in(const YamlNode& node, const std::string& key, int64_t fallback, int64_t low, int64_t high) {
  const int64_t value = node.integer_or(key, fallback);
  if (value < low || value > high) {
    throw_input("{}: key '{}' is {}, expected an integer from {} to {}", node.where(), key, value, low, high);
  }
  return value;
}

std::string choice_of(const YamlNode& node, const std::string& key, const std::string& fallback,
                      const std::vector<std::string>& choices) {
  std::string value = node.text_or(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
    throw_input("{}: key '{}' is '{}', expected one of {}", node.where(), key, value, fmt::join(choices, ", "));
  }
  return value;
}

void read_model(const YamlNode& root, TrainConfig& config) {
  root.at("model");
  const YamlNode node = section(root, "model",
                                {"hidden", "intermediate", "blocks", "heads", "kv_heads", "vocabulary", "context",
                                 "rope_theta", "norm_eps", "tied"});
  for (const char* key : {"hidden", "intermediate", "blocks", "heads", "vocabulary", "context"}) node.at(key);
  const int64_t hidden = integer_in(node, "hidden", 0, 16, 16384), heads = integer_in(node, "heads", 0, 1, 256);
  if (hidden % heads != 0 || hidden / heads % 2 != 0) {
    throw_input("{}: key 'hidden' is {} with {} heads, expected an even number of dimensions for each head",
                node.where(), hidden, heads);
  }
  const SpecialTokens special;
  Json json;
  json["architectures"] = {"LlamaForCausalLM"};
  json["model_type"] = "llama";
  json["hidden_size"] = hidden;
  json["intermediate_size"] = integer_in(node, "intermediate", 0, 16, 65536);
  json["num_hidden_layers"] = integer_in(node, "blocks", 0, 1, 256);
  json["num_attention_heads"] = heads;
  json["num_key_value_heads"] = integer_in(node, "kv_heads", heads, 1, heads);
  json["head_dim"] = hidden / heads;
  json["hidden_act"] = "silu";
  json["vocab_size"] = integer_in(node, "vocabulary", 0, 320, 262144);
  json["max_position_embeddings"] = integer_in(node, "context", 0, 16, 131072);
  json["rms_norm_eps"] = real_in(node, "norm_eps", 1e-5, 1e-12, 1e-2);
  json["rope_theta"] = real_in(node, "rope_theta", 10000, 10, 1e9);
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["tie_word_embeddings"] = node.flag_or("tied", true);
  json["torch_dtype"] = "bfloat16";
  json["bos_token_id"] = special.begin_id;
  json["eos_token_id"] = {special.stop_id, special.turn_end_id};
  config.model = ModelConfig::parse(json, node.where());
}

void read_data(const YamlNode& root, TrainConfig& config) {
  root.at("data");
  const YamlNode node =
      section(root, "data", {"world", "world_seed", "files", "heldout", "prompt_weight", "chained", "lookups"});
  const bool has_world = node.find("world") != nullptr;
  config.files = node.texts_or("files", {});
  if (has_world == !config.files.empty()) {
    throw_input("{}: expected either `world: factworld` or `files: [...]`, found {}", node.where(),
                has_world ? "both" : "neither");
  }
  if (has_world) choice_of(node, "world", "", {"factworld"});
  config.is_world = has_world;
  config.world_seed = static_cast<uint64_t>(integer_in(node, "world_seed", World::kDefaultSeed, 0, int64_t{1} << 62));
  config.heldout = node.text_or("heldout", "");
  config.prompt_weight = real_in(node, "prompt_weight", 1, 0, 1);
  config.chained = real_in(node, "chained", 0, 0, 1);
  config.lookups = real_in(node, "lookups", 1, 0, 100);
}

void read_budget(const YamlNode& root, TrainConfig& config) {
  root.at("schedule");
  const YamlNode node = section(
      root, "schedule", {"tokens", "minutes", "warmup", "decay", "decay_share", "final", "batch_tokens", "row_tokens"});
  config.tokens = integer_in(node, "tokens", 0, 0, int64_t{1} << 50);
  config.minutes = real_in(node, "minutes", 0, 0, 1e6);
  if ((config.tokens > 0) == (config.minutes > 0)) {
    throw_input("{}: expected a budget, either `tokens: N` or `minutes: N`, found {}", node.where(),
                config.tokens > 0 ? "both" : "neither");
  }
  config.warmup = integer_in(node, "warmup", config.warmup, 0, 1000000);
  config.decay = choice_of(node, "decay", config.decay, {"linear", "cosine", "wsd"});
  config.decay_share = real_in(node, "decay_share", config.decay_share, 1e-6, 1);
  config.final_rate = real_in(node, "final", config.final_rate, 0, 1);
  config.batch_tokens = integer_in(node, "batch_tokens", config.batch_tokens, 32, int64_t{1} << 26);
  config.row_tokens = integer_in(node, "row_tokens", config.row_tokens, 32, int64_t{1} << 20);
  if (config.batch_tokens % config.row_tokens != 0) {
    throw_input("{}: key 'batch_tokens' is {}, expected a multiple of row_tokens ({})", node.where(),
                config.batch_tokens, config.row_tokens);
  }
}

}  // namespace

TrainConfig parse_train_config(const std::string& text, const std::string& path) {
  const YamlNode root = YamlNode::parse(text, path);
  if (!root.is_map())
    throw_input("{}: is not a training configuration; expected the sections model, data and schedule", path);
  root.allow_only({"model", "data", "schedule", "optimizer", "precision", "engine", "seed", "start", "log"});
  TrainConfig config;
  config.path = path;
  config.text = text;
  config.sha256 = sha256_text(text);
  read_model(root, config);
  read_data(root, config);
  read_budget(root, config);
  const YamlNode optimizer =
      section(root, "optimizer", {"kind", "momentum", "rate", "beta1", "beta2", "epsilon", "weight_decay", "clip"});
  config.optimizer = choice_of(optimizer, "kind", config.optimizer, {"adamw", "muon"});
  config.momentum = real_in(optimizer, "momentum", config.momentum, 0, 0.99999);
  config.rate = real_in(optimizer, "rate", config.rate, 0, 10);
  config.beta1 = real_in(optimizer, "beta1", config.beta1, 0, 0.99999);
  config.beta2 = real_in(optimizer, "beta2", config.beta2, 0, 0.99999);
  config.epsilon = real_in(optimizer, "epsilon", config.epsilon, 1e-20, 1);
  config.weight_decay = real_in(optimizer, "weight_decay", config.weight_decay, 0, 10);
  config.clip = real_in(optimizer, "clip", config.clip, 1e-6, 1e6);
  config.precision = *dtype_from_config(choice_of(root, "precision", "bfloat16", {"bfloat16", "float32"}));
  config.engine = choice_of(root, "engine", config.engine, {"auto", "fused", "autograd"});
  config.seed = static_cast<uint64_t>(integer_in(root, "seed", 0, 0, int64_t{1} << 62));
  config.start = root.text_or("start", "");
  const YamlNode log = section(root, "log", {"seconds", "evaluate_seconds", "checkpoint_seconds"});
  config.log_seconds = real_in(log, "seconds", config.log_seconds, 0, 1e9);
  config.evaluate_seconds = real_in(log, "evaluate_seconds", config.evaluate_seconds, 0, 1e9);
  config.checkpoint_seconds = real_in(log, "checkpoint_seconds", config.checkpoint_seconds, 0, 1e9);
  return config;
}

std::string with_seed(const std::string& text, uint64_t seed) {
  const std::string line = fmt::format("seed: {}\n", seed);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    if (text.compare(begin, 5, "seed:") == 0) return text.substr(0, begin) + line + text.substr(end);
    begin = end;
  }
  return text + (text.ends_with("\n") ? "" : "\n") + line;
}

TrainConfig read_train_config(const std::string& path, std::optional<uint64_t> seed) {
  const std::string text = read_text_file(path);
  if (!seed) return parse_train_config(text, path);
  parse_train_config(text, path);  // a file that is wrong is reported at its own lines
  TrainConfig config = parse_train_config(with_seed(text, *seed), path);
  config.given_seed = seed;
  return config;
}

double learning_rate(const TrainConfig& config, int64_t step, double progress) {
  progress = std::clamp(progress, 0.0, 1.0);
  double share = 1;  // of the way from final_rate to 1
  if (config.decay == "linear") share = 1 - progress;
  if (config.decay == "cosine") share = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  if (config.decay == "wsd") share = std::min(1.0, (1 - progress) / config.decay_share);
  const double warm =
      config.warmup > 0 ? std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(config.warmup)) : 1;
  return config.rate * warm * (config.final_rate + (1 - config.final_rate) * share);
}

}  // namespace ockham
