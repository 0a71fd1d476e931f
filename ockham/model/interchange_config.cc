// quantization_config as vLLM and transformers read it.
#include <fmt/format.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/version.h"
#include "ockham/model/interchange_writer.h"

namespace ockham {
namespace {

constexpr const char* kCompressedTensorsVersion = "0.20.0";  // whose layout is written

std::string pattern_of(const std::string& linear) {
  std::string pattern;
  for (const char c : linear) {
    if (c == '.') pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

Json quantization_arguments(int64_t bits, int64_t group_size, bool is_symmetric, bool is_float) {
  Json arguments = {{"num_bits", bits},
                    {"type", is_float ? "float" : "int"},
                    {"symmetric", is_symmetric},
                    {"strategy", group_size < 0 ? "channel" : "group"},
                    {"dynamic", false}};
  if (group_size > 0) arguments["group_size"] = group_size;
  return arguments;
}

}  // namespace

std::map<InterchangeWriter::Layout, std::vector<std::string>> InterchangeWriter::merged_layouts() const {
  std::map<Layout, std::vector<std::string>> merged;
  for (const auto& [layout, linears] : layouts_) {
    for (const std::string& linear : linears) {
      Layout same = layout;
      if (layout.group_size < 0 && columns_.contains(linear)) same.group_size = columns_.at(linear);
      merged[layouts_.contains(same) ? same : layout].push_back(linear);
    }
  }
  return merged;
}

Json InterchangeWriter::compressed_tensors_config(const std::vector<std::string>& plain) const {
  const auto layouts = merged_layouts();
  const std::string format = options_.format == "int8"  ? "int-quantized"
                             : options_.format == "fp8" ? "float-quantized"
                                                        : "pack-quantized";
  Json groups = Json::object();
  for (const auto& [layout, linears] : layouts) {
    Json activations = nullptr;
    if (options_.format == "int8") {
      activations = {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
    }
    groups[fmt::format("group_{}", groups.size())] = {
        {"format", format},
        {"input_activations", activations},
        {"output_activations", nullptr},
        {"targets", layouts.size() == 1 ? Json::array({"Linear"}) : Json(linears)},
        {"weights",
         quantization_arguments(layout.bits, layout.group_size, layout.is_symmetric, options_.format == "fp8")}};
  }
  Json ignore = plain;
  for (const std::string& linear : dense_) ignore.push_back(linear);
  return {{"config_groups", groups},
          {"format", format},
          {"global_compression_ratio", nullptr},
          {"ignore", ignore},
          {"kv_cache_scheme", nullptr},
          {"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"},
          {"version", kCompressedTensorsVersion}};
}

Json InterchangeWriter::gptq_config() const {
  const auto layouts = merged_layouts();
  // The most frequent layout is the default, the others are overrides by name.
  Layout common{options_.bits, options_.group_size, true, false};
  size_t most = 0;
  bool has_index = false;
  for (const auto& [layout, linears] : layouts) {
    has_index = has_index || layout.has_index;
    if (linears.size() <= most) continue;
    most = linears.size();
    common = layout;
  }
  Json dynamic = Json::object();
  for (const auto& [layout, linears] : layouts) {
    if (layout.bits == common.bits && layout.group_size == common.group_size &&
        layout.is_symmetric == common.is_symmetric)
      continue;
    for (const std::string& linear : linears) {
      dynamic["+:" + pattern_of(linear)] = {
          {"bits", layout.bits}, {"group_size", layout.group_size}, {"sym", layout.is_symmetric}};
    }
  }
  for (const std::string& linear : dense_) dynamic["-:" + pattern_of(linear)] = Json::object();
  Json config = {
      {"quant_method", "gptq"},          {"bits", common.bits},
      {"group_size", common.group_size}, {"desc_act", has_index},
      {"sym", common.is_symmetric},      {"lm_head", false},
      {"true_sequential", true},         {"checkpoint_format", options_.format},
      {"pack_dtype", "int32"},           {"meta", {{"quantizer", Json::array({fmt::format("ockham:{}", version())})}}}};
  if (!dynamic.empty()) config["dynamic"] = dynamic;
  return config;
}

Json InterchangeWriter::awq_config(const std::vector<std::string>& plain) const {
  int64_t group_size = options_.group_size;
  bool is_first = true, is_symmetric = true;
  for (const auto& [layout, linears] : merged_layouts()) {
    if (!is_first && layout.group_size != group_size) {
      throw_input("awq: linears have groups of {} and {}, expected one size for all; write gptq_v2", group_size,
                  layout.group_size);
    }
    group_size = layout.group_size;
    is_first = false;
    is_symmetric = is_symmetric && layout.is_symmetric;
  }
  Json skipped = plain;
  for (const std::string& linear : dense_) skipped.push_back(linear);
  return {{"quant_method", "awq"}, {"bits", 4},         {"group_size", group_size},
          {"zero_point", true},    {"version", "gemm"}, {"modules_to_not_convert", skipped}};
}

std::map<std::string, std::string> InterchangeWriter::finish(Json& config,
                                                             const std::vector<std::string>& plain) const {
  if (options_.format == "awq") {
    config["quantization_config"] = awq_config(plain);
    return {};
  }
  if (options_.format == "gptq" || options_.format == "gptq_v2") {
    config["quantization_config"] = gptq_config();
    return {{"quantize_config.json", config["quantization_config"].dump(2) + "\n"}};
  }
  config["quantization_config"] = compressed_tensors_config(plain);
  return {};
}

}  // namespace ockham
