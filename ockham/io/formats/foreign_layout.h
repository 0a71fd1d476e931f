// Linears of checkpoints that other tools compressed: compressed-tensors (pack-quantized, int-quantized,
// naive-quantized, float-quantized, and the legacy bitmask formats), GPTQ (v1, v2, planar), AWQ gemm, bitsandbytes
// int8, block fp8. Which linears are compressed is read off the tensors, so that ignore lists need no second
// interpretation; the byte layouts are in the files beside this one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/formats/gptq.h"
#include "ockham/io/formats/packed_words.h"
#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"

namespace ockham {

// Where tensors are found by full name: null for one that is not there.
using FindTensor = std::function<const TensorInfo*(const std::string&)>;

// For a linear X of R rows (outputs) and C columns, G groups:
enum class ForeignKind {
  // compressed-tensors: X.weight_packed I32 [R, words], X.weight_scale, with zeros X.weight_zero_point I32 [words over
  // the rows, G] packed like the codes, with an index X.weight_g_idx I32 [C]; codes are unsigned, zero 2^(bits-1)
  kWords,
  kInteger,  // X.weight I8 [R, C], X.weight_scale, with zeros X.weight_zero_point I8 as the scales
  kFloat8,   // X.weight F8_E4M3 [R, C], X.weight_scale
  // U8 bitmap [R, ceil(C/8)] and the stored values: X.weight.bitmask, X.weight.compressed [stored]; or X.bitmask,
  // X.compressed [R, C/2]
  kBitmask,
  kBitmask24,
  kGptq,          // see gptq.h; with an index X.g_idx
  kAwq,           // see awq.h
  kBitsandbytes,  // X.weight I8 [R, C], X.SCB F32 [R]: w = code * SCB / 127
  kBlockFloat8,   // X.weight F8_E4M3 [R, C], X.weight_scale_inv [blocks of rows, blocks of columns]
};

struct ForeignLinear {
  ForeignKind kind = ForeignKind::kWords;
  int64_t rows = 0, columns = 0;
  int64_t bits = 0, group_size = 0, groups = 1;  // of integers
  bool has_zeros = false, has_index = false, is_symmetric = true;
  WordLayout layout = WordLayout::kDense;
  GptqZeros zeros = GptqZeros::kStored;  // of kGptq, as the settings say
  std::vector<std::string> suffixes;     // of the linear's tensors, ".qweight" and so on
};

class ForeignLayout {
 public:
  virtual ~ForeignLayout() = default;
  // For a model directory's config.json (or the older quantize_config.json and quant_config.json beside it); null for a
  // plain model and for Ockham's own container. Error(kUnsupported) names a method that is not read.
  static std::unique_ptr<ForeignLayout> detect(const Json& config, const std::string& directory);

  // How a linear [rows, columns] is stored, shapes and types of its tensors checked; nothing where it is a plain
  // `.weight`. Error(kInput) names tensor, found and expected.
  virtual std::optional<ForeignLinear> check(const std::string& linear, int64_t rows, int64_t columns,
                                             const FindTensor& find) = 0;
  // In a few words, once all linears are checked: "gptq_v2, 4 bit, group 128, asymmetric".
  virtual std::string description() const = 0;
  // What the settings say of GPTQ's zero points, in words: "config.json, ...: key 'checkpoint_format' is 'gptq'".
  virtual std::string zeros_label() const { return ""; }
};

// "re:" and a pattern that must match from the start, an exact name, or "Linear" for all (compressed-tensors' targets).
bool matches_target(const std::string& target, const std::string& linear, const std::string& where);
// Whether the pattern matches from the start of the text. Error(kInput) for a broken one.
bool matches_pattern(const std::string& pattern, const std::string& text, const std::string& where);

struct ForeignTensor {
  std::string name;
  std::vector<int64_t> shape;  // -1: any size
  std::optional<DType> dtype;  // nothing: floating point
};
// The tensor, or Error(kInput) that names it.
const TensorInfo* expect_foreign(const FindTensor& find, const ForeignTensor& wanted);

// The rule behind ForeignLayout::detect for one method each.
std::unique_ptr<ForeignLayout> make_compressed_tensors_layout(const Json& settings, const std::string& where);
std::unique_ptr<ForeignLayout> make_gptq_layout(const Json& settings, const std::string& where);
std::unique_ptr<ForeignLayout> make_awq_layout(const Json& settings, const std::string& where);
std::unique_ptr<ForeignLayout> make_bitsandbytes_layout(const Json& settings, const std::string& where);
std::unique_ptr<ForeignLayout> make_fp8_layout(const Json& settings, const std::string& where);

}  // namespace ockham
