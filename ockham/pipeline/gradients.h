// Gradients of the language-model loss with respect to the linears' weights, reduced to what methods ask for. The model
// goes by block by block, forwards and then backwards, so that one block is resident; the hidden states between the
// blocks, tokens * H numbers each, wait on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "ockham/methods/method.h"

namespace ockham {

// By name of linear. `read` gives a block any number of times; `model` holds at least embedding, last norm and head;
// ids int64 [samples, tokens]. In float32. `scratch`: the directory for the hidden states, or "" to keep them in
// memory. Error(kInput) where gradients are not finite.
std::map<std::string, GradientStats> measure_gradients(const Decoder& model, int64_t blocks,
                                                       const std::function<Block(int64_t)>& read, const Tensor& ids,
                                                       const std::string& scratch);

}  // namespace ockham
