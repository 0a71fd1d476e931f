// The fused operations against the same in ATen.
#include "ockham/tensor/fused.h"

#include <ATen/core/grad_mode.h>

#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

// Largest difference in units of bf16 (2^-8) or float32 (2^-22) rounding, relative to the largest value.
void expect_close(const Tensor& found, const Tensor& expected) {
  ASSERT_EQ(found.scalar_type(), expected.scalar_type());
  const double unit = found.scalar_type() == at::kFloat ? 0x1.0p-21 : 0x1.0p-7;
  const Tensor limit = expected.to(at::kDouble).abs() * unit + expected.to(at::kDouble).abs().max() * unit * 0.01;
  EXPECT_TRUE(((found.to(at::kDouble) - expected.to(at::kDouble)).abs() <= limit).all().item<bool>());
}

TEST(Fused, AgreesWithAten) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t width : {2, 8, 18, 64, 172}) {
      const Tensor x = (at::randn({3, 7, width}) * 2).to(type), weight = at::rand({width}).to(type);
      const Tensor normed = rms_norm(x, weight, 1e-5);  // gradients are on: ATen
      const Tensor up = at::randn({3, 7, width}).to(type), gated = at::silu(x) * up;
      const Tensor squares = x.to(at::kDouble).square().sum({0, 1});
      const at::NoGradGuard no_grad;
      ASSERT_TRUE(can_fuse(x));
      expect_close(fused_rms_norm(x, weight, 1e-5), normed);
      Tensor gate = x.clone();
      fused_silu_multiply(gate, up);
      expect_close(gate, gated);
      EXPECT_LT((fused_column_squares(x.view({-1, width})) - squares).abs().max().item<double>(), 1e-4);
    }
  }
}

TEST(Fused, SiluHoldsAtTheEnds) {
  const at::NoGradGuard no_grad;
  Tensor gate = at::tensor({-200.0f, -88.0f, -20.0f, -1e-20f, 0.0f, 20.0f, 200.0f});
  const Tensor expected = at::silu(gate.to(at::kDouble));
  fused_silu_multiply(gate, at::ones({7}));
  EXPECT_LT((gate.to(at::kDouble) - expected).abs().max().item<double>(), 2e-5);
}

TEST(Fused, RopeOfStridedHeadsAndOfTablesPerRow) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Tensor flat = at::randn({2, 5, 3 * 8}).to(type);
    const Tensor shared = at::rand({5, 8}), own = at::rand({2, 5, 8});
    for (const Tensor& angle : {shared, own}) {
      const Tensor cos = angle.cos().to(type), sin = angle.sin().to(type);
      const Tensor x = flat.view({2, 5, 3, 8}).transpose(1, 2);
      const Tensor expected = apply_rope(x, cos, sin);
      Tensor rotated = x.clone();
      EXPECT_FALSE(rotated.is_contiguous());
      fused_rope(rotated, cos, sin);
      const double unit = type == at::kFloat ? 1e-6 : 0.02;
      EXPECT_LT((rotated - expected).abs().max().item<double>(), unit);
    }
  }
}

TEST(Fused, LongSumsOfSquaresKeepTheirPrecision) {
  const at::NoGradGuard no_grad;
  const Tensor x = at::full({5000, 3}, 0.1f);
  EXPECT_NEAR(fused_column_squares(x)[1].item<double>(), 5000 * 0.1f * 0.1f, 5e-5);
}

}  // namespace
}  // namespace ockham
