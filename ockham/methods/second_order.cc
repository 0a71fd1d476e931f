// Parameters and the shared factor of the second-order methods.
#include "ockham/methods/second_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ockham/core/clones.h"
#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

constexpr int64_t kSampleRows = 64;

// values[i] -= error * factors[i]
OCKHAM_CLONES void subtract_scaled(float* values, const float* factors, float error, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] -= error * factors[i];
}

}  // namespace

double walk_columns(Tensor& weights, const Tensor& upper, int64_t block,
                    const std::function<void(int64_t begin, int64_t end)>& begin_block,
                    const std::function<float(int64_t row, int64_t column, const float* values)>& choose) {
  const int64_t rows = weights.size(0), columns = weights.size(1);
  const float* u = upper.const_data_ptr<float>();
  float* w = weights.mutable_data_ptr<float>();
  std::vector<double> row_errors(static_cast<size_t>(rows), 0.0);
  for (int64_t begin = 0; begin < columns; begin += block) {
    const int64_t end = std::min(begin + block, columns), width = end - begin;
    begin_block(begin, end);
    const Tensor errors = at::empty({rows, width}, at::kFloat);
    float* e = errors.mutable_data_ptr<float>();
    parallel_rows(0, rows, 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) {
        float* values = w + row * columns;
        double sum = 0;
        for (int64_t c = begin; c < end; ++c) {
          const float* factors = u + c * columns;
          const float kept = choose(row, c, values + c);
          const float error = (values[c] - kept) / factors[c];
          e[row * width + c - begin] = error;
          sum += static_cast<double>(error) * error;
          values[c] = kept;
          subtract_scaled(values + c + 1, factors + c + 1, error, end - c - 1);
        }
        row_errors[static_cast<size_t>(row)] += sum;
      }
    });
    if (end == columns) break;
    Tensor rest = weights.narrow(1, end, columns - end);
    rest.addmm_(errors, upper.narrow(0, begin, width).narrow(1, end, columns - end), 1, -1);
  }
  double total = 0;
  for (const double error : row_errors) total += error;
  return total;
}

WalkErrors compare_walk(double squared_errors, const InverseFactor& factor, const Tensor& walked, const Tensor& plain,
                        const Tensor& gram) {
  const int64_t rows = plain.size(0), stride = rows / kSampleRows;
  if (stride > 1) {
    const Tensor sample = plain.slice(0, 0, rows, stride).contiguous();
    const Tensor errors = at::mm(sample, gram).mul_(sample).sum({1}, false, at::kDouble);
    const double scale = static_cast<double>(rows), count = static_cast<double>(errors.size(0));
    const double estimate = scale * errors.mean().item<double>();
    const double deviation = scale * errors.std().item<double>() / std::sqrt(count);
    // What the ridge added is taken out again; it did not count for columns of dead inputs.
    const Tensor changes = walked.square().sum({0}, false, at::kDouble).masked_fill_(gram.diagonal() == 0, 0);
    const double error = squared_errors - factor.ridge * changes.sum().item<double>();
    // 1 % for the precision of the walk's sum.
    if (std::abs(estimate - error) > 6 * deviation + 0.01 * estimate) return {error, estimate};
  }
  return {quadratic_error(walked, gram), quadratic_error(plain, gram)};
}

std::vector<ParamSpec> second_order_parameters() {
  return {real_spec("damping", "share of the Hessian's mean diagonal that is added to its diagonal", 0.01, 0, 1),
          int_spec("block_size", "columns that are walked before the columns behind them are updated", 128, 1, 65536)};
}

Tensor activation_order(const LayerStats& stats) {
  return at::argsort(stats.gram.diagonal(), /*stable=*/true, 0, /*descending=*/true);
}

const InverseFactor& inverse_factor(const LayerStats& stats, const Linear& linear, double damping,
                                    const Tensor& order) {
  OCKHAM_CHECK(stats.gram.defined() && stats.factors != nullptr);
  auto [it, is_new] = stats.factors->try_emplace({damping, order.defined()});
  if (is_new) {
    const Tensor gram = order.defined() ? stats.gram.index_select(0, order).index_select(1, order) : stats.gram;
    it->second = factor_inverse(gram, damping, linear.name.c_str());
    if (it->second.attempts > 1 && stats.note)
      stats.note(fmt::format("{}: the Hessian was not positive definite; damping raised from {:g} to {:g}", linear.name,
                             damping, it->second.damping));
  }
  return it->second;
}

}  // namespace ockham
