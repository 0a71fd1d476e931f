// Detection of the scheme, and what all layouts share.
#include "ockham/io/formats/foreign_layout.h"

#include <filesystem>
#include <regex>

#include "ockham/core/error.h"

namespace ockham {

namespace fs = std::filesystem;

bool matches_pattern(const std::string& pattern, const std::string& text, const std::string& where) {
  constexpr size_t kLongest = 2000;
  if (pattern.size() > kLongest || text.size() > kLongest)
    throw_input("{}: a pattern has {} characters, expected at most {}", where, pattern.size(), kLongest);
  try {
    return std::regex_search(text, std::regex(pattern), std::regex_constants::match_continuous);
  } catch (const std::regex_error& error) {
    throw_input("{}: pattern '{}' is not a regular expression ({}); correct it", where, pattern, error.what());
  }
}

bool matches_target(const std::string& target, const std::string& linear, const std::string& where) {
  if (target == "Linear" || target == linear) return true;
  return target.starts_with("re:") && matches_pattern(target.substr(3), linear, where);
}

const TensorInfo* expect_foreign(const FindTensor& find, const ForeignTensor& wanted) {
  const TensorInfo* info = find(wanted.name);
  if (info == nullptr) throw_input("{}: is missing, expected beside the linear's codes; download again", wanted.name);
  bool fits = info->shape.size() == wanted.shape.size();
  for (size_t i = 0; fits && i < wanted.shape.size(); ++i)
    fits = wanted.shape[i] < 0 || wanted.shape[i] == info->shape[i];
  const auto text = [](const std::vector<int64_t>& shape) { return Json(shape).dump(); };
  if (!fits) {
    throw_input("{}: has shape {}, expected {}; the quantization settings and the weights are not of one model",
                wanted.name, text(info->shape), text(wanted.shape));
  }
  const bool is_float = info->dtype == DType::kF32 || info->dtype == DType::kF16 || info->dtype == DType::kBF16;
  if (wanted.dtype ? info->dtype != *wanted.dtype : !is_float) {
    throw_input("{}: has dtype {}, expected {}; the quantization settings and the weights are not of one model",
                wanted.name, dtype_name(info->dtype), wanted.dtype ? dtype_name(*wanted.dtype) : "F32, F16 or BF16");
  }
  return info;
}

std::unique_ptr<ForeignLayout> ForeignLayout::detect(const Json& config, const std::string& directory) {
  std::string where = (fs::path(directory) / "config.json").string() + ", quantization_config";
  Json settings = config.contains("quantization_config") ? config["quantization_config"] : Json();
  if (settings.is_null()) {
    for (const char* name : {"quantize_config.json", "quant_config.json"}) {
      const fs::path path = fs::path(directory) / name;
      if (!fs::exists(path)) continue;
      where = path.string();
      settings = read_json_file(where);
      if (settings.is_object() && !settings.contains("quant_method"))
        settings["quant_method"] = std::string(name).starts_with("quantize") ? "gptq" : "awq";
      break;
    }
  }
  if (settings.is_null()) return nullptr;
  if (!settings.is_object()) throw_input("{}: found {}, expected an object", where, settings.type_name());
  const std::string method = json_text(settings, "quant_method", where);
  if (method == "ockham") return nullptr;
  if (method == "compressed-tensors") return make_compressed_tensors_layout(settings, where);
  if (method == "gptq") return make_gptq_layout(settings, where);
  if (method == "awq") return make_awq_layout(settings, where);
  if (method == "bitsandbytes") return make_bitsandbytes_layout(settings, where);
  if (method == "fp8") return make_fp8_layout(settings, where);
  throw_error(ErrorKind::kUnsupported,
              "{}: key 'quant_method' is '{}', expected compressed-tensors, gptq, awq, bitsandbytes (int8), fp8 or "
              "ockham; take the model's uncompressed release",
              where, method);
}

}  // namespace ockham
