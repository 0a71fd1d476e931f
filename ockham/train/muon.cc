// The Muon optimizer; see muon.h.
#include "ockham/train/muon.h"

#include <map>

#include "ockham/tensor/ops.h"
#include "ockham/train/attention.h"

namespace ockham {

bool is_muon_matrix(const ParameterSpan& span) {
  return span.columns > 0 && span.name.find(".layers.") != std::string::npos;
}

at::Tensor orthogonalize(const at::Tensor& matrices) {
  const bool is_tall = matrices.size(1) > matrices.size(2);
  at::Tensor x = is_tall ? matrices.transpose(1, 2) : matrices;
  x = (x / (at::linalg_vector_norm(x, 2, at::IntArrayRef{1, 2}, true) + 1e-7))
          .to(has_fast_bf16() || !matrices.is_cpu() ? at::kBFloat16 : at::kFloat);
  // The quintic's coefficients push small singular values up fast; the result scatters within about 0.3 around 1.
  for (int i = 0; i < 5; ++i) {
    const at::Tensor a = at::bmm(x, x.transpose(1, 2));
    const at::Tensor b = at::baddbmm(a, a, a, -4.7750, 2.0315);
    x = at::baddbmm(x, b, x, 3.4445, 1.0);
  }
  x = x.to(at::kFloat);
  return is_tall ? x.transpose(1, 2) : x;
}

void muon_step(const ParameterLayout& layout, float* values, float* momentum, const float* gradients,
               const MuonStep& step) {
  std::map<std::pair<int64_t, int64_t>, std::vector<const ParameterSpan*>> shapes;
  for (const ParameterSpan& span : layout.spans) {
    if (is_muon_matrix(span)) shapes[{span.rows, span.columns}].push_back(&span);
  }
  const auto view = [](const float* data, const ParameterSpan& span) {
    return at::from_blob(const_cast<float*>(data) + span.offset, {span.rows, span.columns},
                         at::TensorOptions().dtype(at::kFloat));
  };
  for (const auto& [shape, spans] : shapes) {
    std::vector<at::Tensor> updates;
    for (const ParameterSpan* span : spans) {
      const at::Tensor gradient = view(gradients, *span) * step.gradient_scale;
      at::Tensor mean = view(momentum, *span);
      mean.lerp_(gradient, 1 - step.momentum);
      updates.push_back(gradient.lerp(mean, step.momentum));
    }
    const at::Tensor directions = orthogonalize(at::stack(updates).to(step.device)).to(at::kCPU);
    // An AdamW step has a root mean square of about 0.2 of its rate; an orthogonal matrix one of 1 / sqrt(larger side).
    const double size = 0.2 * std::sqrt(static_cast<double>(std::max(shape.first, shape.second)));
    for (size_t i = 0; i < spans.size(); ++i) {
      at::Tensor value = view(values, *spans[i]);
      value.mul_(1 - step.rate * step.decay);
      value.sub_(directions[static_cast<int64_t>(i)], step.rate * size);
    }
  }
}

}  // namespace ockham
