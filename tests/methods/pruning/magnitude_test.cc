// magnitude against the worked example and its own rules.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(Magnitude, PrunesUpToAndIncludingTheThresholdOfTheMatrix) {
  const Tensor before = test::example_weights();
  const Tensor after = test::run_method("magnitude", {{"sparsity", 0.5}}, before);
  EXPECT_EQ((after == 0).sum().item<int64_t>(), 17);
  EXPECT_NEAR(test::output_error(after, before, test::set_a()), 16.6617, 5e-4);
  EXPECT_TRUE(at::equal(after.masked_select(after != 0), before.masked_select(after != 0)));
}

TEST(Magnitude, RowGroupRemovesTheSameCountFromEveryRow) {
  const Tensor after =
      test::run_method("magnitude", {{"sparsity", 0.4}, {"group", std::string("row")}}, test::example_weights());
  EXPECT_TRUE(at::equal((after == 0).sum(1), at::full({4}, 3, at::kLong)));  // int(8 * 0.4)
}

TEST(Magnitude, EndsOfTheRange) {
  const Tensor before = test::example_weights();
  EXPECT_TRUE(at::equal(test::run_method("magnitude", {{"sparsity", 0.0}}, before), before));
  EXPECT_EQ(test::run_method("magnitude", {{"sparsity", 1.0}}, before).count_nonzero().item<int64_t>(), 0);
}

TEST(Magnitude, NOfMZeroesTheSmallestOfEveryGroup) {
  const Tensor before = at::tensor({1.0f, -2.0f, 3.0f, 0.5f, 4.0f, 4.0f, 4.0f, -4.0f}).view({1, 8});
  EXPECT_EQ(test::mask_text(test::run_method("magnitude", {{"pattern", std::string("2:4")}}, before)), "10011100");
  EXPECT_EQ(test::mask_text(test::run_method("magnitude", {{"pattern", std::string("1:4")}}, before)), "00011000");
  EXPECT_EQ(test::mask_text(test::run_method("magnitude", {{"pattern", std::string("4:8")}}, before)), "11110000");
}

TEST(Magnitude, IsIdempotentForNOfM) {
  const std::map<std::string, ParamValue> params = {{"pattern", std::string("2:4")}};
  const Tensor once = test::run_method("magnitude", params, test::example_weights());
  EXPECT_TRUE(at::equal(test::run_method("magnitude", params, once), once));
}

}  // namespace
}  // namespace ockham
