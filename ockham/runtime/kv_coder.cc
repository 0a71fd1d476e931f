#include "ockham/runtime/kv_coder.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "ockham/core/half.h"
#include "ockham/core/rng.h"
#include "ockham/runtime/vectors.h"

namespace ockham {
namespace {

float as_half(float x) {
  constexpr float kMost = 65504;
  return half_to_float(float_to_half(std::clamp(x, -kMost, kMost)));
}

// Columns [rows] `width` apart, one after another without what those before them hold; twice, since once leaves a
// remainder of the order of rounding errors. What is nothing but such errors becomes 0.
void make_orthonormal(float* x, int64_t rows, int64_t rank, int64_t width) {
  constexpr float kNothing = 1e-5F;
  const auto dot = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) sum += static_cast<double>(x[i * width + a]) * x[i * width + b];
    return sum;
  };
  for (int64_t j = 0; j < rank; ++j) {
    const double before = std::sqrt(dot(j, j));
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t k = 0; k < j; ++k) {
        const auto part = static_cast<float>(dot(j, k));
        for (int64_t i = 0; i < rows; ++i) x[i * width + j] -= part * x[i * width + k];
      }
    }
    const double after = std::sqrt(dot(j, j));
    const float inverse = after > kNothing * before ? static_cast<float>(1 / after) : 0;
    for (int64_t i = 0; i < rows; ++i) x[i * width + j] *= inverse;
  }
}

}  // namespace

CodeScale code_scale(const float* x, int64_t count, int64_t stride, int bits) {
  float least = x[0], greatest = x[0];
  for (int64_t i = 1; i < count; ++i) {
    least = std::min(least, x[i * stride]);
    greatest = std::max(greatest, x[i * stride]);
  }
  CodeScale scale;
  scale.minimum = as_half(least);
  if (greatest > least) scale.step = as_half((greatest - scale.minimum) / static_cast<float>((1 << bits) - 1));
  return scale;
}

uint8_t code_of(float x, const CodeScale& scale, float inverse, int bits) {
  const float steps = (x - scale.minimum) * inverse, most = static_cast<float>((1 << bits) - 1);
  // So that a NaN is 0, too.
  return steps > 0 ? static_cast<uint8_t>(std::nearbyint(std::min(steps, most))) : 0;
}

PowerIteration::PowerIteration(int64_t rows, int64_t columns, int64_t rank)
    : rows_(rows), columns_(columns), rank_(rank), width_((rank + 15) / 16 * 16) {
  turned_.resize(static_cast<size_t>(rows * columns));
  left_.resize(static_cast<size_t>(rows * width_));
  right_.resize(static_cast<size_t>(columns * width_));
  start_ = right_;
  constexpr uint64_t kSeed = 20240308;
  Rng random(kSeed);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < rank; ++j)
      start_[static_cast<size_t>(i * width_ + j)] = static_cast<float>(random.uniform());
}

void PowerIteration::run(const float* error, int rounds) {
  const VectorKernels& kernels = vector_kernels();
  for (int64_t i = 0; i < rows_; ++i)
    for (int64_t j = 0; j < columns_; ++j) turned_[static_cast<size_t>(j * rows_ + i)] = error[i * columns_ + j];
  std::copy(start_.begin(), start_.end(), right_.begin());
  for (int round = 0; round < rounds; ++round) {
    make_orthonormal(right_.data(), columns_, rank_, width_);
    kernels.multiply(rows_, columns_, width_, error, right_.data(), left_.data());
    make_orthonormal(left_.data(), rows_, rank_, width_);
    kernels.multiply(columns_, rows_, width_, turned_.data(), left_.data(), right_.data());
  }
}

int64_t CodeShape::outliers_of(int64_t count, double share) {
  return std::min<int64_t>(std::llround(static_cast<double>(count) * share / 2), count / 2);
}

KvCoder::KvCoder(const CodeShape& shape) : shape_(shape) {
  const int64_t length = shape.by_channel ? shape.tokens : shape.dim;
  const int64_t lines = shape.by_channel ? shape.width() : shape.tokens * shape.heads;
  groups_ = (length + shape.group - 1) / shape.group;
  rest_.resize(static_cast<size_t>(shape.tokens * shape.width()));
  codes_.resize(rest_.size());
  scales_.resize(static_cast<size_t>(lines * groups_));
  const int64_t vectors = shape.by_channel ? shape.width() : shape.tokens,
                vector = shape.by_channel ? shape.tokens : shape.width();
  outliers_.reserve(static_cast<size_t>(2 * shape.outliers * vectors));
  if (shape.outliers > 0) order_.resize(static_cast<size_t>(vector));
  if (shape.rank == 0) return;
  head_.resize(static_cast<size_t>(shape.tokens * shape.dim));
  corrections_.assign(static_cast<size_t>(shape.heads), PowerIteration(shape.tokens, shape.dim, shape.rank));
}

void KvCoder::encode(const float* x, int64_t stride) {
  for (int64_t token = 0; token < shape_.tokens; ++token)
    std::copy_n(x + token * stride, shape_.width(), rest_.begin() + token * shape_.width());
  outliers_.clear();
  if (shape_.outliers > 0) take_outliers();
  quantize();
  if (shape_.rank > 0) correct();
}

void KvCoder::take_outliers() {
  const int64_t width = shape_.width();
  if (shape_.by_channel) {
    for (int64_t channel = 0; channel < width; ++channel) take_outliers(channel, shape_.tokens, width);
  } else {
    for (int64_t token = 0; token < shape_.tokens; ++token) take_outliers(token * width, width, 1);
  }
  std::sort(outliers_.begin(), outliers_.end(), [](const KvOutlier& a, const KvOutlier& b) {
    return std::tie(a.head, a.token, a.channel) < std::tie(b.head, b.token, b.channel);
  });
}

// The smallest come to the front, then the largest of what is left; of equals the first.
void KvCoder::take_outliers(int64_t first, int64_t count, int64_t stride) {
  float* x = rest_.data() + first;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += x[i * stride];
    order_[static_cast<size_t>(i)] = {x[i * stride], static_cast<int32_t>(i)};
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(count));
  const auto low = order_.begin() + shape_.outliers, high = low + shape_.outliers;
  std::partial_sort(order_.begin(), low, order_.end());
  std::partial_sort(low, high, order_.end(), [](const auto& a, const auto& b) {
    return std::pair(-a.first, a.second) < std::pair(-b.first, b.second);
  });
  for (auto one = order_.begin(); one != high; ++one) {
    const int64_t place = first + one->second * stride, channel = place % shape_.width();
    outliers_.push_back({static_cast<int32_t>(channel / shape_.dim), static_cast<int32_t>(place / shape_.width()),
                         static_cast<int32_t>(channel % shape_.dim), one->first});
    rest_[static_cast<size_t>(place)] = mean;
  }
}

void KvCoder::quantize() {
  const int64_t width = shape_.width(), length = shape_.by_channel ? shape_.tokens : shape_.dim;
  const int64_t lines = shape_.by_channel ? width : shape_.tokens * shape_.heads;
  const int64_t stride = shape_.by_channel ? width : 1, step = shape_.by_channel ? 1 : shape_.dim;
  for (int64_t line = 0; line < lines; ++line) {
    for (int64_t group = 0; group < groups_; ++group) {
      const int64_t begin = group * shape_.group;
      quantize(line * step + begin * stride, std::min(shape_.group, length - begin), stride,
               scales_[static_cast<size_t>(line * groups_ + group)]);
    }
  }
}

void KvCoder::quantize(int64_t first, int64_t count, int64_t stride, CodeScale& scale) {
  float* x = rest_.data() + first;
  scale = code_scale(x, count, stride, shape_.bits);
  const float inverse = scale.inverse();
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t code = code_of(x[i * stride], scale, inverse, shape_.bits);
    codes_[static_cast<size_t>(first + i * stride)] = code;
    x[i * stride] -= static_cast<float>(code) * scale.step + scale.minimum;
  }
}

// Nothing is lost at the places of outliers.
void KvCoder::correct() {
  for (const KvOutlier& one : outliers_) rest_[at(one.token, one.head * shape_.dim + one.channel)] = 0;
  for (int64_t head = 0; head < shape_.heads; ++head) {
    for (int64_t token = 0; token < shape_.tokens; ++token)
      std::copy_n(rest_.begin() + static_cast<std::ptrdiff_t>(at(token, head * shape_.dim)), shape_.dim,
                  head_.begin() + token * shape_.dim);
    corrections_[static_cast<size_t>(head)].run(head_.data(), kRounds);
  }
}

void KvCoder::decode(float* x) const {
  const int64_t dim = shape_.dim, correction = correction_width();
  for (int64_t token = 0; token < shape_.tokens; ++token) {
    for (int64_t channel = 0; channel < shape_.width(); ++channel) {
      const int64_t head = channel / dim, place = channel % dim;
      const CodeScale& by = shape_.by_channel ? scale(channel, token / shape_.group)
                                              : scale(token * shape_.heads + head, place / shape_.group);
      x[at(token, channel)] = static_cast<float>(code(token, channel)) * by.step + by.minimum;
    }
  }
  for (const KvOutlier& one : outliers_) x[at(one.token, one.head * dim + one.channel)] = one.value;
  if (correction == 0) return;
  for (int64_t token = 0; token < shape_.tokens; ++token) {
    for (int64_t channel = 0; channel < shape_.width(); ++channel) {
      const float *a = left(channel / dim) + token * correction, *b = right(channel / dim) + channel % dim * correction;
      for (int64_t j = 0; j < shape_.rank; ++j) x[at(token, channel)] += a[j] * b[j];
    }
  }
}

}  // namespace ockham
