// Muon: momentum whose matrices are brought near the closest orthogonal one before they are applied (Jordan et al.
// 2024, "Muon: an optimizer for hidden layers in neural networks"), scaled to the size of an AdamW step (Liu et al.
// 2025, "Muon is scalable for LLM training"). For the matrices of the blocks; embeddings and norms stay with AdamW.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/train/engine.h"

namespace ockham {

struct MuonStep {
  float rate = 0, momentum = 0.95f, decay = 0;
  float gradient_scale = 1;      // of clipping
  at::Device device = at::kCPU;  // where the directions are computed; the buffers are in host memory
};

// Whether Muon takes this tensor.
bool is_muon_matrix(const ParameterSpan& span);
// One step on all of a model's Muon matrices; `momentum` is a flat buffer like the others. Equal shapes go together.
void muon_step(const ParameterLayout& layout, float* values, float* momentum, const float* gradients,
               const MuonStep& step);

// Five Newton-Schulz iterations on [n, R, C], on its device: all singular values near 1.
at::Tensor orthogonalize(const at::Tensor& matrices);

}  // namespace ockham
