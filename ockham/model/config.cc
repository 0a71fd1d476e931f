// Reading of config.json: every key that changes the result is either understood or refused.
#include "ockham/model/config.h"

#include <cmath>
#include <initializer_list>
#include <numbers>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/model/families.h"

namespace ockham {
namespace {

int64_t positive(const Json& config, const std::string& key, const std::string& where) {
  const int64_t value = json_integer(config, key, where);
  if (value <= 0) throw_input("{}: key '{}' is {}, expected a positive integer; correct the config", where, key, value);
  return value;
}

// transformers 4 writes rope_theta beside rope_scaling {type or rope_type}; transformers 5 puts both into
// rope_parameters.
RopeConfig parse_rope(const Json& config, const std::string& where) {
  RopeConfig rope;
  rope.theta = json_real(config, "rope_theta", where, 10000.0);
  std::string key;
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (config.contains(name) && !config[name].is_null()) key = name;
  }
  if (key.empty()) return rope;
  const Json& scaling = config[key];
  if (!scaling.is_object()) throw_input("{}: key '{}' is {}, expected an object", where, key, scaling.type_name());
  const std::string place = where + ", " + key;
  rope.theta = json_real(scaling, "rope_theta", place, rope.theta);
  rope.type = json_text(scaling, "rope_type", place, json_text(scaling, "type", place, "default"));
  if (rope.type == "linear" || rope.type == "llama3") rope.factor = json_real(scaling, "factor", place);
  if (rope.type == "llama3") {
    rope.low_freq_factor = json_real(scaling, "low_freq_factor", place);
    rope.high_freq_factor = json_real(scaling, "high_freq_factor", place);
    rope.original_max_position_embeddings = positive(scaling, "original_max_position_embeddings", place);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      throw_input("{}: key 'high_freq_factor' is {}, expected more than low_freq_factor ({}); correct the config",
                  place, rope.high_freq_factor, rope.low_freq_factor);
    }
  } else if (rope.type != "default" && rope.type != "linear") {
    throw_error(ErrorKind::kUnsupported, "{}: key 'rope_type' is '{}', expected one of default, linear, llama3", place,
                rope.type);
  }
  if (!(rope.factor > 0) || !(rope.theta > 0)) {
    throw_input("{}: rope factor {} and theta {} must be positive; correct the config", place, rope.factor, rope.theta);
  }
  return rope;
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
  const std::string activation = json_text(config, "hidden_act", where, "silu");
  if (activation != "silu") {
    throw_error(ErrorKind::kUnsupported, "{}: key 'hidden_act' is '{}', expected silu", where, activation);
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

}  // namespace

ModelConfig ModelConfig::parse(const Json& config, const std::string& where) {
  if (!config.is_object()) throw_input("{}: found {}, expected an object of model settings", where, config.type_name());
  ModelConfig result;
  result.raw = config;
  result.family = json_text(config, "model_type", where);
  const Family* family = find_family(result.family);
  if (family == nullptr) {
    std::string known;
    for (const Family& entry : families()) known += (known.empty() ? "" : ", ") + std::string(entry.model_type);
    throw_error(ErrorKind::kUnsupported, "{}: key 'model_type' is '{}', expected one of {}", where, result.family,
                known);
  }
  check_family(*family, config, where);
  check_quantization(config, where);
  result.hidden_size = positive(config, "hidden_size", where);
  result.intermediate_size = positive(config, "intermediate_size", where);
  result.blocks = positive(config, "num_hidden_layers", where);
  result.heads = positive(config, "num_attention_heads", where);
  result.kv_heads = json_integer(config, "num_key_value_heads", where, result.heads);
  result.vocabulary = positive(config, "vocab_size", where);
  result.context_length = positive(config, "max_position_embeddings", where);
  result.head_dim = json_integer(config, "head_dim", where, result.hidden_size / result.heads);
  result.norm_eps = json_real(config, "rms_norm_eps", where, 1e-6);
  result.rope = parse_rope(config, where);
  result.tied_embeddings = json_flag(config, "tie_word_embeddings", where, false);
  result.attention_bias = json_flag(config, "attention_bias", where, false);
  result.mlp_bias = json_flag(config, "mlp_bias", where, false);
  result.dtype = parse_dtype(config, where);
  if (result.kv_heads <= 0 || result.heads % result.kv_heads != 0) {
    throw_input("{}: key 'num_key_value_heads' is {}, expected a divisor of num_attention_heads ({})", where,
                result.kv_heads, result.heads);
  }
  if (result.head_dim <= 0 || result.head_dim % 2 != 0) {
    throw_input("{}: key 'head_dim' is {}, expected a positive even number", where, result.head_dim);
  }
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
                       {"hidden_act", "silu"},
                       {"vocab_size", vocabulary},
                       {"max_position_embeddings", context_length},
                       {"rms_norm_eps", norm_eps},
                       {"attention_bias", attention_bias},
                       {"mlp_bias", mlp_bias},
                       {"tie_word_embeddings", tied_embeddings}};
  const Family* entry = find_family(family);
  if (!config.contains("architectures") && entry != nullptr) {
    config["architectures"] = Json::array({std::string(entry->architecture)});
  }
  for (const auto& [key, value] : fields.items()) config[key] = value;
  // Both spellings, so that readers of transformers 4 and 5 configs find them.
  if (!config.contains("rope_parameters") && !config.contains("rope_scaling")) {
    config["rope_theta"] = rope.theta;
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", rope.theta}};
  }
  config["torch_dtype"] = std::string(dtype_config_name(dtype));
  config["dtype"] = config["torch_dtype"];
  return config;
}

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<double> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (rope.type == "linear") frequency /= rope.factor;
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
