// The decoder against stored results and against itself: caches, padding, element types.
#include "ockham/model/decoder.h"

#include <ATen/core/grad_mode.h>

#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

TEST(Decoder, ReproducesTheStoredPerplexityOfARealModel) {
  OCKHAM_REQUIRE_DATA(test::stories());
  const at::NoGradGuard no_grad;
  const auto decoder = Checkpoint(test::stories()).read_all(DType::kF32);
  const double found = test::perplexity(*decoder, test::read_ids(test_data("golden/stories260K/test_ids.npy")));
  EXPECT_NEAR(found, 3.63786767074911, 2e-5);
}

TEST(Decoder, CachedStepsEqualOneForward) {
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(test::tiny_config(), 1, DType::kF32);
  const Tensor ids = at::randint(40, {2, 11}, at::kLong);
  const Tensor whole = decoder->forward(ids);
  KvCache cache;
  const Tensor parts =
      at::cat({decoder->forward(ids.narrow(1, 0, 5), &cache), decoder->forward(ids.narrow(1, 5, 1), &cache),
               decoder->forward(ids.narrow(1, 6, 5), &cache)},
              1);
  EXPECT_EQ(cache.length, 11);
  EXPECT_LT((whole - parts).abs().max().item<double>(), 1e-5);
}

TEST(Decoder, LeftPaddingDoesNotChangeARow) {
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(test::tiny_config(), 2, DType::kF32);
  const Tensor row = at::randint(40, {1, 6}, at::kLong), other = at::randint(40, {1, 9}, at::kLong);
  const Tensor batch = at::cat({at::cat({at::zeros({1, 3}, at::kLong), row}, 1), other}, 0);
  Tensor padding = at::zeros({2, 9}, at::kBool);
  padding[0].narrow(0, 0, 3).fill_(true);
  KvCache cache;
  const Tensor together = decoder->forward(batch, &cache, padding);
  EXPECT_LT((together[0].narrow(0, 3, 6) - decoder->forward(row)[0]).abs().max().item<double>(), 1e-5);
  EXPECT_LT((together[1] - decoder->forward(other)[0]).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(together.isfinite().all().item<bool>());

  const Tensor next = at::randint(40, {2, 2}, at::kLong);
  const Tensor steps = decoder->forward(next, &cache);
  const Tensor alone = decoder->forward(at::cat({row, next.narrow(0, 0, 1)}, 1));
  EXPECT_LT((steps[0] - alone[0].narrow(0, 6, 2)).abs().max().item<double>(), 1e-5);
}

TEST(Decoder, HalfPrecisionsFollowFloat32) {
  const at::NoGradGuard no_grad;
  auto decoder = Decoder::random(test::tiny_config(), 3, DType::kF32);
  const Tensor ids = at::randint(40, {2, 7}, at::kLong);
  const Tensor exact = decoder->logits(decoder->forward(ids));
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    decoder->to(type, at::kCPU);
    const Tensor close = decoder->logits(decoder->forward(ids)).to(at::kFloat);
    EXPECT_LT((exact - close).abs().max().item<double>(), 0.05 * exact.abs().max().item<double>());
  }
}

TEST(Decoder, ObserverSeesEveryLinearOnceAndSharedInputsAsOne) {
  struct Count final : LinearObserver {
    std::vector<std::string> names;
    std::vector<Tensor> held;  // so that no memory is used twice
    std::vector<const void*> inputs;
    void observe(const Linear& linear, const Tensor& input) override {
      names.push_back(linear.name);
      held.push_back(input);
      inputs.push_back(input.const_data_ptr());
      EXPECT_EQ(input.dim(), 2);
    }
  } observer;
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(test::tiny_config(), 4, DType::kF32);
  const Tensor ids = at::randint(40, {2, 7}, at::kLong);
  BlockContext context = decoder->make_context(2, 7, nullptr, {});
  context.observer = &observer;
  decoder->blocks[0].forward(decoder->embed(ids), context);
  ASSERT_EQ(observer.names.size(), 7U);
  EXPECT_EQ(observer.names[3], "model.layers.0.self_attn.o_proj");
  EXPECT_EQ(observer.inputs[0], observer.inputs[2]);
  EXPECT_EQ(observer.inputs[4], observer.inputs[5]);
  EXPECT_NE(observer.inputs[0], observer.inputs[4]);
}

TEST(Decoder, RmsNormIsTheLlamaOrder) {
  const Tensor x = at::tensor({3.0f, -4.0f}), weight = at::tensor({2.0f, 0.5f});
  const Tensor y = rms_norm(x, weight, 0);  // mean square 12.5
  EXPECT_NEAR(y[0].item<double>(), 2 * 3 / std::sqrt(12.5), 1e-6);
  EXPECT_NEAR(y[1].item<double>(), 0.5 * -4 / std::sqrt(12.5), 1e-6);
}

TEST(Decoder, RopeTurnsHalvesByTheAngle) {
  const Tensor x = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 1, 1, 4});
  const Tensor angle = at::tensor({0.3f, 0.7f, 0.3f, 0.7f}).view({1, 4});
  const Tensor y = apply_rope(x, angle.cos(), angle.sin()).flatten();
  EXPECT_NEAR(y[0].item<double>(), 1 * std::cos(0.3) - 3 * std::sin(0.3), 1e-6);
  EXPECT_NEAR(y[3].item<double>(), 4 * std::cos(0.7) + 2 * std::sin(0.7), 1e-6);
}

}  // namespace
}  // namespace ockham
