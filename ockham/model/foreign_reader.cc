// Detection of the scheme, and what all readers share.
#include "ockham/model/foreign_reader.h"

#include <filesystem>
#include <regex>

#include "ockham/core/error.h"
#include "ockham/model/foreign_readers.h"
#include "ockham/tensor/ops.h"

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

GroupIntWeight make_group_int(int64_t bits, int64_t group_size, Tensor codes, Tensor scales, const Tensor& zeros,
                              const std::string& where) {
  if (!scales.isfinite().all().item<bool>())
    throw_input("{}: its scales hold non-finite values, expected finite numbers; download the model again", where);
  GroupIntWeight weight;
  weight.bits = bits;
  weight.group_size = group_size;
  weight.codes = std::move(codes);
  weight.scales = std::move(scales);
  const int64_t middle = int64_t{1} << (bits - 1);
  weight.is_symmetric = !zeros.defined() || (zeros == middle).all().item<bool>();
  if (weight.is_symmetric) return weight;
  const int64_t largest = zeros.max().item<int64_t>();
  if (largest >> bits != 0) {
    if (bits == 8) throw_input("{}: a zero point is {}, expected at most 255", where, largest);
    ++weight.bits;
  }
  weight.zeros = zeros.to(at::kByte).contiguous();
  return weight;
}

std::span<const uint32_t> words_of(const Tensor& tensor) {
  OCKHAM_CHECK(tensor.scalar_type() == at::kInt && tensor.is_contiguous());
  return {reinterpret_cast<const uint32_t*>(tensor.const_data_ptr<int32_t>()), static_cast<size_t>(tensor.numel())};
}

Tensor bytes_tensor(const std::vector<uint8_t>& bytes, int64_t rows, int64_t columns) {
  OCKHAM_CHECK(static_cast<int64_t>(bytes.size()) == rows * columns);
  Tensor result = at::empty({rows, columns}, at::kByte);
  std::copy(bytes.begin(), bytes.end(), result.mutable_data_ptr<uint8_t>());
  return result;
}

std::unique_ptr<ForeignReader> ForeignReader::detect(const Json& config, const std::string& directory) {
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
  if (method == "compressed-tensors") return make_compressed_tensors_reader(settings, where);
  if (method == "gptq") return make_gptq_reader(settings, where);
  if (method == "awq") return make_awq_reader(settings, where);
  if (method == "bitsandbytes") return make_bitsandbytes_reader(settings, where);
  if (method == "fp8") return make_fp8_reader(settings, where);
  throw_error(ErrorKind::kUnsupported,
              "{}: key 'quant_method' is '{}', expected compressed-tensors, gptq, awq, bitsandbytes (int8), fp8 or "
              "ockham; take the model's uncompressed release",
              where, method);
}

}  // namespace ockham
