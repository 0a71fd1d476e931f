// Values under a mask, without the others: what sparse formats store. ATen's own use one thread.
#pragma once

#include "ockham/tensor/tensor.h"

namespace ockham {

// The values [R, C] where mask [R, C] is true, row after row: [N].
Tensor keep_masked(const Tensor& values, const Tensor& mask);
// The other way: [R, C] with `kept` [N] where mask is true and zeros elsewhere. The mask has N true places.
Tensor spread_masked(const Tensor& kept, const Tensor& mask);

}  // namespace ockham
