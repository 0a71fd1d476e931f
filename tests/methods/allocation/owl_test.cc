// owl: outlier shares and sparsities of the worked examples.
#include "ockham/methods/allocation/owl.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(Owl, SharesOfTheWorkedExample) {
  const Linear linear = test::make_linear(test::example_weights());
  const LayerStats stats = test::stats_of(test::set_a());
  EXPECT_NEAR(outlier_share({&linear}, {stats}, 1.5), 21.875, 1e-9);
  EXPECT_NEAR(outlier_share({&linear}, {stats}, 2), 18.75, 1e-9);
  EXPECT_NEAR(outlier_share({&linear}, {stats}, 3), 3.125, 1e-9);
  // Louder inputs change nothing.
  EXPECT_NEAR(outlier_share({&linear}, {test::stats_of(test::set_a() * 7)}, 2), 18.75, 1e-9);
}

TEST(Owl, SparsitiesOfTheWorkedExample) {
  const std::vector<double> found = owl_sparsities({1, 2, 4, 3}, 0.7, 0.08);
  const double expected[] = {.78, .72667, .62, .67333};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(found[i], expected[i], 1e-5);
  EXPECT_NEAR(std::accumulate(found.begin(), found.end(), 0.0) / 4, 0.7, 1e-12);
}

TEST(Owl, EqualSharesAreUniform) {
  for (const double value : owl_sparsities({3, 3, 3}, 0.6, 0.08)) EXPECT_EQ(value, 0.6);
}

TEST(Owl, EveryLinearOfABlockGetsTheBlocksSparsity) {
  const MethodEntry& entry = find_method("owl", "test");
  const auto owl = entry.allocate(Params("test", entry.parameters, {{"mean", 0.5}, {"m", 2.0}}));
  Linear a = test::make_linear(test::example_weights()), b = a, c = a;
  b.name = "model.layers.0.mlp.down_proj";
  c.name = "model.layers.1.mlp.down_proj";
  // No weight of the second block exceeds twice its mean.
  c.weight = DenseWeight{at::ones({4, 8})};
  LayerStats flat = test::stats_of(test::set_a());
  flat.mean_square = at::ones({8});
  owl->look({&a, &b}, {test::stats_of(test::set_a()), test::stats_of(test::set_a())});
  owl->look({&c}, {flat});
  const auto values = owl->values();
  EXPECT_NEAR(values.at(a.name), 0.5 - 0.08, 1e-12);
  EXPECT_NEAR(values.at(b.name), 0.5 - 0.08, 1e-12);
  EXPECT_NEAR(values.at(c.name), 0.5 + 0.08, 1e-12);
}

TEST(Owl, SparsityRisesInEqualSteps) {
  const MethodEntry& entry = find_method("owl", "test");
  const auto owl = entry.allocate(Params("test", entry.parameters, {{"mean", 0.6}, {"steps", int64_t{3}}}));
  EXPECT_EQ(owl->passes(), 3);
  const Linear linear = test::make_linear(test::example_weights());
  for (int64_t pass = 0; pass < 3; ++pass) {
    owl->begin_pass(pass);
    owl->look({&linear}, {test::stats_of(test::set_a())});
    const auto values = owl->values();
    ASSERT_EQ(values.size(), 1U);
    EXPECT_NEAR(values.begin()->second, 0.2 * static_cast<double>(pass + 1), 1e-12);
  }
}

}  // namespace
}  // namespace ockham
