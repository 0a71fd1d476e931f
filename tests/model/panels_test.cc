// Products by panels against ATen's, at every edge of the tiles.
#include "ockham/tensor/panels.h"

#include <ATen/core/grad_mode.h>

#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

TEST(Panels, AgreesWithAten) {
  if (!suits_panels(at::ones({2, 2}))) GTEST_SKIP() << "this processor computes without panels";
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  for (const auto& [rows, columns] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {15, 3}, {16, 128}, {17, 64}, {37, 100}, {384, 128}}) {
    const Tensor weight = at::randn({rows, columns}), bias = at::randn({rows});
    const PanelMatrix panels = make_panels(weight);
    for (const int64_t count : {1, 5, 6, 7, 100, 1300}) {
      const Tensor x = at::randn({count, columns});
      const Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble)).to(at::kFloat);
      const double limit = 1e-5 * std::sqrt(static_cast<double>(columns)) * 4;
      EXPECT_LT((panels.product(x, {}) - expected).abs().max().item<double>(), limit) << rows << " " << count;
      EXPECT_LT((panels.product(x, bias) - expected - bias).abs().max().item<double>(), limit);
    }
    const Tensor turned = at::randn({columns, 12}).t().view({3, 4, columns});  // not contiguous
    EXPECT_LT((panels.product(turned, {}) - at::linear(turned, weight)).abs().max().item<double>(), 1e-3);
    EXPECT_EQ(panels.product(at::empty({0, columns}), {}).sizes(), (std::vector<int64_t>{0, rows}));
  }
}

TEST(Panels, LargeAndNarrowTypesAreLeftToBlas) {
  EXPECT_FALSE(suits_panels(at::empty({4096, 4096})));
  EXPECT_FALSE(suits_panels(at::empty({16, 16}, at::kBFloat16)));
  EXPECT_FALSE(suits_panels(at::empty({0, 16})));
}

TEST(Panels, ADecoderComputesTheSameWithThem) {
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(test::tiny_config(2), 4, DType::kF32);
  const Tensor ids = at::arange(14).view({2, 7});
  const Tensor expected = decoder->logits(decoder->forward(ids));
  decoder->make_panels();
  EXPECT_TRUE(at::allclose(decoder->logits(decoder->forward(ids)), expected, 1e-5, 1e-5));
}

}  // namespace
}  // namespace ockham
