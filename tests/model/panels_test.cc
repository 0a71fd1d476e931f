// Products by panels against ATen's, at every edge of the tiles.
#include "ockham/tensor/panels.h"

#include <ATen/core/grad_mode.h>

#include "tests/model/prepared_fixture.h"

namespace ockham {
namespace {

TEST(Panels, AgreesWithAten) {
  if (!suits_panels(at::ones({2, 2}))) GTEST_SKIP() << "this processor computes without panels";
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  for (const auto& [rows, columns] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {15, 3}, {16, 128}, {17, 64}, {37, 100}, {384, 128}}) {
    const Tensor weight = at::randn({rows, columns});
    for (const Simd simd : {Simd::kAvx2, Simd::kAvx512})
      if (simd <= best_simd()) test::expect_products_of(make_panels(weight, simd), weight, {1, 5, 6, 7, 8, 100, 1300});
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
