// Linears in the layouts that vLLM, transformers and their relatives load. Codes are carried over bit for bit where the
// grid of the source fits the target; where it does not, they are rounded a second time, and the error of that is
// measured.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
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

  // Linears that share a tensor there: names, weights, and what makes one [R, x] of theirs.
  struct Parts {
    std::string module;  // whose tensors these are
    std::vector<std::pair<std::string, const Weight*>> linears;
    std::function<Tensor(const std::vector<Tensor>&)> join;
  };
  // The tensors of one module by suffix; `dtype` is that of a linear the format cannot hold, which stays `.weight`.
  // Error(kInput) where the source has zero points, the format has none and no width was named, naming the formats that
  // do, and where parts of one module have grids that no common one holds.
  std::vector<std::pair<std::string, Tensor>> pack(const Parts& parts, DType dtype);
  std::vector<std::pair<std::string, Tensor>> pack(const std::string& linear, const Weight& weight, DType dtype);
  // Puts quantization_config into `config`; gives further files by name (quantize_config.json). `plain`: modules that
  // hold a matrix and are not quantized, by name.
  std::map<std::string, std::string> finish(Json& config, const std::vector<std::string>& plain) const;

  const ConversionSummary& summary() const { return summary_; }

 private:
  struct Layout {
    int64_t bits = 0, group_size = 0;  // group_size -1: the whole row
    bool is_symmetric = true, has_index = false;
    auto operator<=>(const Layout&) const = default;
  };
  bool fits(int64_t rows, int64_t columns, int64_t bits, int64_t group_size) const;
  // `rows`: of the whole module.
  GroupIntWeight choose_codes(const std::string& linear, const Weight& weight, int64_t rows, bool& is_exact) const;
  GroupIntWeight round_again(const Weight& weight) const;
  // One grid for all parts without rounding, where there is one.
  bool unify(std::vector<GroupIntWeight>& grids) const;
  std::vector<std::pair<std::string, Tensor>> pack_group(const GroupIntWeight& weight) const;
  // The bits of the floats [R, C] and a scale for each row [R, 1].
  void pack_float(const std::string& linear, const Weight& weight, Tensor& codes, Tensor& scales);
  // Error(kUnsupported) for a format that would have to be rounded again without being asked for.
  void check_holds(const std::string& linear, const Weight& weight) const;
  // Layouts with whole rows joined to those of the same settings whose groups are as long as these rows.
  std::map<Layout, std::vector<std::string>> merged_layouts() const;
  Json compressed_tensors_config(const std::vector<std::string>& plain) const;
  Json gptq_config() const;
  Json awq_config(const std::vector<std::string>& plain) const;

  InterchangeOptions options_;
  bool rounds_again_ = false;  // a width was named: grids that do not fit may be rounded
  ConversionSummary summary_;
  std::map<Layout, std::vector<std::string>> layouts_;  // linears of each
  std::map<std::string, int64_t> columns_;              // of modules
  std::vector<std::string> dense_;
};

// A weight whose values are those of a group-int one as such: group-int, group-sparse, and int8 without kept columns.
std::optional<GroupIntWeight> as_group_int(const Weight& weight);
// The codes of `weight` in the middle of a symmetric grid of `bits`, or with its zeros where `keeps_zeros`; no
// rounding. False where they do not fit. Masked positions become the code of zero.
bool refit_codes(const GroupIntWeight& weight, int64_t bits, bool keeps_zeros, GroupIntWeight& result);
// Round to nearest, group by group: symmetric scale = max|w| / ((2^bits - 1) / 2), asymmetric scale = range / (2^bits -
// 1) with zero inside the range (the rules of compressed-tensors). The last group may be shorter.
GroupIntWeight round_to_grid(const Tensor& values, int64_t bits, int64_t group_size, bool is_symmetric);

}  // namespace ockham
