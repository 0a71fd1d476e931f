// Divergence between scripted models, and flips.
#include "ockham/eval/fidelity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ockham/core/error.h"
#include "tests/eval/fake_model.h"

namespace ockham {
namespace {

TEST(Fidelity, CombinesByHand) {
  // Tokens 0..3 in one window, 10 in another.
  const std::vector<WindowDivergence> windows = {{{0, 1, 2, 3}, 3}, {{10}, 0}};
  const Fidelity result = combine_divergences(windows, 0);
  EXPECT_EQ(result.tokens, 5);
  EXPECT_DOUBLE_EQ(result.kl_mean.value, 16.0 / 5);
  EXPECT_DOUBLE_EQ(result.kl_median.value, 2);
  EXPECT_DOUBLE_EQ(result.kl_p99.value, 10);
  EXPECT_DOUBLE_EQ(result.top1_agreement.value, 0.6);
  EXPECT_LE(result.kl_mean.interval.low, 1.6);
  EXPECT_GE(result.kl_mean.interval.high, 9.9);  // resamples of only one window exist
}

TEST(Fidelity, WindowsAreTheUnitOfResampling) {
  // Two hundred equal tokens in one window: no other window, hence no spread.
  const Fidelity one = combine_divergences(std::vector<WindowDivergence>{{std::vector<float>(200, 0.5F), 200}}, 0);
  EXPECT_DOUBLE_EQ(one.kl_mean.interval.low, 0.5);
  EXPECT_DOUBLE_EQ(one.kl_mean.interval.high, 0.5);
  EXPECT_DOUBLE_EQ(one.top1_agreement.value, 1);
}

TEST(Fidelity, AModelWithoutDistributionsSaysSo) {
  FakeModel model([](const std::string&, uint64_t) { return ""; });
  try {
    divergence(model, model, {{1, 2, 3}, 1, 0});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

ItemResult item(const std::string& id, double score) {
  ItemResult result;
  result.id = id;
  result.score = score;
  return result;
}

TEST(Flips, CountsBothDirections) {
  const std::vector<ItemResult> dense = {item("a", 1), item("b", 1), item("c", 0), item("d", 0)},
                                compressed = {item("a", 0), item("b", 1), item("c", 1), item("d", 0)};
  const Flips flips = count_flips(dense, compressed).value();
  EXPECT_EQ(flips.lost, 1);
  EXPECT_EQ(flips.gained, 1);
  EXPECT_EQ(flips.n, 4);
  EXPECT_GT(flips.lost_share.high, 0.25);
  const Flips none = count_flips(dense, dense).value();
  EXPECT_EQ(none.lost + none.gained, 0);
  EXPECT_FALSE(count_flips({item("a", 0.5)}, {item("a", 1)}).has_value());
  EXPECT_THROW(count_flips({item("a", 1)}, {item("b", 1)}), Error);
  EXPECT_THROW(count_flips({item("a", 1)}, {}), Error);
}

}  // namespace
}  // namespace ockham
