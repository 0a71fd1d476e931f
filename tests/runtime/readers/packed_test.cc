// Ockham's container: every format against a decoding in double from docs/formats.md, with sizes that fill neither
// bytes nor groups; parts that do not fit each other are refused.
#include <gtest/gtest.h>

#include <functional>

#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

constexpr int64_t kHidden = 40, kInner = 52;

// A stream of small codes, the first from the lowest bit.
class BitStream {
 public:
  void add(uint32_t code, int64_t bits) {
    for (int64_t b = 0; b < bits; ++b, ++count_) {
      if (count_ % 8 == 0) bytes_ += '\0';
      if ((code >> b & 1) != 0)
        bytes_.back() = static_cast<char>(static_cast<uint8_t>(bytes_.back()) | 1U << count_ % 8);
    }
  }
  void end_byte() { count_ = (count_ + 7) / 8 * 8; }
  const std::string& bytes() const { return bytes_; }
  SmallTensor tensor(std::vector<int64_t> shape) const { return {DType::kU8, std::move(shape), bytes_}; }

 private:
  std::string bytes_;
  int64_t count_ = 0;
};

// A linear under construction: its record, its tensors by suffix, and the matrix that both mean.
struct PackedLinear {
  Json record;
  std::map<std::string, SmallTensor> parts;
  Numbers meant;
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : rng_(seed) {}
  uint32_t code(int64_t bits) { return static_cast<uint32_t>(rng_.below(uint64_t{1} << bits)); }
  bool coin(double share) { return rng_.uniform() < share; }
  SmallTensor floats(DType dtype, std::vector<int64_t> shape, double size = 0.1) {
    std::vector<float> values(static_cast<size_t>(count_of(shape)));
    for (float& value : values) value = static_cast<float>(rng_.normal() * size);
    return float_tensor(dtype, std::move(shape), values);
  }
  // A mask of rows, as bits and as flags.
  SmallTensor mask(int64_t rows, int64_t columns, double share, std::vector<bool>& flags) {
    BitStream bits;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        flags.push_back(coin(share));
        bits.add(flags.back() ? 1 : 0, 1);
      }
      // Bits beyond the columns mean nothing.
      for (int64_t c = columns; c % 8 != 0; ++c) bits.add(1, 1);
    }
    return bits.tensor({rows, (columns + 7) / 8});
  }

 private:
  Rng rng_;
};

struct GroupSettings {
  int64_t bits, group_size;
  bool is_symmetric = true, is_masked = false, is_indexed = false;
  DType dtype = DType::kF16;
  int64_t narrow_bits = 0;  // of every third row
  int64_t bits_of(int64_t row) const { return narrow_bits > 0 && row % 3 == 1 ? narrow_bits : bits; }
};

PackedLinear group_int(int64_t rows, int64_t columns, const GroupSettings& settings, Maker& make) {
  const auto [bits, group_size, is_symmetric, is_masked, is_indexed, dtype, narrow_bits] = settings;
  const int64_t groups = (columns + group_size - 1) / group_size;
  PackedLinear linear;
  linear.record = {{"format", "group-int"},    {"rows", rows},
                   {"columns", columns},       {"bits", bits},
                   {"group_size", group_size}, {"symmetric", is_symmetric},
                   {"masked", is_masked}};
  const SmallTensor scales = linear.parts[".scales"] = make.floats(dtype, {rows, groups});
  std::vector<int64_t> group_of(static_cast<size_t>(columns)), zeros;
  for (int64_t c = 0; c < columns; ++c) group_of[static_cast<size_t>(c)] = c / group_size;
  if (is_indexed) {
    linear.record["indexed"] = true;
    std::string index;
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t group = group_of[static_cast<size_t>(c)] = (c * 7 + 3) % groups;
      index += static_cast<char>(group);
      index += '\0';
    }
    linear.parts[".group_index"] = {DType::kU8, {columns, 2}, index};
  }
  BitStream zero_bits;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      zeros.push_back(is_symmetric ? int64_t{1} << (bits - 1) : make.code(settings.bits_of(r)));
      zero_bits.add(static_cast<uint32_t>(zeros.back()), bits);
    }
    zero_bits.end_byte();
  }
  if (!is_symmetric) linear.parts[".zeros"] = zero_bits.tensor({rows, (groups * bits + 7) / 8});
  std::vector<bool> kept;
  if (is_masked) linear.parts[".mask"] = make.mask(rows, columns, 0.4, kept);
  BitStream codes;
  linear.meant = {rows, columns, {}};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      if (is_masked && !kept[static_cast<size_t>(r * columns + c)]) {
        linear.meant.at.push_back(0);
        continue;
      }
      const uint32_t code = make.code(settings.bits_of(r));
      codes.add(code, settings.bits_of(r));
      const int64_t place = r * groups + group_of[static_cast<size_t>(c)];
      linear.meant.at.push_back(number_at(scales, place) *
                                static_cast<double>(static_cast<int64_t>(code) - zeros[static_cast<size_t>(place)]));
    }
    if (!is_masked) codes.end_byte();
  }
  const bool is_stream = is_masked || narrow_bits > 0;
  linear.parts[".codes"] = codes.tensor(is_stream ? std::vector<int64_t>{static_cast<int64_t>(codes.bytes().size())}
                                                  : std::vector<int64_t>{rows, (columns * bits + 7) / 8});
  if (narrow_bits == 0) return linear;
  linear.record["narrow_bits"] = narrow_bits;
  BitStream narrow;
  for (int64_t r = 0; r < rows; ++r) narrow.add(settings.bits_of(r) == narrow_bits ? 1 : 0, 1);
  linear.parts[".narrow"] = narrow.tensor({(rows + 7) / 8});
  return linear;
}

PackedLinear bitmap_sparse(int64_t rows, int64_t columns, DType dtype, double share, Maker& make) {
  PackedLinear linear;
  linear.record = {{"format", "bitmap-sparse"}, {"rows", rows}, {"columns", columns}};
  std::vector<bool> kept;
  linear.parts[".mask"] = make.mask(rows, columns, share, kept);
  const SmallTensor values = linear.parts[".values"] = make.floats(dtype, {std::count(kept.begin(), kept.end(), true)});
  linear.meant = {rows, columns, {}};
  int64_t next = 0;
  for (const bool is_kept : kept) linear.meant.at.push_back(is_kept ? number_at(values, next++) : 0);
  return linear;
}

PackedLinear int8(int64_t rows, int64_t columns, bool has_kept, Maker& make) {
  PackedLinear linear;
  linear.record = {{"format", "int8"}, {"rows", rows}, {"columns", columns}, {"threshold", 6.0}};
  const SmallTensor scales = linear.parts[".scales"] = make.floats(DType::kF32, {rows});
  std::string codes;
  linear.meant = {rows, columns, {}};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int code = static_cast<int>(make.code(8)) % 255 - 127;
      codes += static_cast<char>(code);
      linear.meant.at.push_back(code * number_at(scales, r));
    }
  }
  linear.parts[".codes"] = {DType::kU8, {rows, columns}, codes};
  if (!has_kept) return linear;
  linear.record["kept"] = true;
  std::vector<bool> kept;
  linear.parts[".kept"] = make.mask(1, columns, 0.1, kept);
  linear.parts[".kept"].shape = {(columns + 7) / 8};
  linear.parts[".kept_values"] = make.floats(DType::kF16, {rows, std::count(kept.begin(), kept.end(), true)});
  // The matrix is zero there.
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      if (kept[static_cast<size_t>(c)]) linear.meant.at[static_cast<size_t>(r * columns + c)] = 0;
  return linear;
}

// Sign, four bits of exponent (bias 7), three of mantissa.
double e4m3(uint32_t code) {
  const double sign = (code & 128) != 0 ? -1 : 1, mantissa = code & 7;
  const int exponent = static_cast<int>(code >> 3 & 15);
  return sign * (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
}

PackedLinear float8(int64_t rows, int64_t columns, int64_t tile_rows, int64_t tile_columns, Maker& make) {
  const int64_t across = (columns + tile_columns - 1) / tile_columns;
  PackedLinear linear;
  linear.record = {{"format", "float8"},
                   {"rows", rows},
                   {"columns", columns},
                   {"tile_rows", tile_rows},
                   {"tile_columns", tile_columns}};
  const SmallTensor scales = linear.parts[".scales"] =
      make.floats(DType::kF32, {(rows + tile_rows - 1) / tile_rows, across});
  std::string codes;
  linear.meant = {rows, columns, {}};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      uint32_t code = make.code(8);
      if ((code & 127) == 127) code ^= 1;
      codes += static_cast<char>(code);
      linear.meant.at.push_back(e4m3(code) * number_at(scales, r / tile_rows * across + c / tile_columns));
    }
  }
  linear.parts[".codes"] = {DType::kU8, {rows, columns}, codes};
  return linear;
}

PackedLinear nested_int(int64_t rows, int64_t columns, int64_t bits, int64_t group_size, bool is_masked, Maker& make) {
  const int64_t groups = (columns + group_size - 1) / group_size;
  PackedLinear linear;
  linear.record = {{"format", "nested-int"},   {"rows", rows},       {"columns", columns}, {"bits", bits},
                   {"group_size", group_size}, {"masked", is_masked}};
  const SmallTensor scales = linear.parts[".scales"] = make.floats(DType::kF16, {rows, groups}, 0.01);
  const SmallTensor lows = linear.parts[".lows"] = make.floats(DType::kF16, {rows, groups});
  std::vector<bool> kept;
  if (is_masked) linear.parts[".mask"] = make.mask(rows, columns, 0.5, kept);
  BitStream codes;
  linear.meant = {rows, columns, {}};
  const double step = std::ldexp(1, static_cast<int>(8 - bits));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const uint32_t code = make.code(bits);
      codes.add(code, bits);
      const int64_t place = r * groups + c / group_size;
      const double value = number_at(lows, place) + number_at(scales, place) * (code * step + (step - 1) / 2);
      linear.meant.at.push_back(is_masked && !kept[static_cast<size_t>(r * columns + c)] ? 0 : value);
    }
    codes.end_byte();
  }
  linear.parts[".codes"] = codes.tensor({rows, (columns * bits + 7) / 8});
  return linear;
}

PackedLinear group_sparse(int64_t rows, int64_t columns, int64_t bits, int64_t group_size, Maker& make) {
  const int64_t groups = columns / group_size;
  PackedLinear linear;
  linear.record = {
      {"format", "group-sparse"}, {"rows", rows}, {"columns", columns}, {"bits", bits}, {"group_size", group_size}};
  std::vector<bool> kept;
  linear.parts[".kept"] = make.mask(rows, groups, 0.5, kept);
  const int64_t count = std::count(kept.begin(), kept.end(), true);
  const SmallTensor scales = linear.parts[".scales"] = make.floats(DType::kBF16, {count});
  BitStream codes, zeros;
  linear.meant = {rows, columns, {}};
  int64_t next = 0;
  for (const bool is_kept : kept) {
    if (!is_kept) {
      linear.meant.at.insert(linear.meant.at.end(), static_cast<size_t>(group_size), 0);
      continue;
    }
    const uint32_t zero = make.code(bits);
    zeros.add(zero, bits);
    for (int64_t i = 0; i < group_size; ++i) {
      const uint32_t code = make.code(bits);
      codes.add(code, bits);
      linear.meant.at.push_back(number_at(scales, next) * (static_cast<double>(code) - zero));
    }
    ++next;
  }
  linear.parts[".codes"] = codes.tensor({static_cast<int64_t>(codes.bytes().size())});
  linear.parts[".zeros"] = zeros.tensor({static_cast<int64_t>(zeros.bytes().size())});
  return linear;
}

PackedLinear low_rank(int64_t rows, int64_t columns, int64_t rank, const PackedLinear* base, Maker& make) {
  PackedLinear linear;
  linear.record = {{"format", "low-rank"}, {"rows", rows}, {"columns", columns}, {"rank", rank}};
  const SmallTensor left = linear.parts[".left"] = make.floats(DType::kBF16, {rows, rank});
  const SmallTensor right = linear.parts[".right"] = make.floats(DType::kBF16, {rank, columns});
  linear.meant = {rows, columns, {}};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = base == nullptr ? 0 : base->meant(r, c);
      for (int64_t k = 0; k < rank; ++k) sum += number_at(left, r * rank + k) * number_at(right, k * columns + c);
      linear.meant.at.push_back(sum);
    }
  }
  if (base == nullptr) return linear;
  linear.record["base"] = base->record;
  for (const auto& [suffix, part] : base->parts) linear.parts[".base" + suffix] = part;
  return linear;
}

PackedLinear dense(int64_t rows, int64_t columns, Maker& make) {
  PackedLinear linear;
  linear.record = {{"format", "dense"}, {"rows", rows}, {"columns", columns}};
  linear.parts[".weight"] = make.floats(DType::kBF16, {rows, columns});
  linear.meant = numbers_of(linear.parts[".weight"]);
  return linear;
}

constexpr const char* kName = "model.layers.0.mlp.up_proj";

// A model whose up_proj is the linear.
SmallModel model_with(const PackedLinear& linear, Json settings = llama_settings(kHidden, kInner)) {
  settings["quantization_config"] = {
      {"quant_method", "ockham"}, {"format", "packed"}, {"version", 1}, {"modules", {{kName, linear.record}}}};
  SmallModel model(settings);
  model.tensors.erase(std::string(kName) + ".weight");
  for (const auto& [suffix, part] : linear.parts) model.tensors[kName + suffix] = part;
  return model;
}

const LinearSpec& up_of(const std::vector<LinearSpec>& specs) {
  return *std::find_if(specs.begin(), specs.end(), [](const LinearSpec& spec) { return spec.role == kUp; });
}

// Reads the linear out of a model; what its description must begin with.
void expect_read(const PackedLinear& linear, const std::string& description, double tolerance = 0) {
  SCOPED_TRACE(linear.record.dump());
  const Scratch scratch;
  model_with(linear).write(scratch.path());
  const ModelFiles files(scratch.path());
  EXPECT_EQ(files.layout(), "ockham, packed");
  const std::vector<LinearSpec> specs = block_linears(files.config(), 0);
  const KernelMatrix matrix = files.read_linear(0, up_of(specs));
  EXPECT_TRUE(matrix.description().starts_with(description)) << matrix.description();
  const Numbers found = numbers_of(matrix);
  if (tolerance == 0) return expect_equal(found, linear.meant, "up_proj");
  for (size_t i = 0; i < found.at.size(); ++i)
    ASSERT_NEAR(found.at[i], linear.meant.at[i], tolerance * std::abs(linear.meant.at[i])) << i;
}

TEST(PackedModel, GroupInt) {
  Maker make(1);
  for (const int64_t bits : {2, 3, 4, 5, 6, 7, 8}) {
    const std::string name = fmt::format("int{}", bits);
    expect_read(group_int(kInner, kHidden, {bits, 16}, make), name + " group 16");
    expect_read(group_int(kInner, kHidden, {bits, 16, false}, make), name + " group 16");
    expect_read(group_int(kInner, kHidden, {bits, 12, false, true}, make), name + " group 12");
    expect_read(group_int(kInner, kHidden, {bits, 16, true, true}, make), name + " group 16");
    expect_read(group_int(kInner, kHidden, {bits, 16, false, false, true}, make), name + " group 16");
    expect_read(group_int(kInner, kHidden, {bits, 16, false, true, true, DType::kF32}, make), name + " group 16");
    expect_read(group_int(kInner, kHidden, {bits, kHidden, true, false, false, DType::kBF16}, make), name + " per row");
  }
}

TEST(PackedModel, GroupIntWithRowsOfTwoWidths) {
  Maker make(10);
  for (const auto& [bits, narrow] : {std::pair<int64_t, int64_t>{8, 4}, {8, 2}, {6, 3}, {5, 4}}) {
    const PackedLinear linear = group_int(kInner, kHidden, {bits, 16, false, false, false, DType::kF16, narrow}, make);
    expect_read(linear, fmt::format("rows of int{} group 16, scales float16, zeros, int{}", bits, narrow));
  }
}

TEST(PackedModel, BitmapSparse) {
  Maker make(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (const double share : {0.02, 0.3, 0.9, 1.0})
      expect_read(bitmap_sparse(kInner, kHidden, dtype, share, make), "");
  expect_read(bitmap_sparse(kInner, kHidden, DType::kBF16, 0.3, make), "bfloat16, 3");
}

TEST(PackedModel, Float8) {
  Maker make(3);
  expect_read(float8(kInner, kHidden, 1, kHidden, make), "dense float32");
  expect_read(float8(kInner, kHidden, 16, 16, make), "dense float32");
  // In a model of 16 bits the products are rounded to those.
  const PackedLinear linear = float8(kInner, kHidden, 7, 9, make);
  Json settings = llama_settings(kHidden, kInner);
  settings["torch_dtype"] = "bfloat16";
  const Scratch scratch;
  model_with(linear, settings).write(scratch.path());
  const ModelFiles files(scratch.path());
  const std::vector<LinearSpec> specs = block_linears(files.config(), 0);
  const KernelMatrix matrix = files.read_linear(0, up_of(specs));
  EXPECT_EQ(matrix.description(), "dense bfloat16");
  const Numbers found = numbers_of(matrix);
  for (size_t i = 0; i < found.at.size(); ++i)
    ASSERT_NEAR(found.at[i], linear.meant.at[i], std::abs(linear.meant.at[i]) / 256);
}

TEST(PackedModel, NestedInt) {
  Maker make(4);
  for (const int64_t bits : {2, 4, 6, 8}) {
    expect_read(nested_int(kInner, kHidden, bits, 16, false, make), fmt::format("int{} group 16", bits));
    expect_read(nested_int(kInner, kHidden, bits, 16, true, make), "float32, ");
  }
}

TEST(PackedModel, GroupSparse) {
  Maker make(5);
  for (const int64_t bits : {2, 3, 4, 8})
    for (const int64_t size : {4, 8, 20, 40})
      expect_read(group_sparse(kInner, kHidden, bits, size, make), fmt::format("int{} group {}", bits, size));
}

TEST(PackedModel, LowRank) {
  Maker make(6);
  const std::vector<PackedLinear> bases = {dense(kInner, kHidden, make), group_int(kInner, kHidden, {4, 16}, make),
                                           bitmap_sparse(kInner, kHidden, DType::kBF16, 0.4, make),
                                           group_sparse(kInner, kHidden, 4, 8, make)};
  for (const PackedLinear& base : bases) expect_read(low_rank(kInner, kHidden, 5, &base, make), "");
  expect_read(low_rank(kInner, kHidden, 3, nullptr, make), "");
  expect_read(low_rank(kInner, kHidden, 0, bases.data(), make), "dense bfloat16");
  expect_read(low_rank(kInner, kHidden, 0, nullptr, make), "");
}

TEST(PackedModel, Int8SaysWhatItsInputsAre) {
  Maker make(7);
  for (const bool has_kept : {false, true}) {
    const PackedLinear linear = int8(kInner, kHidden, has_kept, make);
    expect_read(linear, "int8 per row");
    const PackedLinear corrected = low_rank(kInner, kHidden, 4, &linear, make);
    expect_read(corrected, "int8 per row");
    for (const PackedLinear& one : {linear, corrected}) {
      const Scratch scratch;
      model_with(one).write(scratch.path());
      const ModelFiles files(scratch.path());
      const std::vector<LinearSpec> specs = block_linears(files.config(), 0);
      const InputRule rule = files.read_input_rule(0, up_of(specs));
      EXPECT_TRUE(rule.rounds_tokens);
      EXPECT_EQ(rule.threshold, 6.0);
      EXPECT_EQ(rule.kept.empty(), !has_kept);
      EXPECT_FALSE(files.read_input_rule(0, specs.front()).rounds_tokens);
      if (!has_kept) continue;
      expect_equal(numbers_of(rule.kept_weights), numbers_of(linear.parts.at(".kept_values")), "kept");
      for (const int32_t column : rule.kept)
        EXPECT_EQ(
            static_cast<uint8_t>(linear.parts.at(".kept").bytes[static_cast<size_t>(column / 8)]) >> column % 8 & 1, 1);
    }
  }
}

// A part of a fused tensor stands under its own name, and its unpacked neighbours do so too.
TEST(PackedModel, PartsOfFusedTensors) {
  Maker make(8);
  Json settings = llama_settings(kHidden, kInner);
  settings["model_type"] = "phi3";
  const PackedLinear linear = group_int(kInner, kHidden, {4, 8}, make);
  SmallModel model = model_with(linear, settings);
  const SmallTensor fused = model.tensors.at("model.layers.0.mlp.gate_up_proj.weight");
  model.tensors.erase("model.layers.0.mlp.gate_up_proj.weight");
  SmallTensor gate = fused;
  gate.shape[0] = kInner;
  gate.bytes.resize(gate.bytes.size() / 2);
  model.tensors["model.layers.0.mlp.gate_proj.weight"] = gate;
  const Scratch scratch;
  model.write(scratch.path());
  const ModelFiles files(scratch.path());
  for (const LinearSpec& spec : block_linears(files.config(), 0)) {
    if (spec.role == kUp) expect_equal(numbers_of(files.read_linear(0, spec)), linear.meant, "up");
    if (spec.role == kGate) expect_equal(numbers_of(files.read_linear(0, spec)), numbers_of(gate), "gate");
  }
}

// Opens and reads the linear after a change; the error's text.
std::string refusal(PackedLinear linear, const std::function<void(PackedLinear&)>& change,
                    ErrorKind kind = ErrorKind::kInput) {
  change(linear);
  const Scratch scratch;
  model_with(linear).write(scratch.path());
  return error_text(
      [&] {
        const ModelFiles files(scratch.path());
        const std::vector<LinearSpec> specs = block_linears(files.config(), 0);
        files.read_input_rule(0, up_of(specs));
        files.read_linear(0, up_of(specs));
      },
      kind);
}

TEST(PackedModel, RefusesRecordsThatAreWrong) {
  Maker make(9);
  const PackedLinear linear = group_int(kInner, kHidden, {4, 16, false, true, true}, make);
  const auto set = [](const char* key, const Json& value) {
    return [=](PackedLinear& changed) { changed.record[key] = value; };
  };
  EXPECT_TRUE(has(refusal(linear, set("bits", 9)), {"config.json", kName, "'bits'", "9", "2 to 8"}));
  EXPECT_TRUE(has(refusal(linear, set("group_size", 0)), {kName, "'group_size'", "0", "1 to 40"}));
  EXPECT_TRUE(has(refusal(linear, set("rows", 51)), {kName, "[51, 40]", "[52, 40]"}));
  EXPECT_TRUE(has(refusal(linear, set("symmetric", 3)), {kName, "'symmetric'"}));
  EXPECT_TRUE(has(refusal(linear, set("format", "int9"), ErrorKind::kUnsupported), {kName, "'int9'", "bitmap-sparse"}));
}

TEST(PackedModel, RefusesPartsThatAreShort) {
  Maker make(10);
  const PackedLinear base = group_int(kInner, kHidden, {4, 16}, make);
  const PackedLinear linears[] = {group_int(kInner, kHidden, {3, 16, false, true, true}, make),
                                  bitmap_sparse(kInner, kHidden, DType::kBF16, 0.5, make),
                                  int8(kInner, kHidden, true, make),
                                  float8(kInner, kHidden, 16, 16, make),
                                  nested_int(kInner, kHidden, 4, 16, true, make),
                                  group_sparse(kInner, kHidden, 4, 8, make),
                                  low_rank(kInner, kHidden, 4, &base, make)};
  for (const PackedLinear& linear : linears) {
    for (const auto& [suffix, part] : linear.parts) {
      const auto shorten = [&, name = suffix](PackedLinear& changed) {
        SmallTensor& cut = changed.parts[name];
        const int64_t last = cut.shape.back(), before = count_of(cut.shape) / last;
        cut.shape.back() = last - 1;
        cut.bytes.resize(static_cast<size_t>(before * (last - 1) * dtype_size(cut.dtype)));
      };
      const std::string text = refusal(linear, shorten);
      EXPECT_TRUE(text.find(suffix) != std::string::npos || text.find("rest of the weight") != std::string::npos)
          << text;
      EXPECT_TRUE(has(refusal(linear, [&, name = suffix](PackedLinear& changed) { changed.parts.erase(name); }),
                      {kName + suffix, "missing"}));
      const auto retype = [&, name = suffix](PackedLinear& changed) {
        SmallTensor& cut = changed.parts[name];
        cut.dtype = cut.dtype == DType::kU8 ? DType::kI8 : dtype_size(cut.dtype) == 2 ? DType::kI16 : DType::kI32;
      };
      EXPECT_TRUE(has(refusal(linear, retype), {kName + suffix, "dtype", "expected"}));
    }
  }
}

TEST(PackedModel, RefusesContentsThatMeanNothing) {
  Maker make(11);
  const auto set_byte = [](const char* suffix, size_t at, uint8_t value) {
    return [=](PackedLinear& changed) { changed.parts[suffix].bytes[at] = static_cast<char>(value); };
  };
  const PackedLinear indexed = group_int(kInner, kHidden, {4, 16, true, false, true}, make);
  EXPECT_TRUE(has(refusal(indexed, set_byte(".group_index", 6, 3)), {kName, "group_index", "3", "0 to 2"}));
  const PackedLinear eight = float8(kInner, kHidden, 1, kHidden, make);
  EXPECT_TRUE(has(refusal(eight, set_byte(".codes", 5, 0xff)), {"model.safetensors", kName, "NaN"}));
  const PackedLinear nested = nested_int(kInner, kHidden, 4, 16, false, make);
  EXPECT_TRUE(has(refusal(nested, set_byte(".lows", 1, 0x7c)), {kName, ".lows", "non-finite"}));
}

}  // namespace
}  // namespace ockham
