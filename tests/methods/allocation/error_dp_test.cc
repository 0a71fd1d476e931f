// error-dp: the worked examples of the choice, brute force, and what it makes of a layer.
#include "ockham/methods/allocation/error_dp.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(ErrorDp, WorkedExampleOfWidths) {
  const std::vector<std::vector<double>> errors = {{0, .02, .30}, {0, .10, .90}, {0, .01, .05}};
  std::vector<std::vector<int64_t>> costs;
  for (const int64_t size : {100, 50, 200}) costs.push_back({8 * size, 4 * size, 2 * size});
  // 4, 8 and 2 bits: error .07, 1200 of at most 4.5 * 350 bits.
  EXPECT_EQ(choose_options(errors, costs, 1575), (std::vector<size_t>{1, 0, 2}));
}

// The same in its dual form: the smallest size at a sum of errors (here in halves) of at most 8.
TEST(ErrorDp, WorkedExampleOfTheDualForm) {
  const std::vector<std::vector<double>> sizes = {{1, 2, 4}, {2, 3, 6}, {1, 3, 5}};
  const std::vector<std::vector<int64_t>> errors = {{10, 6, 2}, {8, 5, 1}, {12, 4, 2}};
  EXPECT_EQ(choose_options(sizes, errors, 16), (std::vector<size_t>{1, 1, 1}));
}

TEST(ErrorDp, EqualsBruteForce) {
  at::manual_seed(1);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<std::vector<double>> errors;
    std::vector<std::vector<int64_t>> costs;
    for (int item = 0; item < 6; ++item) {
      errors.emplace_back();
      costs.emplace_back();
      for (int option = 0; option < 3; ++option) {
        errors.back().push_back(at::rand({}).item<double>());
        costs.back().push_back(7 * (1 + at::randint(9, {}).item<int64_t>()));
      }
    }
    const auto sums = [&](const std::vector<size_t>& choice) {
      std::pair<double, int64_t> sum = {0, 0};
      for (size_t item = 0; item < choice.size(); ++item) {
        sum.first += errors[item][choice[item]];
        sum.second += costs[item][choice[item]];
      }
      return sum;
    };
    double best = 1e9;
    for (size_t code = 0; code < 729; ++code) {
      std::vector<size_t> choice;
      for (size_t rest = code, item = 0; item < 6; ++item, rest /= 3) choice.push_back(rest % 3);
      if (sums(choice).second <= 200) best = std::min(best, sums(choice).first);
    }
    const std::vector<size_t> found = choose_options(errors, costs, 200);
    if (best == 1e9) {
      EXPECT_TRUE(found.empty());
      continue;
    }
    ASSERT_EQ(found.size(), 6U);
    EXPECT_LE(sums(found).second, 200);
    EXPECT_NEAR(sums(found).first, best, 1e-12);
  }
}

TEST(ErrorDp, UnreachableBudgetsGiveNothing) {
  EXPECT_TRUE(choose_options({{1}}, {{5}}, 4).empty());
  EXPECT_TRUE(choose_options({{1}}, {{5}}, -1).empty());
  EXPECT_EQ(choose_options({{1}}, {{5}}, 5), std::vector<size_t>{0});
  // Costs without a common divisor, far more units than there is room for.
  EXPECT_EQ(choose_options({{1, 2}, {1, 4}}, {{4000000007, 1000000009}, {4000000009, 1000000007}}, 5100000000),
            (std::vector<size_t>{1, 0}));
}

std::map<std::string, double> allocate(const std::map<std::string, ParamValue>& given) {
  const MethodEntry& entry = find_method("error-dp", "test");
  const auto allocation = entry.allocate(Params("test", entry.parameters, given));
  Linear hard = test::make_linear(test::lcg(5, 8, 64).to(at::kFloat)), easy = hard;
  easy.name = "model.layers.1.mlp.up_proj";
  // Two values of the 2-bit grid -1, 0, 1, 2, which loses nothing.
  easy.weight = DenseWeight{(test::lcg(6, 8, 64).sign() * 1.5 + 0.5).to(at::kFloat)};
  const LayerStats stats = test::stats_of(test::lcg(4, 64, 200));
  allocation->look({&hard, &easy}, {stats, stats});
  return allocation->values();
}

TEST(ErrorDp, BitsGoWhereTheyHelp) {
  const auto values = allocate({{"mean", 5.0}, {"options", std::string("8, 4,2")}});
  EXPECT_EQ(values.at("model.layers.0.mlp.up_proj"), 8);
  EXPECT_EQ(values.at("model.layers.1.mlp.up_proj"), 2);
}

TEST(ErrorDp, SparsitiesKeepTheirMean) {
  const auto values = allocate({{"parameter", std::string("sparsity")},
                                {"trial", std::string("wanda")},
                                {"mean", 0.5},
                                {"options", std::string("0.3,0.5,0.7")}});
  double sum = 0;
  for (const auto& [name, value] : values) sum += value;
  EXPECT_GE(sum, 1 - 1e-12);
}

TEST(ErrorDp, BadSettingsAreRefused) {
  EXPECT_THROW(allocate({{"options", std::string("8,,4")}}), Error);
  EXPECT_THROW(allocate({{"options", std::string("")}}), Error);
  EXPECT_THROW(allocate({{"options", std::string("9")}}), Error);  // more bits than the trial has
  EXPECT_THROW(allocate({{"trial", std::string("owl")}}), Error);
  EXPECT_THROW(allocate({{"trial", std::string("wanda")}}), Error);  // has no bits
  EXPECT_THROW(allocate({{"mean", 1.0}}), Error);
}

}  // namespace
}  // namespace ockham
