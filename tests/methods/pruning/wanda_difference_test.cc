#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

// Two texts of four input columns: the first is loud in columns 0 and 1, the second in columns 0 and 2.
LayerStats two_texts() {
  LayerStats stats;
  stats.mean_square = at::tensor({100.0F, 9.0F, 0.01F, 1.0F});
  stats.contrast_mean_square = at::tensor({100.0F, 0.01F, 9.0F, 1.0F});
  return stats;
}

TEST(WandaDifference, RemovesWhatOnlyTheFirstTextNeeds) {
  const at::Tensor weights = at::tensor({1.0F, 1.0F, 1.0F, 1.0F, 2.0F, 2.0F, 2.0F, 2.0F}).view({2, 4});
  // On the second text the scores are 10 0.1 3 1 / 20 0.2 6 2: the four highest stand in columns 0 and 2. Of the rest
  // the first text scores 3 1 / 6 2.
  const auto mask = [&](double sparsity, double keep) {
    return test::mask_text(
        test::run_method("wanda-difference", {{"sparsity", sparsity}, {"keep", keep}}, weights, two_texts()));
  };
  EXPECT_EQ(mask(0.125, 0.5), "0000 0100");
  EXPECT_EQ(mask(0.25, 0.5), "0100 0100");
  EXPECT_EQ(mask(0.375, 0.5), "0100 0101");
  EXPECT_EQ(mask(0.5, 0.5), "0101 0101");
  // Nothing kept: the highest on the first text, as the set difference with an empty second set.
  EXPECT_EQ(mask(0.25, 0.0), "1000 1000");
  EXPECT_EQ(mask(0.0, 0.5), "0000 0000");
}

// top q of the first ranking without top p of the second, for the q that removes as many.
TEST(WandaDifference, IsTheSetDifferenceOfTwoRankings) {
  const at::Tensor weights = test::lcg(1, 16, 24).to(at::kFloat);
  LayerStats stats;
  stats.mean_square = test::lcg(2, 1, 24).abs().flatten().to(at::kFloat);
  stats.contrast_mean_square = test::lcg(3, 1, 24).abs().flatten().to(at::kFloat);
  const at::Tensor first = (weights.abs() * stats.mean_square.sqrt()).flatten(),
                   second = (weights.abs() * stats.contrast_mean_square.sqrt()).flatten();
  const int64_t all = weights.numel(), kept = all / 10;
  const at::Tensor top_second = std::get<1>(second.topk(kept));
  at::Tensor pruned =
      test::run_method("wanda-difference", {{"sparsity", 0.05}, {"keep", 0.1}}, weights, stats).flatten() == 0;
  const auto removed = pruned.sum().item<int64_t>();
  EXPECT_EQ(removed, static_cast<int64_t>(0.05 * static_cast<double>(all)));
  for (int64_t q = removed; q <= all; ++q) {
    at::Tensor set = at::zeros({all}, at::kBool);
    set.index_fill_(0, std::get<1>(first.topk(q)), true);
    set.index_fill_(0, top_second, false);
    if (set.sum().item<int64_t>() < removed) continue;
    EXPECT_TRUE(at::equal(set, pruned));
    return;
  }
  FAIL() << "no q removes as many";
}

TEST(WandaDifference, RandomWeightsOfTheSameNumber) {
  const at::Tensor weights = test::lcg(1, 16, 24).to(at::kFloat);
  const auto run = [&](int64_t seed) {
    return test::run_method("wanda-difference", {{"sparsity", 0.25}, {"choose", std::string("random")}, {"seed", seed}},
                            weights);
  };
  EXPECT_EQ((run(0) == 0).sum().item<int64_t>(), 96);
  EXPECT_TRUE(at::equal(run(0), run(0)));
  EXPECT_FALSE(at::equal(run(0), run(1)));
}

TEST(WandaDifference, RefusesToRemoveWhatItKeeps) {
  const MethodEntry& entry = find_method("wanda-difference", "test");
  EXPECT_THROW(entry.make(Params("test", entry.parameters, {{"sparsity", 0.6}, {"keep", 0.5}})), Error);
}

}  // namespace
}  // namespace ockham
