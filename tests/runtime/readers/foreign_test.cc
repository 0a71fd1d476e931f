// Checkpoints of other tools, against the definitions of their layouts in plain loops: compressed-tensors, GPTQ, AWQ,
// bitsandbytes, block fp8; tensors that do not fit are refused by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "ockham/io/formats/gptq.h"
#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

constexpr int64_t kRows = 96, kColumns = 64;
constexpr const char* kName = "model.layers.0.mlp.up_proj";

// The linear of a model: its tensors by suffix, quantization_config, and the matrix that both mean.
struct Compressed {
  Json settings;
  std::map<std::string, SmallTensor> parts;
  Numbers meant;
};

SmallModel model_with(const Compressed& linear, Json settings = llama_settings(kColumns, kRows)) {
  settings["quantization_config"] = linear.settings;
  SmallModel model(settings);
  model.tensors.erase(std::string(kName) + ".weight");
  for (const auto& [suffix, part] : linear.parts) model.tensors[kName + suffix] = part;
  return model;
}

LinearSpec up_of(const ModelConfig& config) {
  const std::vector<LinearSpec> specs = block_linears(config, 0);
  return *std::find_if(specs.begin(), specs.end(), [](const LinearSpec& spec) { return spec.role == kUp; });
}

void expect_read(const Compressed& linear, const std::string& layout, const std::string& description) {
  SCOPED_TRACE(layout + ": " + linear.settings.dump());
  const Scratch scratch;
  model_with(linear).write(scratch.path());
  const ModelFiles files(scratch.path());
  EXPECT_EQ(files.layout(), layout);
  const LinearSpec spec = up_of(files.config());
  const KernelMatrix matrix = files.read_linear(0, spec);
  EXPECT_TRUE(matrix.description().starts_with(description)) << matrix.description();
  expect_equal(numbers_of(matrix), linear.meant, description);
  EXPECT_FALSE(files.read_input_rule(0, spec).rounds_tokens);
}

std::string refusal(Compressed linear, const std::function<void(Compressed&)>& change,
                    ErrorKind kind = ErrorKind::kInput) {
  change(linear);
  const Scratch scratch;
  model_with(linear).write(scratch.path());
  return error_text(
      [&] {
        const ModelFiles files(scratch.path());
        files.read_linear(0, up_of(files.config()));
      },
      kind);
}

class Maker {
 public:
  explicit Maker(uint64_t seed) : rng_(seed) {}
  uint32_t code(int64_t bits) { return static_cast<uint32_t>(rng_.below(uint64_t{1} << bits)); }
  std::vector<uint32_t> codes(int64_t count, int64_t bits) {
    std::vector<uint32_t> result;
    for (int64_t i = 0; i < count; ++i) result.push_back(code(bits));
    return result;
  }
  SmallTensor floats(DType dtype, std::vector<int64_t> shape) {
    std::vector<float> values(static_cast<size_t>(count_of(shape)));
    for (float& value : values) value = static_cast<float>(0.01 + rng_.uniform() * 0.1);
    return float_tensor(dtype, std::move(shape), values);
  }

 private:
  Rng rng_;
};

// Codes one after another; padded words hold whole codes only.
std::vector<uint32_t> words_of(const std::vector<uint32_t>& codes, int64_t bits, bool is_padded = false) {
  std::vector<uint32_t> words;
  int64_t at = 0;
  for (const uint32_t code : codes) {
    if (is_padded && 32 - at % 32 < bits) at += 32 - at % 32;
    for (int64_t b = 0; b < bits; ++b, ++at) {
      if (static_cast<size_t>(at / 32) >= words.size()) words.push_back(0);
      words[static_cast<size_t>(at / 32)] |= (code >> b & 1) << at % 32;
    }
  }
  return words;
}

SmallTensor word_tensor(const std::vector<uint32_t>& words, std::vector<int64_t> shape) {
  return bytes_tensor(DType::kI32, std::move(shape), words.data(), words.size() * 4);
}

// Lines of words, each line one after another, or the lines side by side: [words, lines].
SmallTensor packed_lines(const std::vector<std::vector<uint32_t>>& lines, bool is_transposed) {
  const size_t width = lines.front().size();
  std::vector<uint32_t> words;
  if (!is_transposed) {
    for (const auto& line : lines) words.insert(words.end(), line.begin(), line.end());
    return word_tensor(words, {static_cast<int64_t>(lines.size()), static_cast<int64_t>(width)});
  }
  for (size_t w = 0; w < width; ++w)
    for (const auto& line : lines) words.push_back(line[w]);
  return word_tensor(words, {static_cast<int64_t>(width), static_cast<int64_t>(lines.size())});
}

struct Grid {
  int64_t bits = 4, group_size = 32;
  bool is_symmetric = true, has_index = false;
};

// Codes [R][C], zeros [R][G] and the group of each column; the meaning follows.
struct Integers {
  Grid grid;
  int64_t groups = 1;
  std::vector<std::vector<uint32_t>> codes, zeros;
  std::vector<int64_t> group_of;

  Integers(const Grid& given, Maker& make) : grid(given), groups((kColumns + given.group_size - 1) / given.group_size) {
    for (int64_t r = 0; r < kRows; ++r) {
      codes.push_back(make.codes(kColumns, grid.bits));
      zeros.push_back(grid.is_symmetric
                          ? std::vector<uint32_t>(static_cast<size_t>(groups), uint32_t{1} << (grid.bits - 1))
                          : make.codes(groups, grid.bits));
    }
    for (int64_t c = 0; c < kColumns; ++c)
      group_of.push_back(grid.has_index ? (c * 5 + 1) % groups : c / grid.group_size);
  }
  // scales [R, G], or [G, R]
  Numbers meant(const SmallTensor& scales, bool is_transposed = false) const {
    Numbers result = {kRows, kColumns, {}};
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kColumns; ++c) {
        const int64_t g = group_of[static_cast<size_t>(c)];
        const auto row = static_cast<size_t>(r);
        const double step = static_cast<double>(codes[row][static_cast<size_t>(c)]) -
                            static_cast<double>(zeros[row][static_cast<size_t>(g)]);
        const double scale = count_of(scales.shape) == 1 ? number_at(scales, 0)
                             : is_transposed             ? number_at(scales, g * kRows + r)
                                                         : number_at(scales, r * groups + g);
        result.at.push_back(scale * step);
      }
    }
    return result;
  }
  SmallTensor index() const {
    std::vector<uint32_t> words(group_of.begin(), group_of.end());
    return word_tensor(words, {kColumns});
  }
  std::vector<std::vector<uint32_t>> zeros_by_group() const {
    std::vector<std::vector<uint32_t>> result(static_cast<size_t>(groups));
    for (size_t g = 0; g < result.size(); ++g)
      for (const auto& row : zeros) result[g].push_back(row[g]);
    return result;
  }
};

Json tensors_settings(const std::string& format, int64_t bits, const std::string& version = "0.20.0") {
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"version", version},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", {{"num_bits", bits}}}}}}},
          {"ignore", {"lm_head"}}};
}

Compressed pack_quantized(const Grid& grid, Maker& make, bool is_padded = false, bool has_one_scale = false) {
  const Integers integers(grid, make);
  Compressed linear;
  linear.settings = tensors_settings("pack-quantized", grid.bits, is_padded ? "0.17.1" : "0.20.0");
  std::vector<std::vector<uint32_t>> lines, zero_lines;
  for (const auto& row : integers.codes) lines.push_back(words_of(row, grid.bits, is_padded));
  linear.parts[".weight_packed"] = packed_lines(lines, false);
  const std::vector<int64_t> shape =
      has_one_scale ? std::vector<int64_t>{1} : std::vector<int64_t>{kRows, integers.groups};
  linear.parts[".weight_scale"] = make.floats(DType::kBF16, shape);
  const int64_t size[2] = {kRows, kColumns};
  linear.parts[".weight_shape"] = bytes_tensor(DType::kI64, {2}, size, sizeof size);
  if (!grid.is_symmetric) {
    for (const auto& line : integers.zeros_by_group()) zero_lines.push_back(words_of(line, grid.bits, is_padded));
    linear.parts[".weight_zero_point"] = packed_lines(zero_lines, true);
  }
  if (grid.has_index) linear.parts[".weight_g_idx"] = integers.index();
  linear.meant = integers.meant(linear.parts[".weight_scale"]);
  return linear;
}

TEST(CompressedTensors, PackedWords) {
  EXPECT_EQ(words_of({0, 1, 7, 8, 9, 10, 14, 15, 11, 5, 13, 3, 12, 4, 8, 9}, 4),
            (std::vector<uint32_t>{0xfea98710, 0x984c3d5b}));
  EXPECT_EQ(words_of({0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}, 3),
            (std::vector<uint32_t>{0x88fac688, 0x0000fac6}));
  EXPECT_EQ(words_of({0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}, 3, true),
            (std::vector<uint32_t>{0x08fac688, 0x0003eb1a}));
  Maker make(1);
  for (const int64_t bits : {2, 3, 4, 5, 6, 7, 8}) {
    for (const bool is_padded : {false, true}) {
      const std::string name = fmt::format("compressed-tensors, pack-quantized, {} bit, ", bits),
                        kind = fmt::format("int{} ", bits);
      expect_read(pack_quantized({bits, 32}, make, is_padded), name + "group 32, symmetric", kind + "group 32");
      expect_read(pack_quantized({bits, 32, false}, make, is_padded), name + "group 32, asymmetric", kind + "group 32");
      expect_read(pack_quantized({bits, 32, false, true}, make, is_padded), name + "group 32, asymmetric", kind);
      expect_read(pack_quantized({bits, kColumns}, make, is_padded, true), name + "whole rows, symmetric",
                  kind + "per row");
    }
  }
}

Compressed int_quantized(bool has_zeros, Maker& make) {
  const Integers integers({8, kColumns, !has_zeros}, make);
  Compressed linear;
  linear.settings = tensors_settings("int-quantized", 8);
  linear.parts[".weight_scale"] = make.floats(DType::kBF16, {kRows, 1});
  linear.parts[".weight"] = {DType::kI8, {kRows, kColumns}, ""};
  linear.parts[".weight_zero_point"] = {DType::kI8, {kRows, 1}, ""};
  for (size_t r = 0; r < kRows; ++r) {
    for (const uint32_t code : integers.codes[r])
      linear.parts[".weight"].bytes += static_cast<char>(static_cast<int>(code) - 128);
    linear.parts[".weight_zero_point"].bytes += static_cast<char>(static_cast<int>(integers.zeros[r][0]) - 128);
  }
  if (!has_zeros) linear.parts.erase(".weight_zero_point");
  linear.meant = integers.meant(linear.parts[".weight_scale"]);
  return linear;
}

TEST(CompressedTensors, Integers) {
  Maker make(2);
  expect_read(int_quantized(false, make), "compressed-tensors, int-quantized, 8 bit, whole rows, symmetric",
              "int8 per row");
  expect_read(int_quantized(true, make), "compressed-tensors, int-quantized, 8 bit, whole rows, asymmetric",
              "int8 per row");
}

double e4m3(uint32_t code) {
  const double sign = (code & 128) != 0 ? -1 : 1, mantissa = code & 7;
  const int exponent = static_cast<int>(code >> 3 & 15);
  return sign * (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
}

// Scales of this shape stand for equal blocks of rows and columns.
Compressed floats8(const Json& settings, const char* suffix, const std::vector<int64_t>& shape, Maker& make) {
  Compressed linear;
  linear.settings = settings;
  const SmallTensor scales = linear.parts[suffix] = make.floats(DType::kF32, shape);
  const int64_t down = shape.size() == 2 ? shape[0] : 1, across = shape.size() == 2 ? shape[1] : 1;
  const int64_t tall = (kRows + down - 1) / down, wide = (kColumns + across - 1) / across;
  linear.parts[".weight"] = {DType::kF8E4M3, {kRows, kColumns}, ""};
  linear.meant = {kRows, kColumns, {}};
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const uint32_t code = make.code(8) & 0xbe;
      linear.parts[".weight"].bytes += static_cast<char>(code);
      linear.meant.at.push_back(e4m3(code) * number_at(scales, r / tall * across + c / wide));
    }
  }
  return linear;
}

const Json kBlockFp8 = {{"quant_method", "fp8"}, {"weight_block_size", {16, 16}}};

TEST(CompressedTensors, Floats) {
  Maker make(3);
  const Json settings = tensors_settings("float-quantized", 8);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{kRows, 1}, std::vector<int64_t>{1}, std::vector<int64_t>{7, 5}}) {
    const Compressed linear = floats8(settings, ".weight_scale", shape, make);
    const Scratch scratch;
    model_with(linear).write(scratch.path());
    const ModelFiles files(scratch.path());
    const KernelMatrix matrix = files.read_linear(0, up_of(files.config()));
    EXPECT_EQ(matrix.description(), "dense float32");
    expect_equal(numbers_of(matrix), linear.meant, "floats");
  }
  expect_read(floats8(kBlockFp8, ".weight_scale_inv", {6, 4}, make), "fp8 with block scales", "dense float32");
}

// Two of every four columns, or any; the worked example is in the first row.
Compressed bitmask(bool is_24, Maker& make) {
  Compressed linear;
  linear.settings = tensors_settings(is_24 ? "sparse-24-bitmask" : "sparse-bitmask", 8);
  const std::string base = is_24 ? "" : ".weight";
  std::string bits;
  linear.meant = {kRows, kColumns, {}};
  std::vector<float> values;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; c += 8) {
      uint32_t byte = make.code(8);
      if (is_24) byte = 0x33U << make.code(1) * 2 & 0xffU;
      if (r == 0 && c == 0) byte = 0x9a;
      bits += static_cast<char>(byte);
      for (int b = 0; b < 8; ++b) {
        const bool is_kept = (byte >> b & 1) != 0;
        if (is_kept) values.push_back(static_cast<float>(values.size() % 61) - 30);
        linear.meant.at.push_back(is_kept ? values.back() : 0);
      }
    }
  }
  const auto count = static_cast<int64_t>(values.size());
  linear.parts[base + ".bitmask"] = {DType::kU8, {kRows, kColumns / 8}, bits};
  linear.parts[base + ".compressed"] = float_tensor(
      DType::kBF16, is_24 ? std::vector<int64_t>{kRows, kColumns / 2} : std::vector<int64_t>{count}, values);
  return linear;
}

TEST(CompressedTensors, Bitmasks) {
  Maker make(4);
  expect_read(bitmask(false, make), "compressed-tensors, sparse-bitmask", "");
  expect_read(bitmask(true, make), "compressed-tensors, sparse-24-bitmask", "bfloat16, 49");
}

struct GptqCase {
  Grid grid;
  std::string format = "gptq_v2";
  std::string label = {};  // where it is not the format
};

Compressed gptq(const GptqCase& wanted, Maker& make) {
  const Grid& grid = wanted.grid;
  const Integers integers(grid, make);
  Compressed linear;
  linear.settings = {
      {"quant_method", "gptq"},        {"bits", grid.bits},
      {"group_size", grid.group_size}, {"sym", grid.is_symmetric},
      {"desc_act", grid.has_index},    {"checkpoint_format", wanted.label.empty() ? wanted.format : wanted.label}};
  std::vector<std::vector<uint32_t>> fields = integers.zeros_by_group();
  Integers meant = integers;
  if (wanted.format == "gptq") {
    // Stored is what the zero point is less one, so 2^bits - 1 means 2^bits.
    for (auto& line : fields)
      for (uint32_t& field : line) field = (field + (uint32_t{1} << grid.bits) - 1) % (uint32_t{1} << grid.bits);
    for (auto& row : meant.zeros)
      for (uint32_t& zero : row)
        if (zero == 0) zero = uint32_t{1} << grid.bits;
  }
  std::vector<std::vector<uint32_t>> lines, zero_lines;
  const auto pack = [&](const std::vector<uint32_t>& codes) {
    if (wanted.format != "gptq_p") return words_of(codes, grid.bits);
    const std::vector<uint8_t> bytes(codes.begin(), codes.end());
    std::vector<uint32_t> words(codes.size() * static_cast<size_t>(grid.bits) / 32);
    pack_words(bytes, grid.bits, WordLayout::kPlanar, words);
    return words;
  };
  for (const auto& row : integers.codes) lines.push_back(pack(row));
  for (const auto& line : fields) zero_lines.push_back(pack(line));
  linear.parts[".qweight"] = packed_lines(lines, true);
  linear.parts[".qzeros"] = packed_lines(zero_lines, false);
  linear.parts[".scales"] = make.floats(DType::kF16, {integers.groups, kRows});
  linear.parts[".g_idx"] = integers.index();
  linear.meant = meant.meant(linear.parts[".scales"], true);
  return linear;
}

TEST(Gptq, CodesZerosAndOrder) {
  EXPECT_EQ(words_of({7, 3, 10, 13, 15, 0, 11, 11}, 4)[0], 0xbb0fda37U);
  Maker make(5);
  for (const int64_t bits : {2, 3, 4, 8}) {
    for (const std::string format : {"gptq", "gptq_v2"}) {
      const std::string layout = fmt::format("{}, {} bit, group 32, ", format, bits),
                        kind = fmt::format("int{} ", bits);
      expect_read(gptq({{bits, 32}, format}, make), layout + "symmetric", kind);
      expect_read(gptq({{bits, 32, true, true}, format}, make), layout + "symmetric", kind);
      // In v1 the largest field of 8 bits has no zero point that a byte holds.
      if (bits == 8 && format == "gptq") continue;
      expect_read(gptq({{bits, 32, false}, format}, make), layout + "asymmetric", kind);
      expect_read(gptq({{bits, 32, false, true}, format}, make), layout + "asymmetric", kind);
    }
  }
  for (const int64_t bits : {3, 5, 6, 7})
    expect_read(gptq({{bits, 32, false}, "gptq_p"}, make), fmt::format("gptq_p, {} bit, group 32, asymmetric", bits),
                "");
}

TEST(Gptq, ReadsMislabelledZeros) {
  Maker make(6);
  expect_read(gptq({{4, 32}, "gptq_v2", "gptq"}, make), "gptq, 4 bit, group 32, symmetric", "int4 ");
  expect_read(gptq({{4, 32}, "gptq", "gptq_v2"}, make), "gptq_v2, 4 bit, group 32, symmetric", "int4 ");
}

TEST(Gptq, SettingsMayLieBesideTheConfig) {
  Maker make(7);
  const Compressed linear = gptq({{4, 32}}, make);
  SmallModel model = model_with(linear);
  model.json.erase("quantization_config");
  const Scratch scratch;
  model.write(scratch.path());
  scratch.put("quantize_config.json", linear.settings.dump());
  const ModelFiles files(scratch.path());
  EXPECT_EQ(files.layout(), "gptq_v2, 4 bit, group 32, symmetric");
  expect_equal(numbers_of(files.read_linear(0, up_of(files.config()))), linear.meant, "up");
}

Compressed awq(Maker& make) {
  constexpr int64_t kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  const Integers integers({4, 16, false}, make);
  Compressed linear;
  linear.settings = {
      {"quant_method", "awq"}, {"bits", 4}, {"group_size", 16}, {"zero_point", true}, {"version", "gemm"}};
  const auto pack = [&](int64_t lines, const std::function<uint32_t(size_t row, size_t line)>& code) {
    std::vector<uint32_t> words;
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t w = 0; w < kRows / 8; ++w) {
        words.push_back(0);
        for (int64_t i = 0; i < 8; ++i)
          words.back() |= code(static_cast<size_t>(8 * w + kOrder[i]), static_cast<size_t>(line)) << 4 * i;
      }
    }
    return word_tensor(words, {lines, kRows / 8});
  };
  linear.parts[".qweight"] = pack(kColumns, [&](size_t row, size_t line) { return integers.codes[row][line]; });
  linear.parts[".qzeros"] = pack(integers.groups, [&](size_t row, size_t line) { return integers.zeros[row][line]; });
  linear.parts[".scales"] = make.floats(DType::kF16, {integers.groups, kRows});
  linear.meant = integers.meant(linear.parts[".scales"], true);
  return linear;
}

TEST(Awq, NibblesInTheirOrder) {
  Maker make(8);
  expect_read(awq(make), "awq gemm, 4 bit, group 16", "int4 group 16");
}

TEST(Bitsandbytes, BytesAndMagnitudes) {
  Maker make(9);
  const Integers integers({8, kColumns}, make);
  Compressed linear = int_quantized(false, make);
  linear.settings = {{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}};
  const SmallTensor largest = make.floats(DType::kF32, {kRows});
  linear.parts[".SCB"] = largest;
  linear.meant.at.clear();
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    const auto code = static_cast<int8_t>(linear.parts[".weight"].bytes[static_cast<size_t>(i)]);
    linear.meant.at.push_back(code * number_at(largest, i / kColumns) / 127);
  }
  linear.parts.erase(".weight_scale");
  expect_read(linear, "bitsandbytes, int8", "int8 per row");
}

// A fused projection is compressed as a whole; its parts are rows of it.
TEST(Foreign, PartsOfFusedLinears) {
  Maker make(10);
  const Compressed whole = pack_quantized({4, 32, false}, make);  // [96, 64]: gate above up
  Json settings = llama_settings(kColumns, kRows / 2);
  settings["model_type"] = "phi3";
  settings["quantization_config"] = whole.settings;
  SmallModel model(settings);
  const std::string name = "model.layers.0.mlp.gate_up_proj";
  model.tensors.erase(name + ".weight");
  for (const auto& [suffix, part] : whole.parts) model.tensors[name + suffix] = part;
  const Scratch scratch;
  model.write(scratch.path());
  const ModelFiles files(scratch.path());
  for (const LinearSpec& spec : block_linears(files.config(), 0)) {
    if (spec.role != kGate && spec.role != kUp) continue;
    Numbers part = {kRows / 2, kColumns, {}};
    const int64_t first = spec.role == kGate ? 0 : kRows / 2 * kColumns;
    part.at.assign(whole.meant.at.begin() + first, whole.meant.at.begin() + first + kRows / 2 * kColumns);
    expect_equal(numbers_of(files.read_linear(0, spec)), part, spec.name);
  }
}

TEST(Foreign, RefusesWhatDoesNotFit) {
  Maker make(11);
  const auto without = [](const std::string& suffix) {
    return [=](Compressed& linear) { linear.parts.erase(suffix); };
  };
  const auto retyped = [](const std::string& suffix) {
    return [=](Compressed& linear) { linear.parts[suffix].dtype = DType::kU32; };
  };
  const Compressed packed = pack_quantized({4, 32, false, true}, make);
  EXPECT_TRUE(has(refusal(packed, without(".weight_scale")), {kName, ".weight_scale", "missing", "download"}));
  EXPECT_TRUE(has(refusal(packed, retyped(".weight_packed")), {".weight_packed", "U32", "I32"}));
  EXPECT_TRUE(has(refusal(packed,
                          [](Compressed& linear) {
                            linear.parts[".weight_packed"].shape = {kRows * 8, 1};
                          }),
                  {".weight_packed", "[768,1]", "[96,"}));
  EXPECT_TRUE(has(refusal(packed, [](Compressed& linear) { linear.parts[".weight_g_idx"].bytes[0] = 2; }),
                  {".weight_g_idx", "groups 0 to 2", "0 to 1"}));
  EXPECT_TRUE(has(refusal(packed, [](Compressed& linear) { linear.settings["config_groups"] = Json::object(); }),
                  {"config.json", "config_groups", kName}));
  EXPECT_TRUE(has(refusal(packed,
                          [](Compressed& linear) {
                            const uint16_t infinite = 0x7f80;
                            std::memcpy(linear.parts[".weight_scale"].bytes.data(), &infinite, 2);
                          }),
                  {".weight_scale", "non-finite"}));
  const Compressed two = gptq({{4, 32, true, true}}, make);
  for (const char* suffix : {".qzeros", ".scales"})
    EXPECT_TRUE(has(refusal(two, without(suffix)), {kName, suffix, "missing"}));
  EXPECT_TRUE(has(refusal(two, retyped(".qweight")), {".qweight", "U32", "I32"}));
  EXPECT_TRUE(has(refusal(two, [](Compressed& linear) { linear.parts[".g_idx"].bytes[3] = '\x80'; }),
                  {".g_idx", "groups -", "0 to 1"}));
  EXPECT_TRUE(has(refusal(two, [](Compressed& linear) { linear.settings["bits"] = 9; }), {"9 bits", "config.json"}));
  EXPECT_TRUE(has(refusal(awq(make), without(".qzeros")), {".qzeros", "missing"}));
  EXPECT_TRUE(
      has(refusal(bitmask(false, make), [](Compressed& linear) { linear.parts[".weight.bitmask"].bytes[3] ^= 1; }),
          {".compressed", "values", "expected"}));
  EXPECT_TRUE(has(refusal(floats8(kBlockFp8, ".weight_scale_inv", {6, 4}, make),
                          [](Compressed& linear) { linear.parts[".weight"].bytes[9] = 0x7f; }),
                  {".weight", "NaN"}));
  EXPECT_TRUE(
      has(refusal(
              two, [](Compressed& linear) { linear.settings["quant_method"] = "mxfp4"; }, ErrorKind::kUnsupported),
          {"'mxfp4'", "compressed-tensors, gptq, awq"}));
}

}  // namespace
}  // namespace ockham
