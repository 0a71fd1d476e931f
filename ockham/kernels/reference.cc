#include "ockham/kernels/reference.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// How far the rounded input of each column may be from its own.
std::vector<double> input_errors(const float* x, int64_t columns, const InputForm& form, InputRounding rounding) {
  std::vector<double> errors(static_cast<size_t>(columns));
  if (!form.is_rounded) {
    // kFast may round to bf16; what kExact splits may end below the smallest normal number.
    const bool is_fine = rounding == InputRounding::kFine, is_exact = rounding == InputRounding::kExact;
    for (int64_t c = 0; !is_fine && c < columns; ++c)
      errors[static_cast<size_t>(c)] = is_exact ? 0x1p-126 : std::fabs(x[c]) * 0x1p-8;
    return errors;
  }
  const bool is_coarse = rounding == InputRounding::kFast || rounding == InputRounding::kToken;
  const double steps = is_coarse ? 127 : 16256;
  double largest_of_all = 0;
  for (int64_t c = 0; c < columns; ++c) largest_of_all = std::max<double>(largest_of_all, std::fabs(x[c]));
  for (int64_t first = 0; first < form.columns; first += form.group) {
    const int64_t last = std::min(first + form.group, form.columns);
    double largest = 0;
    const auto column = [&](int64_t i) { return form.order != nullptr ? form.order[i] : i; };
    const auto is_real = [&](int64_t i) { return column(i) >= 0 && column(i) < columns; };
    for (int64_t i = first; i < last; ++i) {
      if (is_real(i)) largest = std::max<double>(largest, std::fabs(x[column(i)]));
    }
    if (rounding == InputRounding::kToken) largest = largest_of_all;
    // Ties, and the step itself, are rounded in float32.
    const double error = std::max(largest / steps * (0.5 + steps * 0x1p-22), 1e-33);
    for (int64_t i = first; i < last; ++i) {
      if (is_real(i)) errors[static_cast<size_t>(column(i))] = error;
    }
  }
  return errors;
}

}  // namespace

ReferenceProduct multiply_reference(const ReferenceMatrix& matrix, const std::vector<float>& x, int64_t tokens,
                                    const InputForm& form, InputRounding rounding) {
  const int64_t rows = matrix.rows, columns = matrix.columns;
  OCKHAM_CHECK(static_cast<int64_t>(x.size()) == tokens * columns);
  ReferenceProduct product;
  product.values.resize(static_cast<size_t>(tokens * rows));
  product.bounds.resize(static_cast<size_t>(tokens * rows));
  const double relative = (static_cast<double>(columns) / 16 + 32) * 0x1p-23;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* inputs = x.data() + t * columns;
    const std::vector<double> errors = input_errors(inputs, columns, form, rounding);
    for (int64_t r = 0; r < rows; ++r) {
      double value = 0, bound = 0;
      for (int64_t c = 0; c < columns; ++c) {
        const auto at = static_cast<size_t>(r * columns + c);
        const double size = std::fabs(inputs[c]), error = errors[static_cast<size_t>(c)];
        value += matrix.weights[at] * inputs[c];
        bound += std::fabs(matrix.weights[at]) * error + relative * matrix.magnitudes[at] * (size + error);
      }
      product.values[static_cast<size_t>(t * rows + r)] = value;
      product.bounds[static_cast<size_t>(t * rows + r)] = bound;
    }
  }
  return product;
}

}  // namespace ockham
