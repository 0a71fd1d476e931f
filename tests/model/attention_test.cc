// The attention kernel against softmax in float64, over shapes with every kind of remainder.
#include "ockham/tensor/attention.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

struct Shape {
  int64_t batch, heads, kv_heads, queries, keys, dim;
  enum Mask { kNone, kCausal, kPadded, kBranches } mask;
};

class Attention : public testing::TestWithParam<Shape> {};

// Queries, keys and values as a decoder hands them on: heads side by side in a token, rows of a longer cache.
Tensor random_heads(int64_t batch, int64_t heads, int64_t tokens, int64_t dim, bool is_cache) {
  if (!is_cache) return at::randn({batch, tokens, heads, dim}).transpose(1, 2);
  return at::randn({batch, heads, tokens + 7, dim}).narrow(2, 0, tokens);
}

Tensor make_mask(const Shape& s) {
  if (s.mask != Shape::kPadded && s.mask != Shape::kBranches) return {};
  const Tensor query = at::arange(s.keys - s.queries, s.keys).unsqueeze(1), key = at::arange(s.keys).unsqueeze(0);
  Tensor mask = (key <= query).unsqueeze(0).repeat({s.batch, 1, 1});
  if (s.mask == Shape::kBranches) {  // a query sees the shared keys and its own one only
    mask = (key < s.keys - s.queries).expand({s.batch, s.queries, s.keys}).clone();
  } else {
    for (int64_t b = 0; b < s.batch; ++b) mask[b].narrow(1, 0, b * s.keys / (2 * s.batch)).zero_();
  }
  return mask.logical_or(key == query).unsqueeze(1);
}

Tensor expected(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool is_causal, double scale) {
  const int64_t shared = q.size(1) / k.size(1);
  Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble).repeat_interleave(shared, 1).transpose(2, 3)) * scale;
  const Tensor seen = mask.defined() ? mask : at::ones({q.size(2), k.size(2)}, at::kBool).tril();
  if (mask.defined() || is_causal)
    scores = scores.masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), v.to(at::kDouble).repeat_interleave(shared, 1)).transpose(1, 2).flatten(2);
}

TEST_P(Attention, EqualsSoftmaxInDouble) {
  const at::NoGradGuard no_grad;
  const Shape& s = GetParam();
  at::manual_seed(5);
  const Tensor q = random_heads(s.batch, s.heads, s.queries, s.dim, false);
  const Tensor k = random_heads(s.batch, s.kv_heads, s.keys, s.dim, true);
  const Tensor v = random_heads(s.batch, s.kv_heads, s.keys, s.dim, true);
  if (!suits_fused_attention(q, k, {})) GTEST_SKIP() << "this processor has no AVX2";
  const Tensor mask = make_mask(s);
  const bool is_causal = s.mask == Shape::kCausal;
  const double scale = 1.3 / std::sqrt(static_cast<double>(s.dim));
  const int threads = at::get_num_threads();
  for (const Simd simd : {Simd::kAvx2, Simd::kAvx512}) {
    for (const int count : {1, 3}) {
      if (simd > best_simd()) continue;
      at::set_num_threads(count);
      const Tensor found = fused_attention(q, k, v, mask, is_causal, scale, simd);
      const Tensor difference = found.to(at::kDouble) - expected(q, k, v, mask, is_causal, scale);
      EXPECT_LT(difference.abs().max().item<double>(), 5e-6)
          << "instruction set " << static_cast<int>(simd) << ", " << count << " threads";
    }
  }
  at::set_num_threads(threads);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    testing::Values(Shape{2, 4, 4, 4, 4, 32, Shape::kCausal}, Shape{1, 4, 2, 33, 33, 48, Shape::kCausal},
                    Shape{2, 8, 2, 13, 300, 64, Shape::kPadded}, Shape{3, 4, 4, 7, 31, 16, Shape::kPadded},
                    Shape{1, 2, 1, 600, 600, 32, Shape::kCausal}, Shape{4, 2, 2, 20, 533, 32, Shape::kBranches},
                    Shape{1, 4, 1, 1, 77, 32, Shape::kNone}, Shape{2, 3, 3, 5, 256, 256, Shape::kNone},
                    Shape{1, 5, 5, 19, 17, 80, Shape::kNone}, Shape{5, 2, 2, 9, 1030, 96, Shape::kPadded}));

TEST(AttentionLimits, LargeScoresAndUnseenKeys) {
  const at::NoGradGuard no_grad;
  at::manual_seed(6);
  const Tensor q = random_heads(1, 2, 40, 32, false) * 30;
  Tensor k = random_heads(1, 2, 40, 32, true) * 30;
  const Tensor v = random_heads(1, 2, 40, 32, true);
  if (!suits_fused_attention(q, k, {})) GTEST_SKIP() << "this processor has no AVX2";
  const Tensor before = fused_attention(q, k, v, {}, true, 1);  // scores of thousands: one key takes all
  EXPECT_LT((before.to(at::kDouble) - expected(q, k, v, {}, true, 1)).abs().max().item<double>(), 1e-3);
  // What a key that nobody sees holds changes nothing.
  Tensor mask = at::ones({1, 1, 40, 40}, at::kBool).tril();
  mask.narrow(3, 3, 2).zero_();
  mask = mask.logical_or(at::eye(40, at::kBool));
  mask.narrow(2, 3, 2).narrow(3, 3, 2).zero_();
  mask.narrow(2, 3, 2).narrow(3, 0, 1).fill_(true);
  const Tensor masked = fused_attention(q, k, v, mask, false, 1);
  k.narrow(2, 3, 2).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(at::equal(fused_attention(q, k, v, mask, false, 1), masked));
  EXPECT_FALSE(at::equal(masked, before));
  // One that is seen shows.
  const Tensor spoilt = fused_attention(q, k, v, {}, true, 1);
  EXPECT_TRUE(at::equal(spoilt.narrow(1, 0, 3), before.narrow(1, 0, 3)));
  EXPECT_TRUE(spoilt.narrow(1, 3, 37).isnan().all().item<bool>());
}

TEST(AttentionLimits, WhatItDoesNotTake) {
  const Tensor q = at::randn({1, 4, 8, 32});
  EXPECT_FALSE(suits_fused_attention(q, q, {}));  // gradients may be recorded
  const at::NoGradGuard no_grad;
  const Tensor odd = at::randn({1, 4, 8, 24}), wide = at::randn({1, 4, 8, 272});
  EXPECT_FALSE(suits_fused_attention(odd, odd, {}));
  EXPECT_FALSE(suits_fused_attention(wide, wide, {}));
  EXPECT_FALSE(suits_fused_attention(q.to(at::kBFloat16), q.to(at::kBFloat16), {}));
  EXPECT_FALSE(suits_fused_attention(q, q, at::zeros({8, 8})));  // a mask to be added
  EXPECT_FALSE(
      suits_fused_attention(q.narrow(2, 0, 1), q, {}));  // a single query reads its keys once: nothing to lay out
}

// A row's result is the same alone and beside others, whatever their number.
TEST(AttentionLimits, RowsAreIndependent) {
  const at::NoGradGuard no_grad;
  at::manual_seed(7);
  const Tensor q = random_heads(3, 4, 50, 32, false), k = random_heads(3, 2, 50, 32, true);
  if (!suits_fused_attention(q, k, {})) GTEST_SKIP() << "this processor has no AVX2";
  const Tensor all = fused_attention(q, k, k, {}, true, 0.2);
  for (int64_t row = 0; row < 3; ++row) {
    const Tensor alone = fused_attention(q.narrow(0, row, 1), k.narrow(0, row, 1), k.narrow(0, row, 1), {}, true, 0.2);
    EXPECT_TRUE(at::equal(alone[0], all[row]));
  }
}

}  // namespace
}  // namespace ockham
