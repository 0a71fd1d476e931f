// GPTQ and AWQ: which tensors a linear has.
#include <fmt/format.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/io/formats/foreign_layout.h"

namespace ockham {
namespace {

struct GptqSettings {
  int64_t bits = 4, group_size = 128;
  bool is_symmetric = true;
};

class GptqLayout final : public ForeignLayout {
 public:
  GptqLayout(const Json& settings, const std::string& where) : settings_(settings), where_(where) {
    base_.bits = json_integer(settings, "bits", where);
    base_.group_size = json_integer(settings, "group_size", where, int64_t{-1});
    base_.is_symmetric = json_flag(settings, "sym", where, true);
    format_ = json_text(settings, "checkpoint_format", where, "gptq");
    if (format_ != "gptq" && format_ != "gptq_v2" && format_ != "gptq_p") {
      throw_error(
          ErrorKind::kUnsupported,
          "{}: key 'checkpoint_format' is '{}', expected gptq, gptq_v2 or gptq_p; take the model in one of them", where,
          format_);
    }
  }

  std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                     const FindTensor& find) override {
    if (find(linear + ".qweight") == nullptr) return std::nullopt;
    const GptqSettings settings = settings_of(linear);
    ForeignLinear result;
    result.kind = ForeignKind::kGptq;
    result.rows = rows;
    result.columns = columns;
    result.layout = format_ == "gptq_p" ? WordLayout::kPlanar : WordLayout::kDense;
    result.zeros = format_ == "gptq" ? GptqZeros::kStoredMinusOne : GptqZeros::kStored;
    result.has_zeros = true;
    result.is_symmetric = settings.is_symmetric;
    const int64_t bits = result.bits = settings.bits;
    result.group_size = settings.group_size < 0 ? columns : std::min(columns, settings.group_size);
    if (bits < 2 || bits > 8 || result.group_size < 1 || rows * bits % 32 != 0 || columns * bits % 32 != 0 ||
        (result.layout == WordLayout::kPlanar && (rows % 32 != 0 || columns % 32 != 0))) {
      throw_input("{}: {} bits in groups of {} do not fit {} [{}, {}]; correct the settings", where_, bits,
                  settings.group_size, linear, rows, columns);
    }
    result.groups = ceil_div(columns, result.group_size);
    expect_foreign(find, {linear + ".qweight", {columns * bits / 32, rows}, DType::kI32});
    expect_foreign(find, {linear + ".qzeros", {result.groups, rows * bits / 32}, DType::kI32});
    expect_foreign(find, {linear + ".scales", {result.groups, rows}, std::nullopt});
    result.suffixes = {".qweight", ".qzeros", ".scales"};
    if (find(linear + ".g_idx") != nullptr) {
      expect_foreign(find, {linear + ".g_idx", {columns}, DType::kI32});
      result.suffixes.emplace_back(".g_idx");
      result.has_index = true;
    }
    return result;
  }

  std::string description() const override {
    return fmt::format("{}, {} bit, group {}, {}", format_, base_.bits, base_.group_size,
                       base_.is_symmetric ? "symmetric" : "asymmetric");
  }

  std::string zeros_label() const override {
    return fmt::format("{}: key 'checkpoint_format' is '{}'", where_, format_);
  }

 private:
  // `dynamic`: {pattern: overrides}, a pattern may begin with "+:" (match) or "-:" (not quantized).
  GptqSettings settings_of(const std::string& linear) const {
    GptqSettings result = base_;
    const auto dynamic = settings_.find("dynamic");
    if (dynamic == settings_.end() || !dynamic->is_object()) return result;
    for (const auto& [key, value] : dynamic->items()) {
      if (key.starts_with("-:") || !value.is_object()) continue;
      if (!matches_pattern(key.starts_with("+:") ? key.substr(2) : key, linear, where_)) continue;
      result.bits = json_integer(value, "bits", where_, result.bits);
      result.group_size = json_integer(value, "group_size", where_, result.group_size);
      result.is_symmetric = json_flag(value, "sym", where_, result.is_symmetric);
      break;
    }
    return result;
  }

  Json settings_;
  std::string where_, format_;
  GptqSettings base_;
};

class AwqLayout final : public ForeignLayout {
 public:
  AwqLayout(const Json& settings, const std::string& where) : where_(where) {
    const int64_t bits = settings.contains("w_bit") ? json_integer(settings, "w_bit", where)
                                                    : json_integer(settings, "bits", where, int64_t{4});
    const std::string version = json_text(settings, "version", where, "gemm");
    group_size_ = settings.contains("q_group_size") ? json_integer(settings, "q_group_size", where)
                                                    : json_integer(settings, "group_size", where, int64_t{128});
    if (bits != 4 || (version != "gemm" && version != "GEMM")) {
      throw_error(ErrorKind::kUnsupported, "{}: AWQ version '{}' with {} bits, expected gemm with 4; take that release",
                  where, version, bits);
    }
  }

  std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                     const FindTensor& find) override {
    if (find(linear + ".qweight") == nullptr) return std::nullopt;
    ForeignLinear result;
    result.kind = ForeignKind::kAwq;
    result.rows = rows;
    result.columns = columns;
    result.bits = 4;
    result.has_zeros = true;
    result.group_size = group_size_ < 0 ? columns : std::min(columns, group_size_);
    if (result.group_size < 1 || rows % 8 != 0) {
      throw_input("{}: groups of {} do not fit {} [{}, {}]; correct the settings", where_, group_size_, linear, rows,
                  columns);
    }
    result.groups = ceil_div(columns, result.group_size);
    expect_foreign(find, {linear + ".qweight", {columns, rows / 8}, DType::kI32});
    expect_foreign(find, {linear + ".qzeros", {result.groups, rows / 8}, DType::kI32});
    expect_foreign(find, {linear + ".scales", {result.groups, rows}, std::nullopt});
    result.suffixes = {".qweight", ".qzeros", ".scales"};
    return result;
  }

  std::string description() const override { return fmt::format("awq gemm, 4 bit, group {}", group_size_); }

 private:
  std::string where_;
  int64_t group_size_ = 128;
};

}  // namespace

std::unique_ptr<ForeignLayout> make_gptq_layout(const Json& settings, const std::string& where) {
  return std::make_unique<GptqLayout>(settings, where);
}

std::unique_ptr<ForeignLayout> make_awq_layout(const Json& settings, const std::string& where) {
  return std::make_unique<AwqLayout>(settings, where);
}

}  // namespace ockham
