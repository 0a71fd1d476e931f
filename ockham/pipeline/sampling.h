// Choosing the next token of every row of a batch.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/core/rng.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

struct SamplingRow {
  double temperature = 0;  // 0: argmax, the lowest id wins a tie
  double top_p = 1;
  Rng* rng = nullptr;  // one draw per token; unused at temperature 0
};
// logits [rows, V] -> one id per row.
std::vector<int32_t> sample_tokens(const Tensor& logits, const std::vector<SamplingRow>& rows);

}  // namespace ockham
