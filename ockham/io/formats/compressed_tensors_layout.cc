// compressed-tensors, bitsandbytes int8 and block fp8: which tensors a linear has.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/io/formats/foreign_layout.h"

namespace ockham {
namespace {

// Releases up to 0.17.1 pad words of 3, 5, 6 and 7 bit; asked only where the shape leaves it open.
bool pads_words(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return major == 0 && minor < 18;
}

ForeignLinear plain_linear(ForeignKind kind, int64_t rows, int64_t columns) {
  ForeignLinear result;
  result.kind = kind;
  result.rows = rows;
  result.columns = columns;
  return result;
}

class CompressedTensorsLayout final : public ForeignLayout {
 public:
  CompressedTensorsLayout(const Json& settings, const std::string& where) : settings_(settings), where_(where) {
    format_ = json_text(settings, "format", where, "dense");
    version_ = json_text(settings, "version", where, "");
  }

  std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                     const FindTensor& find) override {
    ForeignLinear result = plain_linear(ForeignKind::kWords, rows, columns);
    const TensorInfo* weight = find(linear + ".weight");
    if (find(linear + ".weight_packed") != nullptr) {
      check_packed(linear, result, find);
    } else if (find(linear + ".weight.compressed") != nullptr || find(linear + ".compressed") != nullptr) {
      check_bitmask(linear, result, find);
    } else if (weight != nullptr && (weight->dtype == DType::kI8 || weight->dtype == DType::kF8E4M3)) {
      result.kind = weight->dtype == DType::kI8 ? ForeignKind::kInteger : ForeignKind::kFloat8;
      check_bytes(linear, result, find);
    } else {
      return std::nullopt;
    }
    for (const char* extra : {".weight_shape", ".input_scale", ".input_zero_point", ".output_scale"}) {
      if (find(linear + extra) != nullptr) result.suffixes.emplace_back(extra);
    }
    if (result.bits > 0) {
      const std::string rows_text = result.groups == 1 ? "whole rows" : fmt::format("group {}", result.group_size);
      kinds_.insert(
          fmt::format("{} bit, {}, {}", result.bits, rows_text, result.has_zeros ? "asymmetric" : "symmetric"));
    }
    return result;
  }

  std::string description() const override {
    return fmt::format("compressed-tensors, {}{}{}", format_.empty() ? "dense" : format_, kinds_.empty() ? "" : ", ",
                       fmt::join(kinds_, " and "));
  }

 private:
  int64_t bits_of(const std::string& linear) const {
    const auto groups = settings_.find("config_groups");
    if (groups == settings_.end() || !groups->is_object())
      throw_input("{}: key 'config_groups' is missing, expected an object", where_);
    for (const bool wants_exact : {true, false}) {
      for (const auto& [name, group] : groups->items()) {
        const std::string place = where_ + ", " + name;
        if (!group.is_object() || !group.contains("weights") || !group["weights"].is_object()) continue;
        const Json targets = group.value("targets", Json::array());
        for (const Json& target : targets) {
          if (!target.is_string()) throw_input("{}: 'targets' holds {}, expected texts", place, target.dump());
          const auto text = target.get<std::string>();
          if ((text == linear) != wants_exact || !matches_target(text, linear, place)) continue;
          return json_integer(group["weights"], "num_bits", place + ", weights");
        }
      }
    }
    throw_input("{}: no group of 'config_groups' has a target that matches {}; correct the targets", where_, linear);
  }

  // Returns the shape: [1], [1, 1], [R, 1], [R, G], or blocks of rows and columns for floats.
  static std::vector<int64_t> check_scales(const std::string& linear, ForeignLinear& result, const FindTensor& find) {
    const TensorInfo* scale = find(linear + ".weight_scale");
    if (scale == nullptr)
      throw_input("{}.weight_scale: is missing, expected beside the linear's codes; download the model again", linear);
    const std::vector<int64_t>& shape = scale->shape;
    const bool is_one = scale->elements() == 1;
    const bool is_rows =
        shape.size() == 2 && shape[0] == result.rows && shape[1] >= 1 && result.columns % shape[1] == 0;
    const bool is_block = result.kind == ForeignKind::kFloat8 && shape.size() == 2 && shape[0] >= 1 && shape[1] >= 1 &&
                          shape[0] <= result.rows && shape[1] <= result.columns;
    if (!is_one && !is_rows && !is_block) {
      throw_input(
          "{}.weight_scale: has shape {}, expected [{}, groups] or one element; the settings and the weights are "
          "not of one model",
          linear, Json(shape).dump(), result.rows);
    }
    expect_foreign(find, {linear + ".weight_scale", shape, std::nullopt});
    result.groups = is_one ? 1 : shape[1];
    result.group_size = ceil_div(result.columns, result.groups);
    return shape;
  }

  static void check_bytes(const std::string& linear, ForeignLinear& result, const FindTensor& find) {
    const bool is_integer = result.kind == ForeignKind::kInteger;
    result.bits = 8;
    expect_foreign(find, {linear + ".weight", {result.rows, result.columns}, is_integer ? DType::kI8 : DType::kF8E4M3});
    const std::vector<int64_t> shape = check_scales(linear, result, find);
    result.suffixes = {".weight", ".weight_scale"};
    if (!is_integer || find(linear + ".weight_zero_point") == nullptr) return;
    expect_foreign(find, {linear + ".weight_zero_point", shape, DType::kI8});
    result.has_zeros = true;
    result.suffixes.emplace_back(".weight_zero_point");
  }

  void check_packed(const std::string& linear, ForeignLinear& result, const FindTensor& find) const {
    result.bits = bits_of(linear);
    if (result.bits < 2 || result.bits > 8)
      throw_input("{}: 'num_bits' of {} is {}, expected 2 to 8", where_, linear, result.bits);
    const int64_t dense = packed_words(result.columns, result.bits, WordLayout::kDense);
    const int64_t padded = packed_words(result.columns, result.bits, WordLayout::kPadded);
    const TensorInfo* info = find(linear + ".weight_packed");
    const int64_t width = info->shape.size() == 2 ? info->shape[1] : -1;
    result.layout =
        width != dense || (padded == dense && pads_words(version_)) ? WordLayout::kPadded : WordLayout::kDense;
    const int64_t expected = result.layout == WordLayout::kDense ? dense : padded;
    expect_foreign(find, {linear + ".weight_packed", {result.rows, expected}, DType::kI32});
    check_scales(linear, result, find);
    result.suffixes = {".weight_packed", ".weight_scale"};
    if (find(linear + ".weight_zero_point") != nullptr) {
      const int64_t lines = packed_words(result.rows, result.bits, result.layout);
      expect_foreign(find, {linear + ".weight_zero_point", {lines, result.groups}, DType::kI32});
      result.has_zeros = true;
      result.suffixes.emplace_back(".weight_zero_point");
    }
    if (find(linear + ".weight_g_idx") != nullptr) {
      expect_foreign(find, {linear + ".weight_g_idx", {result.columns}, DType::kI32});
      result.has_index = true;
      result.suffixes.emplace_back(".weight_g_idx");
    }
  }

  static void check_bitmask(const std::string& linear, ForeignLinear& result, const FindTensor& find) {
    const int64_t width = ceil_div(result.columns, 8);
    if (find(linear + ".compressed") != nullptr) {
      result.kind = ForeignKind::kBitmask24;
      expect_foreign(find, {linear + ".bitmask", {result.rows, width}, DType::kU8});
      expect_foreign(find, {linear + ".compressed", {result.rows, result.columns / 2}, std::nullopt});
      result.suffixes = {".bitmask", ".compressed", ".shape"};
      return;
    }
    result.kind = ForeignKind::kBitmask;
    expect_foreign(find, {linear + ".weight.bitmask", {result.rows, width}, DType::kU8});
    expect_foreign(find, {linear + ".weight.compressed", {-1}, std::nullopt});
    result.suffixes = {".weight.bitmask", ".weight.compressed", ".weight.shape", ".weight.row_offsets"};
  }

  Json settings_;
  std::string where_, format_, version_;
  std::set<std::string> kinds_;  // of the linears
};

class BitsandbytesLayout final : public ForeignLayout {
 public:
  std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                     const FindTensor& find) override {
    const TensorInfo* weight = find(linear + ".weight");
    if (weight == nullptr || weight->dtype != DType::kI8) return std::nullopt;
    expect_foreign(find, {linear + ".weight", {rows, columns}, DType::kI8});
    expect_foreign(find, {linear + ".SCB", {rows}, DType::kF32});
    ForeignLinear result = plain_linear(ForeignKind::kBitsandbytes, rows, columns);
    result.bits = 8;
    result.group_size = columns;
    result.suffixes = {".weight", ".SCB"};
    if (find(linear + ".weight_format") != nullptr) result.suffixes.emplace_back(".weight_format");
    return result;
  }

  std::string description() const override { return "bitsandbytes, int8"; }
};

class Fp8Layout final : public ForeignLayout {
 public:
  std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                     const FindTensor& find) override {
    const TensorInfo* weight = find(linear + ".weight");
    if (weight == nullptr || weight->dtype != DType::kF8E4M3) return std::nullopt;
    expect_foreign(find, {linear + ".weight", {rows, columns}, DType::kF8E4M3});
    const TensorInfo* scale = expect_foreign(find, {linear + ".weight_scale_inv", {-1, -1}, std::nullopt});
    for (const int i : {0, 1}) {
      const int64_t size = i == 0 ? rows : columns, blocks = scale->shape[static_cast<size_t>(i)];
      if (blocks < 1 || blocks > size || ceil_div(size, ceil_div(size, blocks)) != blocks)
        throw_input("{}.weight_scale_inv: has {} blocks over {}, which do not tile it", linear, blocks, size);
    }
    ForeignLinear result = plain_linear(ForeignKind::kBlockFloat8, rows, columns);
    result.suffixes = {".weight", ".weight_scale_inv"};
    return result;
  }

  std::string description() const override { return "fp8 with block scales"; }
};

}  // namespace

std::unique_ptr<ForeignLayout> make_compressed_tensors_layout(const Json& settings, const std::string& where) {
  return std::make_unique<CompressedTensorsLayout>(settings, where);
}

std::unique_ptr<ForeignLayout> make_bitsandbytes_layout(const Json& settings, const std::string& where) {
  if (!json_flag(settings, "load_in_8bit", where, false)) {
    throw_error(ErrorKind::kUnsupported,
                "{}: is bitsandbytes 4 bit, expected load_in_8bit; take the uncompressed release", where);
  }
  return std::make_unique<BitsandbytesLayout>();
}

std::unique_ptr<ForeignLayout> make_fp8_layout(const Json& settings, const std::string& where) {
  if (!settings.contains("weight_block_size") || settings["weight_block_size"].is_null()) {
    throw_error(ErrorKind::kUnsupported,
                "{}: fp8 without weight_block_size, expected block scales; take the "
                "compressed-tensors release",
                where);
  }
  return std::make_unique<Fp8Layout>();
}

}  // namespace ockham
