// compressed-tensors checkpoints: packed, int8 and fp8 weights, and the legacy bitmask formats.
#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/formats/bitmask.h"
#include "ockham/io/formats/packed_words.h"
#include "ockham/model/foreign_readers.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

enum class Kind { kPacked, kInteger, kFloat, kBitmask, kBitmask24 };

struct Module {
  Kind kind = Kind::kPacked;
  int64_t rows = 0, columns = 0, bits = 0, groups = 1;
  std::vector<int64_t> scale_shape;
  bool has_zeros = false, has_index = false;
  WordLayout layout = WordLayout::kDense;
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Releases up to 0.17.1 pad words of 3, 5, 6 and 7 bit; asked only where the shape leaves it open.
bool pads_words(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return major == 0 && minor < 18;
}

// Scales [R, G] from any of the shapes [1], [1, 1], [R, 1], [R, G], or block scales spread over rows and columns.
Tensor spread_scales(const Tensor& scales, int64_t rows) {
  const Tensor flat = scales.dim() == 2 ? scales : scales.reshape({-1, 1});
  return flat.size(0) == rows ? flat : flat.expand({rows, flat.size(1)}).contiguous();
}

class CompressedTensorsReader : public ForeignReader {
 public:
  CompressedTensorsReader(const Json& settings, const std::string& where) : settings_(settings), where_(where) {
    format_ = json_text(settings, "format", where, "dense");
    version_ = json_text(settings, "version", where, "");
  }

  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                 const FindTensor& find) override {
    Module module;
    module.rows = rows;
    module.columns = columns;
    std::vector<std::string> suffixes;
    const TensorInfo* weight = find(linear + ".weight");
    if (find(linear + ".weight_packed") != nullptr) {
      suffixes = check_packed(linear, module, find);
    } else if (find(linear + ".weight.compressed") != nullptr || find(linear + ".compressed") != nullptr) {
      suffixes = check_bitmask(linear, module, find);
    } else if (weight != nullptr && (weight->dtype == DType::kI8 || weight->dtype == DType::kF8E4M3)) {
      module.kind = weight->dtype == DType::kI8 ? Kind::kInteger : Kind::kFloat;
      module.bits = 8;
      expect_foreign(find, {linear + ".weight", {rows, columns}, weight->dtype});
      check_scales(linear, module, find);
      suffixes = {".weight", ".weight_scale"};
      if (module.kind == Kind::kInteger && find(linear + ".weight_zero_point") != nullptr) {
        expect_foreign(find, {linear + ".weight_zero_point", module.scale_shape, DType::kI8});
        module.has_zeros = true;
        suffixes.push_back(".weight_zero_point");
      }
    } else {
      return {};
    }
    for (const char* extra : {".weight_shape", ".input_scale", ".input_zero_point", ".output_scale"}) {
      if (find(linear + extra) != nullptr) suffixes.push_back(extra);
    }
    modules_[linear] = module;
    return suffixes;
  }

  Weight read(const std::string& linear, const LoadTensor& load) override {
    const Module& module = modules_.at(linear);
    switch (module.kind) {
      case Kind::kPacked:
        return read_packed(linear, module, load);
      case Kind::kInteger:
        return read_integer(linear, module, load);
      case Kind::kFloat:
        return DenseWeight{read_float(linear, module, load)};
      default:
        return read_bitmask(linear, module, load);
    }
  }

  std::string description() const override {
    std::set<std::string> kinds;  // of the linears
    for (const auto& [linear, module] : modules_) {
      if (module.bits == 0) continue;
      const std::string rows = module.groups == 1 ? "whole rows" : fmt::format("group {}", group_size(module));
      kinds.insert(fmt::format("{} bit, {}, {}", module.bits, rows, module.has_zeros ? "asymmetric" : "symmetric"));
    }
    return fmt::format("compressed-tensors, {}{}{}", format_.empty() ? "dense" : format_, kinds.empty() ? "" : ", ",
                       fmt::join(kinds, " and "));
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

  void check_scales(const std::string& linear, Module& module, const FindTensor& find) const {
    const TensorInfo* scale = find(linear + ".weight_scale");
    if (scale == nullptr)
      throw_input("{}.weight_scale: is missing, expected beside the linear's codes; download the model again", linear);
    module.scale_shape = scale->shape;
    const std::vector<int64_t>& shape = scale->shape;
    const bool is_one = scale->elements() == 1;
    const bool is_rows =
        shape.size() == 2 && shape[0] == module.rows && shape[1] >= 1 && module.columns % shape[1] == 0;
    const bool is_block = module.kind == Kind::kFloat && shape.size() == 2 && shape[0] >= 1 && shape[1] >= 1 &&
                          shape[0] <= module.rows && shape[1] <= module.columns;
    if (!is_one && !is_rows && !is_block) {
      throw_input(
          "{}.weight_scale: has shape {}, expected [{}, groups] or one element; the settings and the weights are "
          "not of one model",
          linear, Json(shape).dump(), module.rows);
    }
    expect_foreign(find, {linear + ".weight_scale", shape, std::nullopt});
    module.groups = is_one ? 1 : shape[1];
  }

  std::vector<std::string> check_packed(const std::string& linear, Module& module, const FindTensor& find) const {
    module.bits = bits_of(linear);
    if (module.bits < 2 || module.bits > 8)
      throw_input("{}: 'num_bits' of {} is {}, expected 2 to 8", where_, linear, module.bits);
    const int64_t dense = packed_words(module.columns, module.bits, WordLayout::kDense);
    const int64_t padded = packed_words(module.columns, module.bits, WordLayout::kPadded);
    const TensorInfo* info = find(linear + ".weight_packed");
    const int64_t width = info->shape.size() == 2 ? info->shape[1] : -1;
    module.layout =
        width != dense || (padded == dense && pads_words(version_)) ? WordLayout::kPadded : WordLayout::kDense;
    const int64_t expected = module.layout == WordLayout::kDense ? dense : padded;
    expect_foreign(find, {linear + ".weight_packed", {module.rows, expected}, DType::kI32});
    check_scales(linear, module, find);
    std::vector<std::string> suffixes = {".weight_packed", ".weight_scale"};
    if (find(linear + ".weight_zero_point") != nullptr) {
      const int64_t lines = packed_words(module.rows, module.bits, module.layout);
      expect_foreign(find, {linear + ".weight_zero_point", {lines, module.groups}, DType::kI32});
      module.has_zeros = true;
      suffixes.push_back(".weight_zero_point");
    }
    if (find(linear + ".weight_g_idx") != nullptr) {
      expect_foreign(find, {linear + ".weight_g_idx", {module.columns}, DType::kI32});
      module.has_index = true;
      suffixes.push_back(".weight_g_idx");
    }
    return suffixes;
  }

  static std::vector<std::string> check_bitmask(const std::string& linear, Module& module, const FindTensor& find) {
    const int64_t width = ceil_div(module.columns, 8);
    if (find(linear + ".compressed") != nullptr) {
      module.kind = Kind::kBitmask24;
      expect_foreign(find, {linear + ".bitmask", {module.rows, width}, DType::kU8});
      expect_foreign(find, {linear + ".compressed", {module.rows, module.columns / 2}, std::nullopt});
      return {".bitmask", ".compressed", ".shape"};
    }
    module.kind = Kind::kBitmask;
    expect_foreign(find, {linear + ".weight.bitmask", {module.rows, width}, DType::kU8});
    expect_foreign(find, {linear + ".weight.compressed", {-1}, std::nullopt});
    return {".weight.bitmask", ".weight.compressed", ".weight.shape", ".weight.row_offsets"};
  }

  static int64_t group_size(const Module& module) { return ceil_div(module.columns, module.groups); }

  Weight read_packed(const std::string& linear, const Module& module, const LoadTensor& load) const {
    const Tensor words = load(linear + ".weight_packed");
    Tensor codes = at::empty({module.rows, module.columns}, at::kByte);
    const auto all = words_of(words);
    const auto width = static_cast<size_t>(words.size(1)), columns = static_cast<size_t>(module.columns);
    for (int64_t r = 0; r < module.rows; ++r) {
      unpack_words(all.subspan(static_cast<size_t>(r) * width, width), module.bits, module.layout,
                   {codes.mutable_data_ptr<uint8_t>() + r * module.columns, columns});
    }
    Tensor zeros;
    if (module.has_zeros) {
      const Tensor packed = load(linear + ".weight_zero_point").t().contiguous();  // [G, words]
      zeros = at::empty({module.groups, module.rows}, at::kByte);
      const auto lines = words_of(packed);
      const auto line = static_cast<size_t>(packed.size(1));
      for (int64_t g = 0; g < module.groups; ++g) {
        unpack_words(lines.subspan(static_cast<size_t>(g) * line, line), module.bits, module.layout,
                     {zeros.mutable_data_ptr<uint8_t>() + g * module.rows, static_cast<size_t>(module.rows)});
      }
      zeros = zeros.t().contiguous();
    }
    const Tensor scales = spread_scales(load(linear + ".weight_scale"), module.rows);
    GroupIntWeight weight = make_group_int(module.bits, group_size(module), codes, scales, zeros, linear);
    if (module.has_index) {
      const Tensor index = load(linear + ".weight_g_idx").to(at::kLong);
      if (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= module.groups)
        throw_input("{}.weight_g_idx: names a group beyond {}; download the model again", linear, module.groups - 1);
      weight.group_index = index;
    }
    return weight;
  }

  static Weight read_integer(const std::string& linear, const Module& module, const LoadTensor& load) {
    const Tensor codes = (load(linear + ".weight").to(at::kShort) + 128).to(at::kByte);
    Tensor zeros;
    if (module.has_zeros) zeros = spread_scales(load(linear + ".weight_zero_point"), module.rows).to(at::kShort) + 128;
    return make_group_int(8, group_size(module), codes, spread_scales(load(linear + ".weight_scale"), module.rows),
                          zeros, linear);
  }

  static Tensor read_float(const std::string& linear, const Module& module, const LoadTensor& load) {
    Tensor scales = load(linear + ".weight_scale").to(at::kFloat);
    if (!scales.isfinite().all().item<bool>())
      throw_input("{}.weight_scale: holds non-finite values; download the model again", linear);
    if (scales.dim() != 2) scales = scales.reshape({1, 1});
    const auto spread = [&scales](int64_t dimension, int64_t size) {
      const int64_t block = ceil_div(size, scales.size(dimension));
      scales = scales.repeat_interleave(block, dimension).narrow(dimension, 0, size);
    };
    spread(0, module.rows);
    spread(1, module.columns);
    return load(linear + ".weight").to(at::kFloat) * scales;
  }

  static Weight read_bitmask(const std::string& linear, const Module& module, const LoadTensor& load) {
    const std::string base = module.kind == Kind::kBitmask24 ? linear : linear + ".weight";
    const Tensor bits = load(base + ".bitmask");
    const auto stored = expand_bitmask({bits.const_data_ptr<uint8_t>(), static_cast<size_t>(bits.numel())}, module.rows,
                                       module.columns);
    SparseWeight weight{module.rows, module.columns, load(base + ".compressed").flatten(),
                        bytes_tensor(stored, module.rows, module.columns).to(at::kBool)};
    const int64_t expected = weight.mask.sum().item<int64_t>();
    if (weight.values.size(0) != expected) {
      throw_input("{}.compressed: has {} values, expected {} as its bitmask says; download the model again", base,
                  weight.values.size(0), expected);
    }
    if (!weight.values.isfinite().all().item<bool>())
      throw_input("{}.compressed: holds non-finite values; download the model again", base);
    return weight;
  }

  Json settings_;
  std::string where_, format_, version_;
  std::map<std::string, Module> modules_;
};

// bitsandbytes int8: `weight` I8 [R, C], `SCB` F32 [R] the largest magnitude of each row; w = q * SCB / 127, with the
// library's own reciprocal.
class BitsandbytesReader : public ForeignReader {
 public:
  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                 const FindTensor& find) override {
    const TensorInfo* weight = find(linear + ".weight");
    if (weight == nullptr || weight->dtype != DType::kI8) return {};
    expect_foreign(find, {linear + ".weight", {rows, columns}, DType::kI8});
    expect_foreign(find, {linear + ".SCB", {rows}, DType::kF32});
    std::vector<std::string> suffixes = {".weight", ".SCB"};
    if (find(linear + ".weight_format") != nullptr) suffixes.push_back(".weight_format");
    columns_[linear] = columns;
    return suffixes;
  }

  Weight read(const std::string& linear, const LoadTensor& load) override {
    constexpr float kReciprocal = 7.874015718698502e-3F;
    const Tensor codes = (load(linear + ".weight").to(at::kShort) + 128).to(at::kByte);
    return make_group_int(8, columns_.at(linear), codes, load(linear + ".SCB").unsqueeze(1) * kReciprocal, Tensor(),
                          linear);
  }

  std::string description() const override { return "bitsandbytes, int8"; }

 private:
  std::map<std::string, int64_t> columns_;
};

// fp8 with a scale for each block: w = q * weight_scale_inv.
class Fp8Reader : public ForeignReader {
 public:
  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                 const FindTensor& find) override {
    const TensorInfo* weight = find(linear + ".weight");
    if (weight == nullptr || weight->dtype != DType::kF8E4M3) return {};
    expect_foreign(find, {linear + ".weight", {rows, columns}, DType::kF8E4M3});
    const TensorInfo* scale = expect_foreign(find, {linear + ".weight_scale_inv", {-1, -1}, std::nullopt});
    for (const int i : {0, 1}) {
      const int64_t size = i == 0 ? rows : columns, blocks = scale->shape[static_cast<size_t>(i)];
      if (blocks < 1 || blocks > size || ceil_div(size, ceil_div(size, blocks)) != blocks)
        throw_input("{}.weight_scale_inv: has {} blocks over {}, which do not tile it", linear, blocks, size);
    }
    return {".weight", ".weight_scale_inv"};
  }

  Weight read(const std::string& linear, const LoadTensor& load) override {
    const Tensor codes = load(linear + ".weight").to(at::kFloat);
    Tensor scales = load(linear + ".weight_scale_inv").to(at::kFloat);
    for (const int64_t i : {0, 1}) {
      const int64_t block = ceil_div(codes.size(i), scales.size(i));
      scales = scales.repeat_interleave(block, i).narrow(i, 0, codes.size(i));
    }
    return DenseWeight{codes * scales};
  }

  std::string description() const override { return "fp8 with block scales"; }
};

}  // namespace

std::unique_ptr<ForeignReader> make_compressed_tensors_reader(const Json& settings, const std::string& where) {
  return std::make_unique<CompressedTensorsReader>(settings, where);
}

std::unique_ptr<ForeignReader> make_bitsandbytes_reader(const Json& settings, const std::string& where) {
  if (!json_flag(settings, "load_in_8bit", where, false)) {
    throw_error(ErrorKind::kUnsupported,
                "{}: is bitsandbytes 4 bit, expected load_in_8bit; take the uncompressed release", where);
  }
  return std::make_unique<BitsandbytesReader>();
}

std::unique_ptr<ForeignReader> make_fp8_reader(const Json& settings, const std::string& where) {
  if (!settings.contains("weight_block_size") || settings["weight_block_size"].is_null()) {
    throw_error(ErrorKind::kUnsupported,
                "{}: fp8 without weight_block_size, expected block scales; take the "
                "compressed-tensors release",
                where);
  }
  return std::make_unique<Fp8Reader>();
}

}  // namespace ockham
