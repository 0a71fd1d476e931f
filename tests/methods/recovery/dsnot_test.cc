// dsnot: the worked example step by step, and what it never changes.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

Tensor worked_inputs() {
  return at::tensor({1., 2., 3., 2., 1., 1., 2., 0., 2., 2., 2., 2.5, 1., 0., 1., 0., .5, .5, .4, .6, 3., 1., 2., 2.},
                    at::kDouble)
      .view({6, 4});
}
Tensor worked_weights() {
  return at::tensor({.5F, -.4F, .3F, -.2F, .6F, .1F}).view({1, 6});
}

Tensor refine(const Tensor& dense, const Tensor& pruned, LayerStats stats,
              std::map<std::string, ParamValue> params = {}) {
  stats.original = dense;
  return test::run_method("dsnot", params, pruned, stats);
}

TEST(Dsnot, WorkedExample) {
  const Tensor dense = worked_weights(), inputs = worked_inputs();
  const LayerStats stats = test::stats_of(inputs);
  const Tensor pruned = test::run_method("magnitude", {{"sparsity", 0.5}, {"group", std::string("row")}}, dense);
  ASSERT_EQ(test::mask_text(pruned), "001101");
  const Tensor after = refine(dense, pruned, stats);
  EXPECT_EQ(test::mask_text(after), "010011");
  EXPECT_NEAR(test::output_error(pruned, dense, inputs), 2.2425, 1e-3);
  EXPECT_NEAR(test::output_error(after, dense, inputs), .4832, 1e-3);
  EXPECT_TRUE(at::equal(after, dense.masked_fill(after == 0, 0)));
}

TEST(Dsnot, KeepsCountsValuesAndPatterns) {
  const Tensor dense = test::lcg(11, 16, 32).to(at::kFloat);
  const Tensor inputs = test::lcg(12, 32, 64) + test::lcg(13, 32, 1) * 2;
  const LayerStats stats = test::stats_of(inputs);
  const auto shift = [&](const Tensor& weights) {
    return (weights - dense).matmul(stats.mean).abs().sum().item<float>();
  };
  const Tensor rows = test::run_method("wanda", {{"sparsity", 0.5}}, dense, stats);
  const Tensor after = refine(dense, rows, stats);
  EXPECT_TRUE(((after == 0).sum(1) == 16).all().item<bool>());
  EXPECT_TRUE(at::equal(after, dense.masked_fill(after == 0, 0)));
  EXPECT_LT(shift(after), shift(rows));
  const std::string pattern = "2:4";
  const Tensor groups = test::run_method("wanda", {{"pattern", pattern}}, dense, stats);
  const Tensor exchanged = refine(dense, groups, stats, {{"pattern", pattern}});
  EXPECT_TRUE(((exchanged.view({-1, 4}) == 0).sum(1) == 2).all().item<bool>());
  EXPECT_FALSE(at::equal(exchanged, groups));
}

TEST(Dsnot, NothingHappensWithinTheThreshold) {
  const Tensor dense = worked_weights();
  const Tensor pruned = test::run_method("magnitude", {{"sparsity", 0.5}, {"group", std::string("row")}}, dense);
  EXPECT_TRUE(at::equal(refine(dense, pruned, test::stats_of(worked_inputs()), {{"threshold", 3.0}}), pruned));
}

TEST(Dsnot, SameSignNeverOvershoots) {
  const Tensor dense = worked_weights();
  const LayerStats stats = test::stats_of(worked_inputs());
  const Tensor pruned = test::run_method("magnitude", {{"sparsity", 0.5}, {"group", std::string("row")}}, dense);
  const auto change = [&](const Tensor& weights) { return (dense - weights).matmul(stats.mean).item<float>(); };
  const Tensor after = refine(dense, pruned, stats, {{"same_sign", true}});
  EXPECT_GE(change(after) * change(pruned), 0);
}

TEST(Dsnot, KeepsWhatSparseGptMadeOfTheKeptWeights) {
  const Tensor dense = test::example_weights();
  const LayerStats stats = test::stats_of(test::set_b());
  const Tensor updated = test::run_method("sparsegpt", {{"sparsity", 0.5}, {"block_size", int64_t{8}}}, dense, stats);
  const Tensor after = refine(dense, updated, stats, {{"threshold", 0.0}});
  const Tensor stayed = (updated != 0).logical_and(after != 0);
  EXPECT_TRUE(at::equal(after.masked_select(stayed), updated.masked_select(stayed)));
  EXPECT_EQ((after == 0).sum().item<int64_t>(), (updated == 0).sum().item<int64_t>());
}

TEST(Dsnot, RefusesQuantizedWeights) {
  const MethodEntry& entry = find_method("dsnot", "test");
  Linear linear = test::make_linear(test::example_weights());
  LayerStats stats = test::stats_of(test::set_a());
  stats.original = test::example_weights();
  const MethodEntry& rtn = find_method("rtn", "test");
  rtn.make(Params("test", rtn.parameters, {}))->compress(linear, stats);
  EXPECT_THROW(entry.make(Params("test", entry.parameters, {}))->compress(linear, stats), Error);
}

}  // namespace
}  // namespace ockham
