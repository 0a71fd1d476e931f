// Made-up weights for measurements of kernels.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "ockham/core/rng.h"
#include "ockham/kernels/matrix.h"

namespace ockham {

inline double now_ms() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(since).count();
}

constexpr int kPoolRows = 61;

// Rows drawn once and used again and again.
class Rows {
 public:
  explicit Rows(int64_t columns) : columns_(columns), values_(static_cast<size_t>(kPoolRows * columns)) {
    Rng rng(1);
    for (float& value : values_) value = static_cast<float>(rng.normal());
  }
  const float* at(int64_t row) const { return values_.data() + row % kPoolRows * columns_; }
  int64_t columns() const { return columns_; }

 private:
  int64_t columns_;
  std::vector<float> values_;
};

// |normal| beyond which a share `sparsity` lies below.
inline float cut(double sparsity) {
  double low = 0, high = 6;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle / std::sqrt(2.0)) < sparsity ? low : high) = middle;
  }
  return static_cast<float>(low);
}

inline ReadFloats read_floats(const Rows& rows, double sparsity) {
  const float least = sparsity > 0 ? cut(sparsity) : -1;
  return [&rows, least](int64_t row, float* to) {
    const float* from = rows.at(row);
    for (int64_t i = 0; i < rows.columns(); ++i) to[i] = std::fabs(from[i]) > least ? from[i] : 0;
  };
}

inline IntegerSource read_integers(const Rows& rows, int64_t count, int64_t bits, int64_t group, double sparsity) {
  IntegerSource source;
  source.rows = count;
  source.columns = rows.columns();
  source.bits = bits;
  source.group_size = group;
  source.has_mask = sparsity > 0;
  const float least = sparsity > 0 ? cut(sparsity) : -1;
  const float middle = static_cast<float>(1 << (bits - 1)), step = 4 / middle;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < kPoolRows * rows.columns(); ++i) {
    const float code = std::nearbyint(rows.at(0)[i] / step) + middle;
    codes.push_back(static_cast<uint8_t>(std::clamp(code, 0.0F, 2 * middle - 1)));
  }
  source.read = [&rows, bits, group, least, sparsity, step, codes](int64_t row, IntegerRow& out) {
    const int64_t groups = group == 0 ? 1 : (rows.columns() + group - 1) / group;
    for (int64_t g = 0; g < groups; ++g) {
      out.scales[g] = step * static_cast<float>(1 + (row + g) % 7);
      if (group != 0) out.zeros[g] = static_cast<uint8_t>((1 << (bits - 1)) - (row + g) % 2);
    }
    std::memcpy(out.codes, codes.data() + row % kPoolRows * rows.columns(), static_cast<size_t>(rows.columns()));
    for (int64_t i = 0; sparsity > 0 && i < rows.columns(); ++i) out.is_kept[i] = std::fabs(rows.at(row)[i]) > least;
  };
  return source;
}

}  // namespace ockham
