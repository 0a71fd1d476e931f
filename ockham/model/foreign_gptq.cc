// GPTQ and AWQ checkpoints.
#include <fmt/format.h>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/formats/awq.h"
#include "ockham/io/formats/gptq.h"
#include "ockham/model/foreign_readers.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

struct GptqSettings {
  int64_t bits = 4, group_size = 128;
  bool is_symmetric = true;
};
struct GptqShape {
  GptqSettings settings;
  int64_t rows = 0, columns = 0, group_size = 0, groups = 0;
  bool has_index = false;
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

class GptqReader : public ForeignReader {
 public:
  GptqReader(const Json& settings, const std::string& where) : settings_(settings), where_(where) {
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
    layout_ = format_ == "gptq_p" ? WordLayout::kPlanar : WordLayout::kDense;
  }

  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                 const FindTensor& find) override {
    if (find(linear + ".qweight") == nullptr) return {};
    GptqShape shape;
    shape.settings = settings_of(linear);
    shape.rows = rows;
    shape.columns = columns;
    const int64_t bits = shape.settings.bits;
    shape.group_size = shape.settings.group_size < 0 ? columns : std::min(columns, shape.settings.group_size);
    if (bits < 2 || bits > 8 || shape.group_size < 1 || rows * bits % 32 != 0 || columns * bits % 32 != 0 ||
        (layout_ == WordLayout::kPlanar && (rows % 32 != 0 || columns % 32 != 0))) {
      throw_input("{}: {} bits in groups of {} do not fit {} [{}, {}]; correct the settings", where_, bits,
                  shape.settings.group_size, linear, rows, columns);
    }
    shape.groups = ceil_div(columns, shape.group_size);
    expect_foreign(find, {linear + ".qweight", {columns * bits / 32, rows}, DType::kI32});
    expect_foreign(find, {linear + ".qzeros", {shape.groups, rows * bits / 32}, DType::kI32});
    expect_foreign(find, {linear + ".scales", {shape.groups, rows}, std::nullopt});
    std::vector<std::string> suffixes = {".qweight", ".qzeros", ".scales"};
    if (find(linear + ".g_idx") != nullptr) {
      expect_foreign(find, {linear + ".g_idx", {columns}, DType::kI32});
      suffixes.push_back(".g_idx");
      shape.has_index = true;
    }
    shapes_[linear] = shape;
    return suffixes;
  }

  Weight read(const std::string& linear, const LoadTensor& load) override {
    const GptqShape& shape = shapes_.at(linear);
    const int64_t bits = shape.settings.bits;
    const auto codes = unpack_gptq_codes(words_of(load(linear + ".qweight")), shape.rows, shape.columns, bits, layout_);
    const auto fields = unpack_gptq_zeros(words_of(load(linear + ".qzeros")), shape.rows, shape.groups, bits, layout_);
    const GptqZeros label = format_ == "gptq" ? GptqZeros::kStoredMinusOne : GptqZeros::kStored;
    const GptqZeros used = detect_gptq_zeros(fields, bits, shape.settings.is_symmetric, label);
    if (used != label && !is_warned_) {
      log_warning(
          fmt::format("{}: key 'checkpoint_format' is '{}', but the zero points of '{}' are those of {}; read so",
                      where_, format_, linear, used == GptqZeros::kStored ? "gptq_v2" : "gptq"));
      is_warned_ = true;
    }
    Tensor zeros = bytes_tensor(fields, shape.rows, shape.groups).to(at::kShort);
    if (used == GptqZeros::kStoredMinusOne) zeros += 1;
    GroupIntWeight weight = make_group_int(bits, shape.group_size, bytes_tensor(codes, shape.rows, shape.columns),
                                           load(linear + ".scales").t().contiguous(), zeros, linear);
    if (shape.has_index) read_index(linear, shape, load(linear + ".g_idx").to(at::kLong), weight);
    return weight;
  }

  std::string description() const override {
    return fmt::format("{}, {} bit, group {}, {}", format_, base_.bits, base_.group_size,
                       base_.is_symmetric ? "symmetric" : "asymmetric");
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

  static void read_index(const std::string& linear, const GptqShape& shape, const Tensor& index,
                         GroupIntWeight& weight) {
    const Tensor plain = at::arange(shape.columns).div(shape.group_size, "floor").to(at::kLong);
    if (at::equal(index, plain)) return;
    if (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= shape.groups) {
      throw_input("{}.g_idx: names groups {} to {}, expected 0 to {}; download the model again", linear,
                  index.min().item<int64_t>(), index.max().item<int64_t>(), shape.groups - 1);
    }
    weight.group_index = index;
  }

  Json settings_;
  std::string where_, format_;
  GptqSettings base_;
  WordLayout layout_ = WordLayout::kDense;
  std::map<std::string, GptqShape> shapes_;
  bool is_warned_ = false;
};

class AwqReader : public ForeignReader {
 public:
  AwqReader(const Json& settings, const std::string& where) : where_(where) {
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

  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                 const FindTensor& find) override {
    if (find(linear + ".qweight") == nullptr) return {};
    const int64_t group = group_size_ < 0 ? columns : std::min(columns, group_size_);
    if (group < 1 || rows % 8 != 0) {
      throw_input("{}: groups of {} do not fit {} [{}, {}]; correct the settings", where_, group_size_, linear, rows,
                  columns);
    }
    const int64_t groups = ceil_div(columns, group);
    expect_foreign(find, {linear + ".qweight", {columns, rows / 8}, DType::kI32});
    expect_foreign(find, {linear + ".qzeros", {groups, rows / 8}, DType::kI32});
    expect_foreign(find, {linear + ".scales", {groups, rows}, std::nullopt});
    shapes_[linear] = {rows, columns, group};
    return {".qweight", ".qzeros", ".scales"};
  }

  Weight read(const std::string& linear, const LoadTensor& load) override {
    const auto [rows, columns, group] = shapes_.at(linear);
    const auto codes = unpack_awq(words_of(load(linear + ".qweight")), rows);
    const auto zeros = unpack_awq(words_of(load(linear + ".qzeros")), rows);
    return make_group_int(4, group, bytes_tensor(codes, rows, columns), load(linear + ".scales").t().contiguous(),
                          bytes_tensor(zeros, rows, ceil_div(columns, group)), linear);
  }

  std::string description() const override { return fmt::format("awq gemm, 4 bit, group {}", group_size_); }

 private:
  struct Shape {
    int64_t rows, columns, group;
  };
  std::string where_;
  int64_t group_size_ = 128;
  std::map<std::string, Shape> shapes_;
};

}  // namespace

std::unique_ptr<ForeignReader> make_gptq_reader(const Json& settings, const std::string& where) {
  return std::make_unique<GptqReader>(settings, where);
}

std::unique_ptr<ForeignReader> make_awq_reader(const Json& settings, const std::string& where) {
  return std::make_unique<AwqReader>(settings, where);
}

}  // namespace ockham
