// Linears of checkpoints that other tools compressed: compressed-tensors (pack-quantized, int-quantized,
// naive-quantized, float-quantized, and the legacy bitmask formats), GPTQ (v1, v2, planar), AWQ gemm, bitsandbytes
// int8, block fp8. The byte layouts are in ockham/io/formats; here they become weight formats. Which linears are
// compressed is read off the tensors, so that ignore lists need no second interpretation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/weight.h"

namespace ockham {

// Where the reader finds tensors by full name: null for one that is not there.
using FindTensor = std::function<const TensorInfo*(const std::string&)>;
// A tensor as it is stored, read with the shape that find() promised.
using LoadTensor = std::function<Tensor(const std::string&)>;

class ForeignReader {
 public:
  virtual ~ForeignReader() = default;
  // The reader for a model directory's config.json (or the older quantize_config.json and quant_config.json beside it);
  // null for a plain model and for Ockham's own container. Error(kUnsupported) names a method that is not read.
  static std::unique_ptr<ForeignReader> detect(const Json& config, const std::string& directory);

  // The suffixes of the linear's tensors, ".qweight" and so on, with shapes and types checked against [rows, columns];
  // empty where the linear is a plain `.weight`. Error(kInput) names tensor, found and expected.
  virtual std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns,
                                         const FindTensor& find) = 0;
  // Of a linear for which check() gave suffixes.
  virtual Weight read(const std::string& linear, const LoadTensor& load) = 0;
  // In a few words: "gptq_v2, 4 bit, group 128, asymmetric".
  virtual std::string description() const = 0;
};

// Group-int from codes [R, C] and zeros [R, G] as they came from a file, zeros below 257: a zero of 2^bits (GPTQ v1
// stores zero - 1) takes one bit more. Scales [R, G] finite, or Error(kInput) naming `where`.
GroupIntWeight make_group_int(int64_t bits, int64_t group_size, Tensor codes, Tensor scales, const Tensor& zeros,
                              const std::string& where);
// "re:" and a pattern that must match from the start, an exact name, or "Linear" for all (compressed-tensors' targets).
bool matches_target(const std::string& target, const std::string& linear, const std::string& where);

}  // namespace ockham
