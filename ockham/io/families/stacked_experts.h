// Experts that lie in one tensor for all, as transformers 5 has them in memory and some tools save them: `experts.`
// gate_up_proj [E, 2 I, H] (gate before up) or gate_proj and up_proj [E, I, H], and down_proj [E, H, I]; dense, or the
// tensors of a compressed layout, each with E in front.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/safetensors.h"

namespace ockham {

// The tensors of single experts that `stacked` holds, under the names of the family, with their places in its file;
// empty for a tensor of another kind. Error(kInput) names a shape that does not fit.
std::vector<TensorInfo> split_stacked_experts(const ModelConfig& config, const TensorInfo& stacked,
                                              const std::string& where);

}  // namespace ockham
