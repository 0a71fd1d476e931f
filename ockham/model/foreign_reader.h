// Linears of checkpoints that other tools compressed, as weight formats. Which tensors they have, and what that means
// byte by byte, is in ockham/io/formats/foreign_layout.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ockham/io/formats/foreign_layout.h"
#include "ockham/io/json.h"
#include "ockham/model/weight.h"

namespace ockham {

// A tensor as it is stored, read with the shape that the check promised.
using LoadTensor = std::function<Tensor(const std::string&)>;

class ForeignReader {
 public:
  // The reader for a model directory's config.json; null for a plain model and for Ockham's own container.
  static std::unique_ptr<ForeignReader> detect(const Json& config, const std::string& directory);

  // The suffixes of the linear's tensors, ".qweight" and so on, with shapes and types checked against [rows, columns];
  // empty where the linear is a plain `.weight`. Error(kInput) names tensor, found and expected.
  std::vector<std::string> check(const std::string& linear, int64_t rows, int64_t columns, const FindTensor& find);
  // Of a linear for which check() gave suffixes.
  Weight read(const std::string& linear, const LoadTensor& load);
  // In a few words: "gptq_v2, 4 bit, group 128, asymmetric".
  std::string description() const { return layout_->description(); }

 private:
  Tensor read_gptq_zeros(const std::string& linear, const ForeignLinear& stored, const LoadTensor& load);
  std::unique_ptr<ForeignLayout> layout_;
  std::map<std::string, ForeignLinear> linears_;
  bool is_warned_ = false;
};

// Group-int from codes [R, C] and zeros [R, G] as they came from a file, zeros below 257: a zero of 2^bits (GPTQ v1
// stores zero - 1) takes one bit more. Scales [R, G] finite, or Error(kInput) naming `where`.
GroupIntWeight make_group_int(int64_t bits, int64_t group_size, Tensor codes, Tensor scales, const Tensor& zeros,
                              const std::string& where);

}  // namespace ockham
