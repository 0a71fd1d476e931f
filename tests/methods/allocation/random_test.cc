// random: the mean is exact, draws differ by seed and stay within bounds.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

std::map<std::string, double> draw(double mean, double spread, int64_t seed) {
  const MethodEntry& entry = find_method("random", "test");
  const auto random =
      entry.allocate(Params("test", entry.parameters, {{"mean", mean}, {"spread", spread}, {"seed", seed}}));
  for (int block = 0; block < 20; ++block) {
    Linear small = test::make_linear(at::randn({4, 8})), large = test::make_linear(at::randn({16, 8}));
    small.name = fmt::format("model.layers.{}.small", block);
    large.name = fmt::format("model.layers.{}.large", block);
    random->look({&small, &large}, {LayerStats{}, LayerStats{}});
  }
  return random->values();
}

double mean_over_weights(const std::map<std::string, double>& values) {
  double sum = 0, weights = 0;
  for (const auto& [name, value] : values) {
    const double size = name.ends_with("small") ? 32 : 128;
    sum += size * value;
    weights += size;
  }
  return sum / weights;
}

TEST(Random, KeepsTheMeanOverWeights) {
  for (const double mean : {0.1, 0.5, 0.95}) {
    const auto values = draw(mean, 0.3, 3);
    EXPECT_EQ(values.size(), 40U);
    EXPECT_NEAR(mean_over_weights(values), mean, 1e-9);
    for (const auto& [name, value] : values) EXPECT_TRUE(value >= 0 && value <= 1) << name << " " << value;
  }
  EXPECT_NE(draw(0.5, 0.3, 3), draw(0.5, 0.3, 4));
  EXPECT_EQ(draw(0.5, 0.3, 3), draw(0.5, 0.3, 3));
  for (const auto& [name, value] : draw(0.7, 0, 1)) EXPECT_NEAR(value, 0.7, 1e-9) << name;
}

}  // namespace
}  // namespace ockham
