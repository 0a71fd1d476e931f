// Gradients block by block against those of the whole model at once, and finite differences of the loss.
#include "ockham/pipeline/gradients.h"

#include "ockham/methods/quantization/grid.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

Tensor mean_loss(const Decoder& decoder, const Tensor& ids) {
  const int64_t steps = ids.size(1) - 1;
  const Tensor logits = decoder.logits(decoder.forward(ids)).narrow(1, 0, steps);
  return at::cross_entropy_loss(logits.flatten(0, 1), ids.narrow(1, 1, steps).flatten());
}

TEST(Gradients, AgreeWithTheWholeModel) {
  const auto decoder = Decoder::random(test::tiny_config(3), 5, DType::kF32);
  for (Block& block : decoder->blocks)
    for (Linear& linear : block.linears) std::get<DenseWeight>(linear.weight).values.mul_(10);
  at::manual_seed(2);
  const Tensor ids = at::randint(40, {4, 12}, at::kLong);
  const auto read = [&](int64_t index) { return decoder->blocks[static_cast<size_t>(index)]; };
  const auto found = measure_gradients(*decoder, 3, read, ids, "");
  ASSERT_EQ(found.size(), 21U);
  const test::ScratchDirectory scratch;
  for (const auto& [name, stats] : measure_gradients(*decoder, 3, read, ids, scratch.path())) {
    EXPECT_TRUE(at::equal(stats.columns, found.at(name).columns)) << name;
    EXPECT_TRUE(at::equal(stats.fisher, found.at(name).fisher)) << name;
  }

  for (const auto& [block_index, role] : {std::pair<size_t, size_t>{0, 0}, {1, 3}, {2, 5}, {0, 6}}) {
    Linear& linear = decoder->blocks[block_index].linears[role];
    Tensor& values = std::get<DenseWeight>(linear.weight).values;
    values.requires_grad_(true);
    Tensor sum = at::zeros_like(values), squares = at::zeros_like(values);
    for (int64_t sample = 0; sample < 4; ++sample) {
      values.mutable_grad().reset();
      mean_loss(*decoder, ids.narrow(0, sample, 1)).backward();
      sum = sum + values.grad() / 4;
      squares = squares + values.grad().square() / 4;
    }
    values.requires_grad_(false);
    const GradientStats& stats = found.at(linear.name);
    const Tensor products = (values * sum).abs();
    EXPECT_TRUE(at::allclose(stats.rows, products.sum(1), 1e-3, 1e-7)) << linear.name;
    EXPECT_TRUE(at::allclose(stats.columns, products.sum(0), 1e-3, 1e-7)) << linear.name;
    EXPECT_TRUE(at::allclose(stats.fisher, squares.sum(0), 1e-3, 1e-10)) << linear.name;
  }
}

// Salience by gradients of the whole model, sample by sample: (a + a^2 / 2), a = sum over the row of gradient times
// what rounding changes.
TEST(Gradients, RowsOfAllLinearsAreRankedBySalience) {
  const auto decoder = Decoder::random(test::tiny_config(2), 7, DType::kF32);
  for (Block& block : decoder->blocks)
    for (Linear& linear : block.linears) std::get<DenseWeight>(linear.weight).values.mul_(10);
  at::manual_seed(3);
  const Tensor ids = at::randint(40, {3, 12}, at::kLong);
  const auto found = measure_gradients(
      *decoder, 2, [&](int64_t index) { return decoder->blocks[static_cast<size_t>(index)]; }, ids, "");
  std::vector<std::pair<double, double>> rows;  // place, salience
  for (Block& block : decoder->blocks)
    for (Linear& linear : block.linears) {
      Tensor& values = std::get<DenseWeight>(linear.weight).values;
      const Tensor change = round_trip(values, {4, 128, false}, at::kFloat) - values;
      values.requires_grad_(true);
      Tensor salience = at::zeros({values.size(0)});
      for (int64_t sample = 0; sample < 3; ++sample) {
        values.mutable_grad().reset();
        mean_loss(*decoder, ids.narrow(0, sample, 1)).backward();
        const Tensor a = (values.grad() * change).sum(1);
        salience = salience + (a + a.square() / 2).abs();
      }
      values.requires_grad_(false);
      for (int64_t row = 0; row < values.size(0); ++row)
        rows.emplace_back(found.at(linear.name).place[row].item<double>(), salience[row].item<double>());
    }
  std::sort(rows.begin(), rows.end());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_DOUBLE_EQ(rows[i].first, static_cast<double>(i + 1) / static_cast<double>(rows.size()));
    if (i == 0) continue;
    EXPECT_LE(rows[i].second, rows[i - 1].second * (1 + 1e-3) + 1e-9) << i;
  }
}

}  // namespace
}  // namespace ockham
