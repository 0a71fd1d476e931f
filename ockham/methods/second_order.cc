// Parameters and the shared factor of the second-order methods.
#include "ockham/methods/second_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "ockham/core/clones.h"
#include "ockham/core/error.h"
#include "ockham/tensor/fused.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

constexpr int64_t kSampleRows = 64;
constexpr int64_t kPanel = 512;  // columns that are worth a matrix product of their own
constexpr int64_t kStrip = 512;  // rows that are worth one

// values[i] -= error * factors[i], in every lane.
OCKHAM_CLONES void subtract_scaled(float* values, const float* factors, const float* error, int64_t n) {
  float lanes[kWalkRows];
  for (int64_t lane = 0; lane < kWalkRows; ++lane) lanes[lane] = error[lane];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t lane = 0; lane < kWalkRows; ++lane) values[i * kWalkRows + lane] -= lanes[lane] * factors[i];
}

// One block of columns [begin, end) on its way.
struct WalkBlock {
  int64_t begin, end;
  const float* current;  // [R, end - begin], with every update from the columns before
  const float* upper;    // U of these columns
  float* weights;        // [R, C], replaced by the changes
  int64_t columns;       // C
};

// Rows [row, row + count), count <= kWalkRows. Returns the sum of squared errors; `scratch` has room for two blocks.
double walk_rows(const WalkBlock& block, int64_t row, int64_t count, const WalkChoice& choose, float* scratch) {
  const int64_t width = block.end - block.begin;
  float *values = scratch, *kept = scratch + width * kWalkRows;
  std::fill(scratch, scratch + 2 * width * kWalkRows, 0.0F);
  for (int64_t lane = 0; lane < count; ++lane)
    for (int64_t c = 0; c < width; ++c) values[c * kWalkRows + lane] = block.current[(row + lane) * width + c];
  std::array<float, kWalkRows> error{}, sums{};
  for (int64_t c = 0; c < width; ++c) {
    float *now = values + c * kWalkRows, *stays = kept + c * kWalkRows;
    choose({row, count, block.begin + c, now, stays});
    const float* factors = block.upper + c * width + c;
    for (size_t lane = 0; lane < kWalkRows; ++lane) {
      error[lane] = (now[lane] - stays[lane]) / factors[0];
      sums[lane] += error[lane] * error[lane];
    }
    subtract_scaled(now + kWalkRows, factors + 1, error.data(), width - c - 1);
  }
  for (int64_t lane = 0; lane < count; ++lane) {
    float* out = block.weights + (row + lane) * block.columns + block.begin;
    for (int64_t c = 0; c < width; ++c) out[c] = kept[c * kWalkRows + lane] - out[c];
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double walk_block(const WalkBlock& block, int64_t rows, const WalkChoice& choose) {
  const int64_t groups = (rows + kWalkRows - 1) / kWalkRows;
  std::vector<double> errors(static_cast<size_t>(groups));
  parallel_rows(0, groups, 1, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(2 * (block.end - block.begin) * kWalkRows));
    for (int64_t group = first; group < last; ++group) {
      const int64_t row = group * kWalkRows;
      errors[static_cast<size_t>(group)] =
          walk_rows(block, row, std::min(kWalkRows, rows - row), choose, scratch.data());
    }
  });
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

}  // namespace

// With the columns before p walked and changed by D (R = root, U = R^-1), those of a block b behind them have become
// W_b - D R[:p, b] U[b, b]: the errors E of the walk satisfy E U = -D, and U[:p, b] = -U[:p, :p] R[:p, b] U[b, b]. So
// no U is needed but that of the blocks on the diagonal, and only columns that are about to be walked are written.
double walk_columns(Tensor& weights, const Tensor& root, int64_t block,
                    const std::function<void(int64_t begin, int64_t end, const Tensor& current)>& begin_block,
                    const WalkChoice& choose) {
  const int64_t rows = weights.size(0), columns = weights.size(1), panel = block * std::max<int64_t>(1, kPanel / block);
  float* values = weights.mutable_data_ptr<float>();
  double errors = 0;
  Tensor sums;  // D R of the columns before the panel
  for (int64_t begin = 0, first = 0; begin < columns; begin += block) {
    const int64_t end = std::min(begin + block, columns), width = end - begin;
    if (begin % panel == 0) {
      first = begin;
      const int64_t last = std::min(begin + panel, columns);
      sums = at::mm(weights.narrow(1, 0, first), root.narrow(0, 0, first).narrow(1, first, last - first));
    }
    const Tensor corner = root.narrow(0, begin, width).narrow(1, begin, width);
    const Tensor upper =
        at::linalg_solve_triangular(corner, at::eye(width, root.options()), /*upper=*/true).contiguous();
    Tensor current = weights.narrow(1, begin, width).clone(at::MemoryFormat::Contiguous);
    if (begin > 0) {
      Tensor sum = sums.narrow(1, begin - first, width);
      if (begin > first)
        sum.addmm_(weights.narrow(1, first, begin - first),
                   root.narrow(0, first, begin - first).narrow(1, begin, width));
      current.addmm_(sum, upper, 1, -1);
    }
    begin_block(begin, end, current);
    errors += walk_block({begin, end, current.const_data_ptr<float>(), upper.const_data_ptr<float>(), values, columns},
                         rows, choose);
  }
  return errors;
}

WalkErrors compare_walk(double squared_errors, const HessianFactor& factor, const Tensor& walked, const Tensor& order,
                        const std::function<Tensor(int64_t first, int64_t last, int64_t step)>& plain,
                        const Tensor& gram) {
  const int64_t rows = walked.size(0), stride = rows / kSampleRows;
  if (stride > 1) {
    const Tensor sample = plain(0, rows, stride).contiguous();
    const Tensor errors = at::mm(sample, gram).mul_(sample).sum({1}, false, at::kDouble);
    const double scale = static_cast<double>(rows), count = static_cast<double>(errors.size(0));
    const double estimate = scale * errors.mean().item<double>();
    const double deviation = scale * errors.std().item<double>() / std::sqrt(count);
    // What the ridge added is taken out again; it did not count for columns of dead inputs.
    const Tensor changes = fused_column_squares(walked).masked_fill_(factor.is_dead, 0);
    const double error = squared_errors - factor.ridge * changes.sum().item<double>();
    // 1 % for the precision of the walk's sum.
    if (std::abs(estimate - error) > 6 * deviation + 0.01 * estimate) return {error, estimate};
  }
  WalkErrors result{0, 0};
  for (int64_t first = 0; first < rows; first += kStrip) {
    const int64_t last = std::min(first + kStrip, rows);
    Tensor part = walked.narrow(0, first, last - first);
    if (order.defined()) part = at::empty_like(part).index_copy_(1, order, part);
    result.walked += quadratic_error(part, gram);
    result.plain += quadratic_error(plain(first, last, 1), gram);
  }
  return result;
}

std::vector<ParamSpec> second_order_parameters() {
  return {real_spec("damping", "share of the Hessian's mean diagonal that is added to its diagonal", 0.01, 0, 1),
          int_spec("block_size", "columns that are walked before the columns behind them are updated", 128, 1, 65536)};
}

Tensor activation_order(const LayerStats& stats) {
  return at::argsort(stats.gram.diagonal(), /*stable=*/true, 0, /*descending=*/true);
}

const HessianFactor& hessian_factor(const LayerStats& stats, const Linear& linear, double damping,
                                    const Tensor& order) {
  OCKHAM_CHECK(stats.gram.defined() && stats.factors != nullptr);
  auto [it, is_new] = stats.factors->try_emplace({damping, order.defined()});
  if (is_new) {
    it->second = factor_hessian(stats.gram, damping, linear.name.c_str(), order);
    if (it->second.attempts > 1 && stats.note)
      stats.note(fmt::format("{}: the Hessian was not positive definite; damping raised from {:g} to {:g}", linear.name,
                             damping, it->second.damping));
  }
  return it->second;
}

}  // namespace ockham
