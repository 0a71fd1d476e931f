// Linears in the layouts that vLLM, transformers and their relatives load. Codes are carried over bit for bit where the
// grid of the source fits the target; where it does not, they are rounded a second time, and the error of that is
// measured.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/model/conversion_summary.h"
#include "ockham/model/weight.h"

namespace ockham {

struct InterchangeOptions {
  // "compressed-tensors" (pack-quantized, 4 or 8 bit), "int8" (int-quantized, W8A8 with dynamic activations), "fp8"
  // (float-quantized weights), "gptq", "gptq_v2", "awq".
  std::string format;
  int64_t bits = 0;          // of weights without a grid that fits; 0: 4, or the one width the format has
  int64_t group_size = 128;  // of these; a width that it does not divide takes the whole row
  bool asymmetric = false;   // allow zero points in compressed-tensors, which transformers 5 does not load
};

class InterchangeWriter {
 public:
  explicit InterchangeWriter(const InterchangeOptions& options);

  // The tensors of one linear by suffix; `dtype` is that of a linear the format cannot hold, which stays `.weight`.
  // Error(kInput) where the source has zero points, the format has none and no width was named, naming the formats that
  // do.
  std::vector<std::pair<std::string, Tensor>> pack(const std::string& linear, const Weight& weight, DType dtype);
  // Puts quantization_config into `config`; gives further files by name (quantize_config.json).
  std::map<std::string, std::string> finish(Json& config) const;

  const ConversionSummary& summary() const { return summary_; }

 private:
  struct Layout {
    int64_t bits = 0, group_size = 0;  // group_size -1: the whole row
    bool is_symmetric = true, has_index = false;
    auto operator<=>(const Layout&) const = default;
  };
  bool fits(const Weight& weight, int64_t bits, int64_t group_size) const;
  GroupIntWeight choose_codes(const std::string& linear, const Weight& weight, bool& is_exact) const;
  std::vector<std::pair<std::string, Tensor>> pack_group(const GroupIntWeight& weight) const;
  std::vector<std::pair<std::string, Tensor>> pack_float(const Weight& weight, Tensor& written) const;
  // Layouts with whole rows joined to those of the same settings whose groups are as long as these rows.
  std::map<Layout, std::vector<std::string>> merged_layouts() const;
  Json compressed_tensors_config() const;
  Json gptq_config() const;
  Json awq_config() const;

  InterchangeOptions options_;
  bool rounds_again_ = false;  // a width was named: grids that do not fit may be rounded
  ConversionSummary summary_;
  std::map<Layout, std::vector<std::string>> layouts_;  // linears of each
  std::map<std::string, int64_t> columns_;
  std::vector<std::string> dense_;
};

// The codes of `weight` in the middle of a symmetric grid of `bits`, or with its zeros where `keeps_zeros`; no
// rounding. False where they do not fit. Masked positions become the code of zero.
bool refit_codes(const GroupIntWeight& weight, int64_t bits, bool keeps_zeros, GroupIntWeight& result);
// Round to nearest, group by group: symmetric scale = max|w| / ((2^bits - 1) / 2), asymmetric scale = range / (2^bits -
// 1) with zero inside the range (the rules of compressed-tensors). The last group may be shorter.
GroupIntWeight round_to_grid(const Tensor& values, int64_t bits, int64_t group_size, bool is_symmetric);

}  // namespace ockham
