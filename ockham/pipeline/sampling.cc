// Argmax, temperature and nucleus sampling.
#include "ockham/pipeline/sampling.h"

#include <algorithm>
#include <numeric>

#include "ockham/core/draw.h"
#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

[[noreturn]] void refuse_nan() {
  throw_input("the model's logits are not numbers; its weights overflow this type, try --dtype float32");
}

// Many times faster than argmax of a narrow type: the maximum in lanes, then its first place.
int32_t first_maximum(const float* values, int64_t count) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, values[0]);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = std::max(lanes[lane], values[i + lane]);
  }
  float best = *std::max_element(lanes, lanes + kLanes);
  for (; i < count; ++i) best = std::max(best, values[i]);
  const float* place = std::find(values, values + count, best);
  if (place == values + count) refuse_nan();
  return static_cast<int32_t>(place - values);
}

int32_t draw(const float* probabilities, int64_t count, double uniform) {
  const int32_t id = draw_index(probabilities, count, uniform);
  if (id < 0) refuse_nan();
  return id;
}

// The smallest set of most likely ids whose probabilities reach top_p (equal ones: lower id first), renormalised.
int32_t draw_nucleus(const float* probabilities, int64_t count, double top_p, double uniform) {
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return probabilities[a] > probabilities[b]; });
  double mass = 0;
  size_t kept = 0;
  while (kept < order.size() && mass < top_p) mass += probabilities[order[kept++]];
  if (!(mass > 0)) refuse_nan();
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
  const bool all_greedy =
      std::all_of(rows.begin(), rows.end(), [](const SamplingRow& row) { return row.temperature == 0; });
  const Tensor values = logits.to(at::kCPU, at::kFloat).contiguous();
  const int64_t count = values.size(1);
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].temperature == 0)
      ids[r] = first_maximum(values.data_ptr<float>() + static_cast<int64_t>(r) * count, count);
  }
  if (all_greedy) return ids;

  std::vector<float> inverse;
  for (const SamplingRow& row : rows)
    inverse.push_back(row.temperature > 0 ? static_cast<float>(1 / row.temperature) : 1.0F);
  const Tensor scale = at::tensor(inverse).unsqueeze(1);
  const Tensor probabilities = at::softmax(values * scale, -1).contiguous();
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
