// Argmax, temperature and nucleus sampling.
#include "ockham/pipeline/sampling.h"

#include <algorithm>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// The first id at which the running sum of probabilities exceeds the draw.
int32_t draw(const float* probabilities, int64_t count, double uniform) {
  double sum = 0;
  int32_t last = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (probabilities[i] <= 0) continue;
    sum += probabilities[i];
    last = static_cast<int32_t>(i);
    if (sum > uniform) break;
  }
  return last;  // rounding may leave the sum just below 1
}

// The smallest set of most likely ids whose probabilities reach top_p (equal ones: lower id first), renormalised.
int32_t draw_nucleus(const float* probabilities, int64_t count, double top_p, double uniform) {
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return probabilities[a] > probabilities[b]; });
  double mass = 0;
  size_t kept = 0;
  while (kept < order.size() && mass < top_p) mass += probabilities[order[kept++]];
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    sum += probabilities[order[i]];
    if (sum > uniform * mass) return order[i];
  }
  return order[kept - 1];
}

}  // namespace

std::vector<int32_t> sample_tokens(const Tensor& logits, const std::vector<SamplingRow>& rows) {
  OCKHAM_CHECK(logits.size(0) == static_cast<int64_t>(rows.size()));
  std::vector<int32_t> ids(rows.size());
  const bool all_greedy = std::all_of(rows.begin(), rows.end(), [](const SamplingRow& row) { return row.temperature == 0; });
  const Tensor best = logits.argmax(-1).cpu();  // first index of several maxima
  const int64_t* id = best.data_ptr<int64_t>();
  std::transform(id, id + rows.size(), ids.begin(), [](int64_t value) { return static_cast<int32_t>(value); });
  if (all_greedy) return ids;

  std::vector<float> inverse;
  for (const SamplingRow& row : rows) inverse.push_back(row.temperature > 0 ? static_cast<float>(1 / row.temperature) : 1.0F);
  const Tensor scale = at::tensor(inverse).unsqueeze(1);
  const Tensor probabilities = at::softmax(logits.to(at::kCPU, at::kFloat) * scale, -1).contiguous();
  const int64_t count = logits.size(1);
  for (size_t r = 0; r < rows.size(); ++r) {
    const SamplingRow& row = rows[r];
    if (row.temperature == 0) continue;
    const float* line = probabilities.data_ptr<float>() + static_cast<int64_t>(r) * count;
    const double uniform = row.rng->uniform();
    ids[r] = row.top_p < 1 ? draw_nucleus(line, count, row.top_p, uniform) : draw(line, count, uniform);
  }
  return ids;
}

}  // namespace ockham
