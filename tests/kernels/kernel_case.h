// A matrix in two forms, packed for kernels and in double, and the comparison of both on every target.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/kernels/matrix.h"
#include "ockham/kernels/reference.h"
#include "ockham/kernels/target.h"

namespace ockham {

constexpr InputRounding kRoundings[] = {InputRounding::kFine, InputRounding::kFast, InputRounding::kExact,
                                        InputRounding::kToken};

struct KernelCase {
  KernelMatrix matrix;
  ReferenceMatrix reference;
};

// Normal numbers; every seventh token is zero and one column is a hundred times larger, as in language models.
inline std::vector<float> random_inputs(Rng& rng, int64_t tokens, int64_t columns) {
  std::vector<float> x(static_cast<size_t>(tokens * columns));
  for (size_t i = 0; i < x.size(); ++i) {
    const auto token = static_cast<int64_t>(i) / columns, column = static_cast<int64_t>(i) % columns;
    x[i] = static_cast<float>(rng.normal()) * (column == columns / 3 ? 100.0F : 1.0F) * (token % 7 == 6 ? 0.0F : 1.0F);
  }
  return x;
}

// The product in pieces of one and of several units, compared with the reference within its bound.
inline void expect_product(const KernelCase& c, const std::vector<float>& x, int64_t tokens, InputRounding rounding) {
  const InputForm form = shape_of(c.matrix.parts().front().layout).form;
  const ReferenceProduct expected = multiply_reference(c.reference, x, tokens, form, rounding);
  KernelInput input;
  input.reserve(c.matrix, tokens, rounding);
  input.fill(c.matrix, x.data(), c.reference.columns, 0, tokens / 2);
  input.fill(c.matrix, x.data(), c.reference.columns, tokens / 2, tokens);
  const int64_t rows = c.reference.rows, stride = rows + 3;
  std::vector<float> y(static_cast<size_t>(tokens * stride), -12345.0F);
  const int64_t middle = c.matrix.units() / 3;
  multiply(c.matrix, input, 0, middle, y.data(), stride);
  multiply(c.matrix, input, middle, c.matrix.units(), y.data(), stride);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      const auto at = static_cast<size_t>(t * rows + r);
      ASSERT_LE(std::fabs(y[static_cast<size_t>(t * stride + r)] - expected.values[at]), expected.bounds[at])
          << "token " << t << " of " << tokens << ", row " << r << " of " << rows << ", columns " << c.reference.columns
          << ", found " << y[static_cast<size_t>(t * stride + r)] << ", expected " << expected.values[at];
    }
    for (int64_t r = rows; r < stride; ++r) ASSERT_EQ(y[static_cast<size_t>(t * stride + r)], -12345.0F);
  }
}

// On every target of this machine, with every rounding and some numbers of tokens.
inline void expect_products(const KernelCase& c, uint64_t seed) {
  const Target before = current_target();
  Rng rng(seed);
  for (const int64_t tokens : {1, 2, 5, 9, 37}) {
    const std::vector<float> x = random_inputs(rng, tokens, c.reference.columns);
    for (const Target target : available_targets()) {
      set_target(target);
      for (const InputRounding rounding : kRoundings) {
        SCOPED_TRACE(c.matrix.description() + " on " + std::string(target_name(target)) + ", rounding " +
                     std::to_string(static_cast<int>(rounding)));
        expect_product(c, x, tokens, rounding);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
  set_target(before);
}

// Whether the products of single tokens have the bits of those of all tokens together, on every target.
inline void expect_same_bits_alone(const KernelMatrix& matrix, int64_t tokens, InputRounding rounding, uint64_t seed) {
  const Target before = current_target();
  Rng rng(seed);
  const std::vector<float> x = random_inputs(rng, tokens, matrix.columns());
  for (const Target target : available_targets()) {
    set_target(target);
    const auto product = [&](int64_t first, int64_t count) {
      KernelInput input;
      input.reserve(matrix, count, rounding);
      input.fill(matrix, x.data() + first * matrix.columns(), matrix.columns(), 0, count);
      std::vector<float> y(static_cast<size_t>(count * matrix.rows()));
      multiply(matrix, input, 0, matrix.units(), y.data(), matrix.rows());
      return y;
    };
    const std::vector<float> all = product(0, tokens);
    for (int64_t t = 0; t < tokens; t += 9) {
      const std::vector<float> alone = product(t, 1);
      for (int64_t r = 0; r < matrix.rows(); ++r) {
        ASSERT_EQ(alone[static_cast<size_t>(r)], all[static_cast<size_t>(t * matrix.rows() + r)])
            << matrix.description() << " on " << target_name(target) << ", token " << t << ", row " << r;
      }
    }
  }
  set_target(before);
}

}  // namespace ockham
