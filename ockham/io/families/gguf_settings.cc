// Settings to keys: llama.cpp's conversion scripts; keys to settings: its loaders.
#include "ockham/io/families/gguf_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/families/families.h"

namespace ockham {
namespace {

constexpr const char* kDivisors = "rope_freqs.weight";
constexpr const char* kLong = "rope_factors_long.weight";
constexpr const char* kShort = "rope_factors_short.weight";

int64_t rotated_dimensions(const ModelConfig& config) {
  return static_cast<int64_t>(static_cast<double>(config.head_dim) * config.rope.partial);
}

// What llama.cpp scales products of queries and keys with.
double attention_scale(const GgufArchitecture& architecture, int64_t blocks, int64_t hidden, int64_t heads,
                       int64_t head_dim) {
  const int64_t width = architecture.wide_blocks > 0 && blocks == architecture.wide_blocks ? hidden / heads : head_dim;
  return 1 / std::sqrt(static_cast<double>(width));
}

// Every n-th block sees all tokens; 0 where the blocks follow no such rule.
int64_t window_period(const ModelConfig& config) {
  int64_t period = 1;  // the first such block ends the first period
  while (period <= config.blocks && config.is_sliding(period - 1)) ++period;
  for (int64_t i = 0; i < config.blocks; ++i)
    if (config.is_sliding(i) != (i % period < period - 1)) return 0;
  return period;
}

[[noreturn]] void refuse(const std::string& where, const std::string& found, const std::string& expected) {
  throw_error(ErrorKind::kUnsupported, "{}: {}, llama.cpp computes {}; write safetensors", where, found, expected);
}

void check_rope(const GgufArchitecture& architecture, const ModelConfig& config, const std::string& where) {
  const RopeConfig& rope = config.rope;
  const auto& known = architecture.rope_types;
  if (std::find(known.begin(), known.end(), rope.type) == known.end())
    refuse(where, fmt::format("rope_type is '{}'", rope.type),
           fmt::format("{} for architecture {}", fmt::join(known, ", "), architecture.name));
  if (architecture.rotates_whole_heads && rope.partial != 1)
    refuse(where, fmt::format("partial_rotary_factor is {}", rope.partial),
           fmt::format("1 for architecture {}", architecture.name));
  const double usual = rope.factor <= 1 ? 1 : 0.1 * std::log(rope.factor) + 1;
  if (rope.type == "yarn" && std::abs(rope.attention_factor - usual) > 1e-9)
    refuse(where, fmt::format("attention_factor of yarn is {}", rope.attention_factor), fmt::format("{}", usual));
  if (rope.type == "yarn" && !rope.truncates) refuse(where, "truncate of yarn is false", "true");
  if (config.has_local_rope && (config.local_rope.type != "default" || config.local_rope.partial != 1))
    refuse(where, fmt::format("rope_type of local blocks is '{}'", config.local_rope.type), "default");
}

void check_mixture(const ModelConfig& config, const std::string& where) {
  if (config.experts == 0) return;
  if (std::find(config.mixtures.begin(), config.mixtures.end(), false) != config.mixtures.end())
    refuse(where, "some blocks have no experts (mlp_only_layers, decoder_sparse_step)", "a mixture in every block");
  const bool is_normalized = config.family != "qwen2_moe";
  if (config.is_routing_normalized != is_normalized)
    refuse(where, fmt::format("norm_topk_prob is {}", config.is_routing_normalized), fmt::format("{}", is_normalized));
}

void check_attention(const GgufArchitecture& architecture, const ModelConfig& config, const std::string& where) {
  const int64_t width = config.heads * config.head_dim;
  if (architecture.is_square && width != config.hidden_size)
    refuse(where, fmt::format("heads have {} dimensions together and the hidden state {}", width, config.hidden_size),
           fmt::format("equal sizes for architecture {}", architecture.name));
  const double scale =
      config.attention_scale > 0 ? config.attention_scale : 1 / std::sqrt(static_cast<double>(config.head_dim));
  const double usual = attention_scale(architecture, config.blocks, config.hidden_size, config.heads, config.head_dim);
  if (std::abs(scale - usual) > 1e-9 * usual)
    refuse(where, fmt::format("attention is scaled by {} (query_pre_attn_scalar, scale_attn_weights)", scale),
           fmt::format("{}", usual));
  const bool is_capped = config.family == "gemma2";
  if ((config.attention_softcap > 0) != is_capped || (is_capped && config.logit_softcap <= 0))
    refuse(where,
           fmt::format("soft caps are {} (attention) and {} (logits), 0 for none", config.attention_softcap,
                       config.logit_softcap),
           is_capped ? "both" : "none of attention");
}

void check_model(const GgufArchitecture& architecture, const ModelConfig& config, const std::string& where) {
  const Family& family = *find_family(config.family);
  if (config.has_rope) check_rope(architecture, config, where);
  check_mixture(config, where);
  check_attention(architecture, config, where);
  const std::string key = config_key(family, "hidden_act");
  const std::string act = json_text(config.raw, key, where, std::string(family.default_activation));
  // The two approximations of GELU by tanh are one function.
  const bool is_tanh = family.default_activation == "gelu_new" && config.activation == Activation::kGeluTanh;
  const bool is_silu = family.default_activation == "silu" && config.activation == Activation::kSilu;
  if (act != family.default_activation && !is_tanh && !is_silu)
    refuse(where, fmt::format("{} is '{}'", key, act), fmt::format("{}", family.default_activation));
  if (architecture.is_always_tied && !config.tied_embeddings)
    refuse(where, "tie_word_embeddings is false", fmt::format("true for architecture {}", architecture.name));
}

void put_window(const GgufArchitecture& architecture, const ModelConfig& config, const std::string& where,
                const std::string& prefix, Json& keys) {
  const bool has_window =
      config.window > 0 && std::find(config.sliding.begin(), config.sliding.end(), true) != config.sliding.end();
  const std::string window = prefix + "attention.sliding_window", pattern = window + "_pattern";
  if (architecture.window_period == 0) {
    if (!has_window) return;
    log_warning(
        fmt::format("{}: blocks see the last {} tokens; llama.cpp computes no sliding window for architecture "
                    "{}, so longer texts come out differently there",
                    where, config.window, architecture.name));
    keys[window] = config.window;
    if (std::find(config.sliding.begin(), config.sliding.end(), false) != config.sliding.end())
      keys[pattern] = config.sliding;
    return;
  }
  // Without a key some architectures have a window of their own.
  keys[window] = has_window ? config.window : config.context_length;
  if (!has_window) return;
  const int64_t period = window_period(config);
  if (period == 0) refuse(where, "layer_types follow no period", "a full block after every n - 1 sliding ones");
  keys[pattern] = period;
}

void put_rope(const ModelConfig& config, const std::string& prefix, Json& keys) {
  const RopeConfig& rope = config.rope;
  keys[prefix + "rope.dimension_count"] = rotated_dimensions(config);
  keys[prefix + "rope.freq_base"] = rope.theta;
  if (config.has_local_rope) keys[prefix + "rope.freq_base_swa"] = config.local_rope.theta;
  const std::string scaling = prefix + "rope.scaling.";
  if (rope.type == "linear" || rope.type == "yarn") {
    keys[scaling + "type"] = rope.type;
    keys[scaling + "factor"] = rope.factor;
  }
  if (rope.type == "yarn") {
    keys[scaling + "original_context_length"] = rope.original_max_position_embeddings;
    keys[scaling + "yarn_beta_fast"] = rope.beta_fast;
    keys[scaling + "yarn_beta_slow"] = rope.beta_slow;
  }
  if (rope.type == "longrope") {
    keys[scaling + "type"] = rope.type;
    keys[scaling + "original_context_length"] = rope.original_max_position_embeddings;
    keys[scaling + "attn_factor"] = rope.attention_factor;
  }
}

// Reading.

class Reader {
 public:
  Reader(const Json& keys, const GgufFacts& facts, const std::string& where)
      : keys_(keys), facts_(facts), where_(where), name_(json_text(keys, "general.architecture", where)) {
    std::vector<std::string_view> known;
    for (const GgufArchitecture& entry : gguf_architectures()) {
      if (entry.name == name_ && architecture_ == nullptr) architecture_ = &entry;
      if (known.empty() || known.back() != entry.name) known.push_back(entry.name);
    }
    if (architecture_ == nullptr) {
      throw_error(ErrorKind::kUnsupported,
                  "{}: key 'general.architecture' is '{}', expected one of {}; take the safetensors release", where,
                  name_, fmt::join(known, ", "));
    }
    // One architecture stands for three families.
    if (name_ == "llama" && integer("expert_count", 0) > 0) {
      architecture_ = find_gguf_architecture("mixtral");
    } else if (name_ == "llama" && integer("attention.sliding_window", 0) > 0) {
      architecture_ = find_gguf_architecture("mistral");
    }
    family_ = find_family(architecture_->model_type);
  }

  Json read() {
    Json config = {{"architectures", {std::string(family_->architecture)}},
                   {"model_type", std::string(family_->model_type)}};
    hidden_ = positive("embedding_length");
    heads_ = positive("attention.head_count");
    blocks_ = positive("block_count");
    head_dim_ = integer("attention.key_length", hidden_ / heads_);
    if (head_dim_ < 1)
      throw_input("{}: key '{}.attention.key_length' is {}, expected a positive number", where_, name_, head_dim_);
    const auto put = [&](const char* key, const Json& value) {
      const auto& foreign = family_->foreign;
      if (std::find(foreign.begin(), foreign.end(), key) == foreign.end()) config[config_key(*family_, key)] = value;
    };
    put("hidden_size", hidden_);
    put("intermediate_size", integer("feed_forward_length"));
    put("num_hidden_layers", blocks_);
    put("num_attention_heads", heads_);
    put("num_key_value_heads", integer("attention.head_count_kv", heads_));
    put("head_dim", head_dim_);
    put("max_position_embeddings", integer("context_length"));
    const char* eps = family_->is_layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    put("rms_norm_eps", real(eps, family_->default_eps));
    put("hidden_act", std::string(family_->default_activation));
    put("vocab_size", facts_.vocabulary);
    put("attention_bias", facts_.has_attention_bias);
    put("mlp_bias", facts_.has_mlp_bias);
    config["tie_word_embeddings"] = !facts_.has_head || architecture_->is_always_tied;
    read_family(config);
    if (family_->has_rope) read_rope(config);
    read_window(config);
    for (const char* key : {"bos_token_id", "eos_token_id"}) {
      const auto found = keys_.find(std::string("tokenizer.ggml.") + key);
      if (found != keys_.end() && found->is_number_integer()) config[key] = *found;
    }
    return config;
  }

 private:
  int64_t integer(const std::string& key) const { return json_integer(keys_, name_ + "." + key, where_); }
  int64_t integer(const std::string& key, int64_t fallback) const {
    return json_integer(keys_, name_ + "." + key, where_, fallback);
  }
  double real(const std::string& key, double fallback) const {
    return json_real(keys_, name_ + "." + key, where_, fallback);
  }
  int64_t positive(const std::string& key) const {
    const int64_t value = integer(key);
    if (value < 1 || value > std::numeric_limits<int32_t>::max())
      throw_input("{}: key '{}.{}' is {}, expected a positive number of 31 bits", where_, name_, key, value);
    return value;
  }

  void read_family(Json& config) const {
    const std::string type(family_->model_type);
    if (type == "gemma2" || type == "gemma3_text") {
      const double scale = attention_scale(*architecture_, blocks_, hidden_, heads_, head_dim_);
      config["query_pre_attn_scalar"] = std::llround(1 / (scale * scale));
      if (type == "gemma2") config["attn_logit_softcapping"] = real("attn_logit_softcapping", 50);
      const double cap = real("final_logit_softcapping", type == "gemma2" ? 30 : 0);
      config["final_logit_softcapping"] = cap > 0 ? Json(cap) : Json();
    }
    if (type == "gpt_neox")
      config["use_parallel_residual"] = json_flag(keys_, name_ + ".use_parallel_residual", where_, true);
    if (family_->router.empty()) return;
    const bool is_mixtral = type == "mixtral";
    config[is_mixtral ? "num_local_experts" : "num_experts"] = positive("expert_count");
    config["num_experts_per_tok"] = positive("expert_used_count");
    if (is_mixtral) return;
    config["norm_topk_prob"] = type == "qwen3_moe";
    const int64_t inner = integer("feed_forward_length");
    config["moe_intermediate_size"] =
        integer("expert_feed_forward_length", inner / std::max(integer("expert_used_count"), int64_t{1}));
    if (!family_->shared_expert.empty())
      config["shared_expert_intermediate_size"] = integer("expert_shared_feed_forward_length", inner);
  }

  const std::vector<float>* rope_tensor(const char* name) const {
    const auto found = facts_.rope_tensors.find(name);
    return found == facts_.rope_tensors.end() ? nullptr : &found->second;
  }

  void read_rope(Json& config) const {
    const double theta = real("rope.freq_base", 10000);
    Json rope = {{"rope_type", "default"}, {"rope_theta", theta}};
    const std::string scaling = json_text(keys_, name_ + ".rope.scaling.type", where_, "none");
    const int64_t rotated = integer("rope.dimension_count", head_dim_);
    if (rotated < 2 || rotated > head_dim_ || rotated % 2 != 0)
      throw_input("{}: key '{}.rope.dimension_count' is {}, expected an even number up to {}", where_, name_, rotated,
                  head_dim_);
    if (scaling == "linear" || scaling == "yarn") {
      rope["rope_type"] = scaling;
      rope["factor"] = real("rope.scaling.factor", 1);
    } else if (scaling != "none" && scaling != "longrope") {
      throw_error(ErrorKind::kUnsupported,
                  "{}: key '{}.rope.scaling.type' is '{}', expected none, linear, yarn or longrope", where_, name_,
                  scaling);
    }
    if (scaling == "yarn") {
      rope["original_max_position_embeddings"] = integer("rope.scaling.original_context_length");
      rope["beta_fast"] = real("rope.scaling.yarn_beta_fast", 32);
      rope["beta_slow"] = real("rope.scaling.yarn_beta_slow", 1);
      if (keys_.contains(name_ + ".rope.scaling.yarn_attn_factor"))
        rope["attention_factor"] = real("rope.scaling.yarn_attn_factor", 1);
    }
    const auto *longer = rope_tensor(kLong), *shorter = rope_tensor(kShort);
    if (longer != nullptr && shorter != nullptr) {
      rope["rope_type"] = "longrope";
      rope["long_factor"] = *longer;
      rope["short_factor"] = *shorter;
      rope["original_max_position_embeddings"] =
          integer("rope.scaling.original_context_length", integer("context_length"));
      rope["attention_factor"] = real("rope.scaling.attn_factor", 1);
    } else if (scaling == "longrope") {
      throw_input("{}: tensors '{}' and '{}' are missing, expected for rope scaling longrope", where_, kLong, kShort);
    }
    if (const auto* divisors = rope_tensor(kDivisors)) read_divisors(*divisors, theta, rotated, rope);
    if (rotated != head_dim_) {
      // The share that gives this number again, whichever way the quotient was rounded.
      double share = static_cast<double>(rotated) / static_cast<double>(head_dim_);
      if (static_cast<int64_t>(static_cast<double>(head_dim_) * share) < rotated) share = std::nextafter(share, 1.0);
      rope["partial_rotary_factor"] = share;
      config[family_->model_type == "gpt_neox" ? "rotary_pct" : "partial_rotary_factor"] = share;
    } else if (family_->default_partial != 1) {
      rope["partial_rotary_factor"] = 1.0;
      config[family_->model_type == "gpt_neox" ? "rotary_pct" : "partial_rotary_factor"] = 1.0;
    }
    config[family_->model_type == "gpt_neox" ? "rotary_emb_base" : "rope_theta"] = theta;
    if (family_->model_type == "phi3" && rope.contains("original_max_position_embeddings"))
      config["original_max_position_embeddings"] = rope["original_max_position_embeddings"];
    if (!family_->has_local_rope) {
      config["rope_parameters"] = rope;
      return;
    }
    const double local = real("rope.freq_base_swa", 10000);
    config["rope_local_base_freq"] = local;
    config["rope_parameters"] = {{"full_attention", rope},
                                 {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", local}}}};
  }

  // A file with divisors of the frequencies does not say what they come from. Llama 3 divides slow waves by `factor`,
  // fast ones by 1, and those between by 1 / ((1 - s) / factor + s), s rising from 0 to 1 with the turns over the
  // original context, from low_freq_factor to high_freq_factor. Whoever fits no such line is longrope with one table.
  void read_divisors(const std::vector<float>& divisors, double theta, int64_t rotated, Json& rope) const {
    if (static_cast<int64_t>(divisors.size()) != rotated / 2)
      throw_input("{}: tensor '{}' has {} elements, expected {}", where_, kDivisors, divisors.size(), rotated / 2);
    double factor = 1;
    for (const float divisor : divisors) {
      if (!(divisor > 0) || !std::isfinite(divisor))
        throw_input("{}: tensor '{}' holds {}, expected positive numbers", where_, kDivisors, divisor);
      factor = std::fmax(factor, divisor);
    }
    if (factor == 1) return;
    RopeConfig plain;
    plain.theta = theta;
    const std::vector<double> frequencies = rope_frequencies(plain, rotated);
    const auto fits = [&](double original, double low, double high) {
      if (!(original >= 1) || original > 1e9 || !(low > 0) || !(high > low)) return false;
      RopeConfig candidate = plain;
      candidate.type = "llama3";
      candidate.factor = factor;
      candidate.low_freq_factor = low;
      candidate.high_freq_factor = high;
      candidate.original_max_position_embeddings = static_cast<int64_t>(original);
      const std::vector<double> scaled = rope_frequencies(candidate, rotated);
      for (size_t i = 0; i < divisors.size(); ++i)
        if (std::abs(frequencies[i] / scaled[i] / divisors[i] - 1) > 1e-5) return false;
      rope["rope_type"] = "llama3";
      rope["factor"] = factor;
      rope["low_freq_factor"] = low;
      rope["high_freq_factor"] = high;
      rope["original_max_position_embeddings"] = static_cast<int64_t>(original);
      return true;
    };
    for (const double original : {8192.0, static_cast<double>(integer("context_length")) / factor})
      if (fits(original, 1, 4)) return;
    // Two points of the line: turns per token of the original context against s.
    std::vector<std::pair<double, double>> points;
    for (size_t i = 0; i < divisors.size(); ++i) {
      const double share = (factor / divisors[i] - 1) / (factor - 1);
      if (share > 0.001 && share < 0.999) points.emplace_back(share, frequencies[i] / (2 * std::numbers::pi));
    }
    if (points.size() >= 2) {
      const auto [s1, t1] = points.front();
      const auto [s2, t2] = points.back();
      const double slope = (t2 - t1) / (s2 - s1), start = t1 - slope * s1;
      // low / original and high / original are known, so low may be 1.
      const double original = std::round(1 / start);
      if (fits(original, 1, std::round((start + slope) * original * 1000) / 1000)) return;
    }
    rope["rope_type"] = "longrope";
    rope["long_factor"] = divisors;
    rope["short_factor"] = divisors;
    rope["original_max_position_embeddings"] = integer("context_length");
    rope["attention_factor"] = 1.0;
  }

  void read_window(Json& config) const {
    if (family_->window_rule == WindowRule::kNone) return;
    const std::string key = name_ + ".attention.sliding_window";
    const int64_t window = integer("attention.sliding_window", family_->model_type == "gemma2" ? 4096 : 0);
    const bool is_qwen = family_->model_type.starts_with("qwen");
    config["sliding_window"] = window > 0 ? Json(window) : Json();
    if (is_qwen) config["use_sliding_window"] = window > 0;
    if (window <= 0) return;
    const auto pattern = keys_.find(key + "_pattern");
    const bool is_list = pattern != keys_.end() && pattern->is_array();
    if (!is_list && architecture_->window_period == 0 && !is_qwen) return;  // all blocks
    const int64_t period =
        is_list ? 0 : integer("attention.sliding_window_pattern", is_qwen ? blocks_ + 1 : architecture_->window_period);
    if (is_list && static_cast<int64_t>(pattern->size()) != blocks_)
      throw_input("{}: key '{}_pattern' has {} entries, expected {}", where_, key, pattern->size(), blocks_);
    if (!is_list && period < 1) throw_input("{}: key '{}_pattern' is {}, expected 1 or more", where_, key, period);
    if (blocks_ > kMostBlocks) return;  // refused by ModelConfig
    Json types = Json::array();
    for (int64_t i = 0; i < blocks_; ++i) {
      const bool is_sliding = is_list ? (*pattern)[static_cast<size_t>(i)] == Json(true) : i % period < period - 1;
      types.push_back(is_sliding ? "sliding_attention" : "full_attention");
    }
    config["layer_types"] = types;
  }

  const Json& keys_;
  const GgufFacts& facts_;
  const std::string& where_;
  const std::string name_;
  const GgufArchitecture* architecture_ = nullptr;
  const Family* family_ = nullptr;
  int64_t hidden_ = 0, heads_ = 0, blocks_ = 0, head_dim_ = 0;
};

}  // namespace

Json gguf_keys(const ModelConfig& config, const std::string& where) {
  const GgufArchitecture* architecture = find_gguf_architecture(config.family);
  if (architecture == nullptr) {
    throw_error(ErrorKind::kUnsupported,
                "{}: key 'model_type' is '{}', for which llama.cpp has no architecture; write safetensors", where,
                config.family);
  }
  check_model(*architecture, config, where);
  const std::string prefix = std::string(architecture->name) + ".";
  Json keys = {{"general.architecture", std::string(architecture->name)},
               {"general.name", std::string(architecture->name)},  // transformers takes "mistral" for an architecture
               {"general.quantization_version", 2},
               {prefix + "vocab_size", config.vocabulary},
               {prefix + "context_length", config.context_length},
               {prefix + "embedding_length", config.hidden_size},
               {prefix + "block_count", config.blocks},
               {prefix + "feed_forward_length", config.intermediate_size},
               {prefix + "attention.head_count", config.heads},
               {prefix + "attention.head_count_kv", config.kv_heads},
               {prefix + "attention.key_length", config.head_dim},
               {prefix + "attention.value_length", config.head_dim}};
  if (config.is_layer_norm) keys[prefix + "attention.layer_norm_epsilon"] = config.norm_eps;
  // Readers of nemotron look for one or the other.
  if (!config.is_layer_norm || config.family == "nemotron")
    keys[prefix + "attention.layer_norm_rms_epsilon"] = config.norm_eps;
  if (config.attention_softcap > 0) keys[prefix + "attn_logit_softcapping"] = config.attention_softcap;
  if (config.logit_softcap > 0) keys[prefix + "final_logit_softcapping"] = config.logit_softcap;
  if (config.family == "gpt_neox") keys[prefix + "use_parallel_residual"] = config.is_parallel;
  if (config.experts > 0) {
    keys[prefix + "expert_count"] = config.experts;
    keys[prefix + "expert_used_count"] = config.experts_per_token;
    if (config.family != "mixtral") keys[prefix + "expert_feed_forward_length"] = config.expert_size;
    if (config.shared_expert_size > 0) keys[prefix + "expert_shared_feed_forward_length"] = config.shared_expert_size;
  }
  if (config.has_rope) put_rope(config, prefix, keys);
  put_window(*architecture, config, where, prefix, keys);
  return keys;
}

std::map<std::string, std::vector<float>> gguf_rope_tensors(const ModelConfig& config) {
  const auto shorten = [](const std::vector<double>& values) {
    return std::vector<float>(values.begin(), values.end());
  };
  const RopeConfig& rope = config.rope;
  if (!config.has_rope) return {};
  if (rope.type == "longrope") return {{kLong, shorten(rope.long_factors)}, {kShort, shorten(rope.short_factors)}};
  if (rope.type != "llama3") return {};
  RopeConfig plain = rope;
  plain.type = "default";
  std::vector<double> divisors = rope_frequencies(plain, config.head_dim);
  const std::vector<double> scaled = rope_frequencies(rope, config.head_dim);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return {{kDivisors, shorten(divisors)}};
}

Json config_from_gguf(const Json& keys, const GgufFacts& facts, const std::string& where) {
  return Reader(keys, facts, where).read();
}

}  // namespace ockham
