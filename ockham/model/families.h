// Name maps of the model families: where a family keeps its tensors and which config keys Ockham does not compute.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ockham/model/config.h"

namespace ockham {

// Position of each linear inside Block::linears.
enum LinearRole : size_t { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown, kLinearRoles };

struct Family {
  std::string_view model_type, architecture;           // as config.json spells them
  std::string_view embedding, final_norm, head;        // tensor names without ".weight"
  std::string_view block;                              // prefix of block N, "{}" standing for N
  std::array<std::string_view, kLinearRoles> linears;  // below the prefix, in the order of LinearRole
  std::string_view input_norm, post_attention_norm;    // below the prefix
  std::vector<std::string_view> refused;               // config keys that must be absent, null or false
};

const std::vector<Family>& families();
// Null for an unknown model_type.
const Family* find_family(std::string_view model_type);
// "model.layers.3." for a family and 3.
std::string block_prefix(const Family& family, int64_t index);
// {R, C} of a linear.
std::pair<int64_t, int64_t> linear_shape(const ModelConfig& config, LinearRole role);
bool linear_has_bias(const ModelConfig& config, LinearRole role);

}  // namespace ockham
