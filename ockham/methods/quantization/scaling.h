// Moving a factor per channel from one operator of a block to the next without changing the block's function: what awq,
// smoothquant and the planted outliers do.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "ockham/methods/method.h"

namespace ockham {

// The inputs of a block's linears in a forward pass, [tokens, C].
class InputRecorder final : public LinearObserver {
 public:
  void observe(const Linear& linear, const Tensor& input) override { inputs_[linear.name] = input; }
  const Tensor& of(const Linear& linear) const { return inputs_.at(linear.name); }

 private:
  std::map<std::string, Tensor> inputs_;
};

using Places = std::vector<size_t>;  // of linears in their block
Places places_of(const Block& block, std::initializer_list<LinearRole> roles);
bool are_targets(const BlockInputs& inputs, const Block& block, const Places& places);

// An operator whose output channels can be divided, and the linears that read them and can be multiplied instead.
struct ChannelPair {
  enum class Source { kAttentionNorm, kValue, kMlpNorm, kUp };
  Source source;
  Places readers;
  size_t linear = 0;        // the place of v or up
  bool is_squared = false;  // squared ReLU lies between: the source is divided by the square root
  bool is_norm() const { return source == Source::kAttentionNorm || source == Source::kMlpNorm; }
};

// Every pair of the block, in the order of its forward. Left out: norms whose output is also the residual (opt-350m),
// values of shared heads, and ups behind an activation that no factor passes.
std::vector<ChannelPair> channel_pairs(const Block& block);

// The values of a linear that no earlier step packed; Error(kInput) names `method`, which must come first.
Tensor dense_values(const Linear& linear, const char* method);
// Divides the pair's source by `scales` [C] and multiplies its readers, a mixture's router and gate among them. A
// norm is divided by the scales next to these that are exact in the model's
// stored type, so that what is written computes what was calibrated. Returns what the readers were multiplied by.
Tensor rescale(Block& block, const ChannelPair& pair, const Tensor& scales, const char* method);

}  // namespace ockham
