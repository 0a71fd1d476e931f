// Reading of config.json: every key that changes the result is either understood or refused.
#include "ockham/io/families/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/io/families/families.h"

namespace ockham {
namespace {

constexpr int64_t kMostExperts = 4096, kLargestSize = std::numeric_limits<int32_t>::max();

int64_t positive(const Json& config, const std::string& key, const std::string& where) {
  const int64_t value = json_integer(config, key, where);
  // Bounded, so that products of two sizes fit 64 bits.
  if (value <= 0 || value > kLargestSize)
    throw_input("{}: key '{}' is {}, expected a positive integer up to {}; correct the config", where, key, value,
                kLargestSize);
  return value;
}

// "default, linear, ..." in the order of RopeConfig.
constexpr std::array<std::string_view, 6> kRopeTypes = {"default", "linear", "dynamic", "llama3", "yarn", "longrope"};

std::vector<double> real_list(const Json& config, const std::string& key, const std::string& where, int64_t count) {
  const auto found = config.find(key);
  const bool is_list = found != config.end() && found->is_array();
  if (!is_list || static_cast<int64_t>(found->size()) != count ||
      !std::all_of(found->begin(), found->end(), [](const Json& value) { return value.is_number(); })) {
    throw_input("{}: key '{}' is {}, expected a list of {} numbers; correct the config", where, key,
                is_list                 ? fmt::format("a list of {}", found->size())
                : found == config.end() ? "missing"
                                        : found->type_name(),
                count);
  }
  return found->get<std::vector<double>>();
}

void parse_yarn(const Json& scaling, const std::string& place, RopeConfig& rope) {
  const auto mscale_of = [&](double weight) {
    return rope.factor <= 1 ? 1.0 : 0.1 * weight * std::log(rope.factor) + 1;
  };
  const double mscale = json_real(scaling, "mscale", place, 0), all = json_real(scaling, "mscale_all_dim", place, 0);
  const double usual = mscale != 0 && all != 0 ? mscale_of(mscale) / mscale_of(all) : mscale_of(1);
  rope.attention_factor = json_real(scaling, "attention_factor", place, usual);
  rope.beta_fast = json_real(scaling, "beta_fast", place, 32);
  rope.beta_slow = json_real(scaling, "beta_slow", place, 1);
  rope.truncates = json_flag(scaling, "truncate", place, true);
}

void parse_longrope(const Json& scaling, const std::string& place, const ModelConfig& model, RopeConfig& rope) {
  const auto count = static_cast<int64_t>(static_cast<double>(model.head_dim) * rope.partial) / 2;
  rope.short_factors = real_list(scaling, "short_factor", place, count);
  rope.long_factors = real_list(scaling, "long_factor", place, count);
  for (const std::vector<double>* factors : {&rope.short_factors, &rope.long_factors})
    for (const double factor : *factors)
      if (!(factor > 0)) throw_input("{}: a longrope factor is {}, expected positive numbers", place, factor);
  const double usual =
      rope.factor <= 1
          ? 1
          : std::sqrt(1 + std::log(rope.factor) / std::log(static_cast<double>(rope.original_max_position_embeddings)));
  rope.attention_factor = json_real(scaling, "attention_factor", place, usual);
}

// The settings of one rotation: `scaling` is rope_scaling, rope_parameters or a part of the latter; `rope` comes with
// what stands outside of it.
void parse_rope_object(const Json& scaling, const std::string& place, const Json& config, const ModelConfig& model,
                       RopeConfig& rope) {
  rope.theta = json_real(scaling, "rope_theta", place, rope.theta);
  rope.partial = json_real(scaling, "partial_rotary_factor", place, rope.partial);
  rope.type = json_text(scaling, "rope_type", place, json_text(scaling, "type", place, "default"));
  // Early Phi-3 files call longrope by other names.
  if (model.family == "phi3" && (rope.type == "su" || rope.type == "yarn")) rope.type = "longrope";
  if (std::find(kRopeTypes.begin(), kRopeTypes.end(), rope.type) == kRopeTypes.end()) {
    throw_error(ErrorKind::kUnsupported, "{}: key 'rope_type' is '{}', expected one of {}", place, rope.type,
                fmt::join(kRopeTypes, ", "));
  }
  const bool has_original = rope.type == "yarn" || rope.type == "longrope" || rope.type == "llama3";
  if (has_original) {
    const Json& holder = scaling.contains("original_max_position_embeddings") ? scaling : config;
    rope.original_max_position_embeddings =
        positive(holder, "original_max_position_embeddings", &holder == &scaling ? place : place + " and above it");
  }
  if (rope.type == "yarn" || rope.type == "longrope") {
    const double ratio =
        static_cast<double>(model.context_length) / static_cast<double>(rope.original_max_position_embeddings);
    rope.factor = json_real(scaling, "factor", place, ratio);
  } else if (rope.type != "default") {
    rope.factor = json_real(scaling, "factor", place);
  }
  rope.context_length = model.context_length;
  if (!(rope.factor > 0) || !(rope.theta > 0)) {
    throw_input("{}: rope factor {} and theta {} must be positive; correct the config", place, rope.factor, rope.theta);
  }
  if (rope.type == "llama3") {
    rope.low_freq_factor = json_real(scaling, "low_freq_factor", place);
    rope.high_freq_factor = json_real(scaling, "high_freq_factor", place);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      throw_input("{}: key 'high_freq_factor' is {}, expected more than low_freq_factor ({}); correct the config",
                  place, rope.high_freq_factor, rope.low_freq_factor);
    }
  }
  const auto rotated = static_cast<int64_t>(static_cast<double>(model.head_dim) * rope.partial);
  if (!(rope.partial > 0) || rope.partial > 1 || rotated < 2 || rotated % 2 != 0) {
    throw_input("{}: a share of {} of {} dimensions is rotated, expected an even number of them", place, rope.partial,
                model.head_dim);
  }
  if (rope.type == "yarn") parse_yarn(scaling, place, rope);
  if (rope.type == "longrope") parse_longrope(scaling, place, model, rope);
}

// transformers 4 writes rope_theta beside rope_scaling {type or rope_type}; transformers 5 puts both into
// rope_parameters, by type of layer where these differ.
void parse_rope(const Family& family, const Json& config, const std::string& where, ModelConfig& model) {
  RopeConfig base;
  base.theta =
      json_real(config, "rope_theta", where, json_real(config, "rotary_emb_base", where, family.default_theta));
  base.partial =
      json_real(config, "partial_rotary_factor", where, json_real(config, "rotary_pct", where, family.default_partial));
  model.rope = model.local_rope = base;
  if (family.has_local_rope) model.local_rope.theta = json_real(config, "rope_local_base_freq", where, 10000);
  std::string key;
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (config.contains(name) && !config[name].is_null()) key = name;
  }
  const Json scaling = key.empty() ? Json::object() : config[key];
  if (!scaling.is_object()) throw_input("{}: key '{}' is {}, expected an object", where, key, scaling.type_name());
  const std::string place = key.empty() ? where : where + ", " + key;
  const auto part_of = [&](const char* name) {
    const auto found = scaling.find(name);
    if (found == scaling.end() || found->is_null()) return Json(Json::object());
    if (!found->is_object()) throw_input("{}: key '{}' is {}, expected an object", place, name, found->type_name());
    return *found;
  };
  const bool is_nested = scaling.contains("full_attention") || scaling.contains("sliding_attention");
  if (is_nested) {
    parse_rope_object(part_of("full_attention"), place + ".full_attention", config, model, model.rope);
    parse_rope_object(part_of("sliding_attention"), place + ".sliding_attention", config, model, model.local_rope);
    if (!family.has_local_rope) model.local_rope = model.rope;
  } else {
    parse_rope_object(scaling, place, config, model, model.rope);
    if (family.has_local_rope) parse_rope_object(Json::object(), where, config, model, model.local_rope);
  }
  model.has_local_rope = family.has_local_rope;
}

Activation parse_activation(const Family& family, const Json& config, const std::string& where) {
  static const std::vector<std::pair<std::string_view, Activation>> kNames = {
      {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"relu", Activation::kRelu},          {"relu2", Activation::kSquaredRelu}};
  const std::string key = config_key(family, "hidden_act");
  const std::string name = json_text(config, key, where, std::string(family.default_activation));
  std::string known;
  for (const auto& [text, activation] : kNames) {
    if (text == name) return activation;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw_error(ErrorKind::kUnsupported, "{}: key '{}' is '{}', expected one of {}", where, key, name, known);
}

// Which blocks see only the last `window` tokens.
void parse_window(const Family& family, const Json& config, const std::string& where, ModelConfig& model) {
  if (family.window_rule == WindowRule::kNone) return;
  const auto found = config.find("sliding_window");
  const bool is_null = found != config.end() && (found->is_null() || *found == Json(false));
  model.window = is_null ? 0 : json_integer(config, "sliding_window", where, family.default_window);
  const bool is_qwen = model.family.starts_with("qwen");
  if (is_qwen && !json_flag(config, "use_sliding_window", where, false)) model.window = 0;
  if (model.window < 0) throw_input("{}: key 'sliding_window' is {}, expected a positive integer", where, model.window);
  if (model.window == 0) return;
  const auto types = config.find("layer_types");
  if (types != config.end() && types->is_array()) {
    if (static_cast<int64_t>(types->size()) != model.blocks)
      throw_input("{}: key 'layer_types' has {} entries, expected {}", where, types->size(), model.blocks);
    for (const Json& type : *types) {
      if (type != "sliding_attention" && type != "full_attention")
        throw_error(ErrorKind::kUnsupported,
                    "{}: key 'layer_types' holds {}, expected sliding_attention or full_attention", where, type.dump());
      model.sliding.push_back(type == "sliding_attention");
    }
    return;
  }
  const int64_t first = json_integer(config, "max_window_layers", where, 28);
  const int64_t pattern = json_integer(config, "sliding_window_pattern", where, model.family == "gemma2" ? 2 : 6);
  if (pattern < 1) throw_input("{}: key 'sliding_window_pattern' is {}, expected 1 or more", where, pattern);
  for (int64_t i = 0; i < model.blocks; ++i) {
    model.sliding.push_back(family.window_rule == WindowRule::kAll ||
                            (family.window_rule == WindowRule::kFromLayer && i >= first) ||
                            (family.window_rule == WindowRule::kAlternating && i % 2 == 0 && i < first) ||
                            (family.window_rule == WindowRule::kPattern && (i + 1) % pattern != 0));
  }
}

void parse_experts(const Family& family, const Json& config, const std::string& where, ModelConfig& model) {
  if (family.router.empty()) return;
  const bool is_qwen = model.family.starts_with("qwen");
  // Qwen files have either name, by the version of transformers that wrote them.
  const bool has_old_name = config.contains("num_experts") || (is_qwen && !config.contains("num_local_experts"));
  model.experts = positive(config, has_old_name ? "num_experts" : "num_local_experts", where);
  model.experts_per_token = positive(config, "num_experts_per_tok", where);
  if (model.experts > kMostExperts || model.experts_per_token > model.experts) {
    throw_input("{}: {} of {} experts are asked for each token, expected at most {} and no more than there are", where,
                model.experts_per_token, model.experts, kMostExperts);
  }
  model.mixtures.assign(static_cast<size_t>(model.blocks), true);
  model.expert_size = model.intermediate_size;
  if (!is_qwen) return;
  model.expert_size = positive(config, "moe_intermediate_size", where);
  model.is_routing_normalized = json_flag(config, "norm_topk_prob", where, false);
  if (!family.shared_expert.empty())
    model.shared_expert_size = positive(config, "shared_expert_intermediate_size", where);
  const int64_t step = json_integer(config, "decoder_sparse_step", where, 1);
  if (step < 1) throw_input("{}: key 'decoder_sparse_step' is {}, expected 1 or more", where, step);
  for (int64_t i = 0; i < model.blocks; ++i) model.mixtures[static_cast<size_t>(i)] = (i + 1) % step == 0;
  const auto dense = config.find("mlp_only_layers");
  if (dense == config.end() || dense->is_null()) return;
  for (const Json& layer : *dense) {
    if (!layer.is_number_integer())
      throw_input("{}: key 'mlp_only_layers' holds {}, expected integers", where, layer.dump());
    const int64_t index = layer.get<int64_t>();
    if (index >= 0 && index < model.blocks) model.mixtures[static_cast<size_t>(index)] = false;
  }
}

// What only some families have.
void parse_variants(const Family& family, const Json& config, const std::string& where, ModelConfig& model) {
  model.output_bias = family.output_bias;
  model.has_qk_norm = family.has_qk_norm;
  model.is_layer_norm = family.is_layer_norm;
  model.norm_offset = family.norm_offset;
  model.has_output_norms = family.has_output_norms;
  model.is_gated = family.is_gated;
  model.activation = parse_activation(family, config, where);
  model.has_rope = family.has_rope;
  model.position_offset = family.position_offset;
  if (family.scales_embedding) model.embedding_scale = std::sqrt(static_cast<double>(model.hidden_size));
  if (family.has_output_norms) {
    const double scalar = json_real(config, "query_pre_attn_scalar", where, 256);
    if (!(scalar > 0)) throw_input("{}: key 'query_pre_attn_scalar' is {}, expected a positive number", where, scalar);
    model.attention_scale = 1 / std::sqrt(scalar);
    const bool is_capped = model.family == "gemma2";
    const auto cap = [&](const char* key, double fallback) {
      const auto found = config.find(key);
      return found != config.end() && found->is_null() ? 0 : json_real(config, key, where, is_capped ? fallback : 0);
    };
    model.attention_softcap = cap("attn_logit_softcapping", 50);
    model.logit_softcap = cap("final_logit_softcapping", 30);
  }
  if (model.family == "gpt_neox") model.is_parallel = json_flag(config, "use_parallel_residual", where, true);
  if (model.family == "gpt2" && !json_flag(config, "scale_attn_weights", where, true)) model.attention_scale = 1;
  if (model.family == "opt") {
    model.is_norm_first = json_flag(config, "do_layer_norm_before", where, true);
    model.embedding_size = json_integer(config, "word_embed_proj_dim", where, 0);
    if (model.embedding_size < 0)
      throw_input("{}: key 'word_embed_proj_dim' is {}, expected a positive integer", where, model.embedding_size);
    if (!json_flag(config, "layer_norm_elementwise_affine", where, true))
      throw_error(ErrorKind::kUnsupported, "{}: key 'layer_norm_elementwise_affine' is false, expected true", where);
  }
}

DType parse_dtype(const Json& config, const std::string& where) {
  const std::string key = config.contains("dtype") ? "dtype" : "torch_dtype";
  const std::string name = json_text(config, key, where, "float32");
  const auto dtype = dtype_from_config(name);
  if (!dtype || (*dtype != DType::kF32 && *dtype != DType::kF16 && *dtype != DType::kBF16)) {
    throw_error(ErrorKind::kUnsupported, "{}: key '{}' is '{}', expected float32, float16 or bfloat16", where, key,
                name);
  }
  return *dtype;
}

void check_family(const Family& family, const Json& config, const std::string& where) {
  for (const std::string_view key : family.refused) {
    const auto found = config.find(std::string(key));
    if (found == config.end() || found->is_null() || *found == Json(false)) continue;
    throw_error(ErrorKind::kUnsupported,
                "{}: key '{}' is {}, which {} models are not computed with here; expected null", where, key,
                found->dump(), family.model_type);
  }
}

void check_quantization(const Json& config, const std::string& where) {
  if (!config.contains("quantization_config") || config["quantization_config"].is_null()) return;
  const Json& quantization = config["quantization_config"];
  const std::string place = where + ", quantization_config";
  const std::string method = json_text(quantization, "quant_method", place);
  if (method != "ockham") return;  // ForeignReader::detect reads it or refuses it
  const int64_t version = json_integer(quantization, "version", place);
  if (version != 1) {
    throw_error(ErrorKind::kUnsupported, "{}: key 'version' is {}, expected 1; use the Ockham that wrote it", place,
                version);
  }
}

constexpr const char* kKvCacheKey = "ockham_kv_cache";

std::optional<KvPolicy> parse_kv_cache(const Json& config, const std::string& where) {
  const auto found = config.find(kKvCacheKey);
  if (found == config.end() || found->is_null()) return {};
  const std::string place = where + ", " + kKvCacheKey;
  if (!found->is_object())
    throw_input("{}: found {}, expected an object such as {{\"policy\": \"h2o\"}}", place, found->type_name());
  std::map<std::string, ParamValue> params;
  for (const auto& [key, value] : found->items()) {
    if (key == "policy") continue;
    if (value.is_boolean())
      params[key] = value.get<bool>();
    else if (value.is_number_integer())
      params[key] = value.get<int64_t>();
    else if (value.is_number())
      params[key] = value.get<double>();
    else if (value.is_string())
      params[key] = value.get<std::string>();
    else
      throw_input("{}: key '{}' is {}, expected a number, a text or a truth value", place, key, value.type_name());
  }
  return make_kv_policy(place, json_text(*found, "policy", place), params);
}

Json kv_cache_json(const KvPolicy& policy) {
  Json json = {{"policy", policy.name}};
  for (const auto& [key, value] : policy.changed()) {
    std::visit(
        [&json, &key = key](const auto& plain) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(plain)>, FromStep>) json[key] = plain;
        },
        value);
  }
  return json;
}

}  // namespace

ModelConfig ModelConfig::parse(const Json& config, const std::string& where) {
  if (!config.is_object()) throw_input("{}: found {}, expected an object of model settings", where, config.type_name());
  ModelConfig result;
  result.raw = config;
  result.family = json_text(config, "model_type", where);
  const Family* family = find_family(result.family);
  if (result.family == "gemma3" && config.contains("text_config")) {
    throw_error(
        ErrorKind::kUnsupported,
        "{}: key 'model_type' is 'gemma3', a model of texts and images, expected gemma3_text; save its text part "
        "by itself (its language_model, with transformers) and name that directory",
        where);
  }
  if (family == nullptr) {
    std::string known;
    for (const Family& entry : families()) known += (known.empty() ? "" : ", ") + std::string(entry.model_type);
    throw_error(ErrorKind::kUnsupported, "{}: key 'model_type' is '{}', expected one of {}", where, result.family,
                known);
  }
  check_family(*family, config, where);
  check_quantization(config, where);
  result.kv_cache = parse_kv_cache(config, where);
  const auto key = [&](const char* name) { return config_key(*family, name); };
  result.hidden_size = positive(config, key("hidden_size"), where);
  const auto inner = config.find(key("intermediate_size"));
  if (family->default_widening > 0 && (inner == config.end() || inner->is_null())) {
    result.intermediate_size = family->default_widening * result.hidden_size;
  } else {
    result.intermediate_size = positive(config, key("intermediate_size"), where);
  }
  result.blocks = positive(config, key("num_hidden_layers"), where);
  if (result.blocks > kMostBlocks)
    throw_input("{}: key '{}' is {}, expected at most {}", where, key("num_hidden_layers"), result.blocks, kMostBlocks);
  result.heads = positive(config, key("num_attention_heads"), where);
  result.kv_heads = json_integer(config, "num_key_value_heads", where, result.heads);
  result.vocabulary = positive(config, "vocab_size", where);
  result.context_length = positive(config, key("max_position_embeddings"), where);
  const int64_t usual = family->default_head_dim > 0 ? family->default_head_dim : result.hidden_size / result.heads;
  result.head_dim = json_integer(config, "head_dim", where, usual);
  result.norm_eps = json_real(config, key("rms_norm_eps"), where, family->default_eps);
  result.tied_embeddings = json_flag(config, "tie_word_embeddings", where, family->default_tied);
  result.attention_bias = json_flag(config, key("attention_bias"), where, family->default_attention_bias);
  result.mlp_bias = json_flag(config, key("mlp_bias"), where, family->default_mlp_bias);
  result.dtype = parse_dtype(config, where);
  if (result.kv_heads <= 0 || result.heads % result.kv_heads != 0) {
    throw_input("{}: key 'num_key_value_heads' is {}, expected a divisor of num_attention_heads ({})", where,
                result.kv_heads, result.heads);
  }
  if (result.head_dim <= 0 || result.head_dim > kLargestSize || result.head_dim % 2 != 0) {
    throw_input("{}: key 'head_dim' is {}, expected a positive even number", where, result.head_dim);
  }
  parse_variants(*family, config, where, result);
  if (result.has_rope) parse_rope(*family, config, where, result);
  parse_window(*family, config, where, result);
  parse_experts(*family, config, where, result);
  return result;
}

Json ModelConfig::to_json() const {
  Json config = raw.is_object() ? raw : Json::object();
  const Json fields = {{"model_type", family},
                       {"hidden_size", hidden_size},
                       {"intermediate_size", intermediate_size},
                       {"num_hidden_layers", blocks},
                       {"num_attention_heads", heads},
                       {"num_key_value_heads", kv_heads},
                       {"head_dim", head_dim},
                       {"vocab_size", vocabulary},
                       {"max_position_embeddings", context_length},
                       {"rms_norm_eps", norm_eps},
                       {"attention_bias", attention_bias},
                       {"mlp_bias", mlp_bias},
                       {"tie_word_embeddings", tied_embeddings}};
  const Family* entry = find_family(family);
  OCKHAM_CHECK(entry != nullptr);
  if (!config.contains("architectures")) config["architectures"] = Json::array({std::string(entry->architecture)});
  for (const auto& [key, value] : fields.items()) {
    const std::string theirs = config_key(*entry, key);
    const bool is_foreign = std::find(entry->foreign.begin(), entry->foreign.end(), key) != entry->foreign.end();
    // Null stands for what follows from the other sizes.
    const bool is_implied = config.contains(theirs) && config[theirs].is_null() &&
                            (key == "head_dim" ? head_dim * heads == hidden_size
                                               : intermediate_size == entry->default_widening * hidden_size);
    if (!is_foreign && !is_implied) config[theirs] = value;
  }
  const std::string act_key = config_key(*entry, "hidden_act");
  if (!config.contains(act_key)) config[act_key] = std::string(entry->default_activation);
  // Both spellings, so that readers of transformers 4 and 5 configs find them.
  if (has_rope && !config.contains("rope_parameters") && !config.contains("rope_scaling")) {
    config["rope_theta"] = rope.theta;
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", rope.theta}};
  }
  config.erase(kKvCacheKey);
  if (kv_cache) config[kKvCacheKey] = kv_cache_json(*kv_cache);
  config["torch_dtype"] = std::string(dtype_config_name(dtype));
  config["dtype"] = config["torch_dtype"];
  return config;
}

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim, int64_t length) {
  const auto rotated = static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial);
  const double dimensions = static_cast<double>(rotated);
  std::vector<double> frequencies(static_cast<size_t>(rotated / 2));
  double theta = rope.theta;
  if (rope.type == "dynamic" && rotated > 2) {
    const double context = static_cast<double>(rope.context_length),
                 seen = std::fmax(static_cast<double>(length), context);
    theta *= std::pow(rope.factor * seen / context - (rope.factor - 1), dimensions / (dimensions - 2));
  }
  // yarn: the dimension that makes this many turns over the original context.
  const auto dimension_of = [&](double turns) {
    const double context = static_cast<double>(rope.original_max_position_embeddings);
    return dimensions * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = dimension_of(rope.beta_fast), high = dimension_of(rope.beta_slow);
  if (rope.truncates) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::fmax(low, 0);
  high = std::fmin(high, dimensions - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double place = static_cast<double>(i);
    double frequency = std::pow(theta, -2.0 * place / dimensions);
    if (rope.type == "linear") frequency /= rope.factor;
    if (rope.type == "longrope")
      frequency /= (length > rope.original_max_position_embeddings ? rope.long_factors : rope.short_factors)[i];
    if (rope.type == "yarn") {
      // Dimensions that turn often keep their frequency, slow ones are stretched.
      const double stretch = std::clamp((place - low) / (high - low), 0.0, 1.0);
      frequency *= stretch / rope.factor + 1 - stretch;
    }
    if (rope.type == "llama3") {
      // Long waves are stretched by `factor`, short ones kept, those between interpolated.
      const double context = static_cast<double>(rope.original_max_position_embeddings);
      const double turns = context * frequency / (2 * std::numbers::pi);  // over the original context
      const double keep = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      const double share = std::fmin(std::fmax(keep, 0.0), 1.0);
      frequency = (1 - share) * frequency / rope.factor + share * frequency;
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

}  // namespace ockham
