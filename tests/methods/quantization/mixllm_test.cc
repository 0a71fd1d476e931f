// mixllm: which rows get 8 bits, and that both kinds are what gptq makes of them; rows of two widths on disk.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/model/packed.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

constexpr int64_t kMixRows = 16, kMixColumns = 64;

struct TwoWidths {
  Tensor weights = test::lcg(5, kMixRows, kMixColumns).to(at::kFloat);
  LayerStats stats = test::stats_of(test::lcg(4, kMixColumns, kMixColumns).matmul(test::lcg(2, kMixColumns, 256)));
  // As if these were all rows of the model: row 5 is the most salient one, then 10, 15, 4 and so on.
  TwoWidths() {
    stats.gradients.place = at::empty({kMixRows}, at::kDouble);
    for (int64_t rank = 0; rank < kMixRows; ++rank)
      stats.gradients.place[(rank + 1) * 5 % kMixRows] = static_cast<double>(rank + 1) / kMixRows;
  }
};

using MixLlmGiven = std::map<std::string, ParamValue>;

Linear mixllm(const TwoWidths& example, MixLlmGiven given, const Tensor& weights) {
  const MethodEntry& entry = find_method("mixllm", "test");
  given.try_emplace("group_size", int64_t{16});
  Linear linear = test::make_linear(weights);
  entry.make(Params("test", entry.parameters, given))->compress(linear, example.stats);
  return linear;
}

Tensor gptq_of(const TwoWidths& example, int64_t bits, const Tensor& weights) {
  return test::run_method("gptq", {{"bits", bits}, {"group_size", int64_t{16}}}, weights, example.stats);
}

TEST(MixLlm, TheMostSalientRowsAreWide) {
  const TwoWidths example;
  const Linear linear = mixllm(example, {{"share", 0.25}}, example.weights);
  const auto& weight = std::get<GroupIntWeight>(linear.weight);
  const Tensor values = weight_to_dense(linear.weight, at::kFloat);
  const Tensor wide = gptq_of(example, 8, example.weights), narrow = gptq_of(example, 4, example.weights);
  ASSERT_TRUE(weight.narrow.defined());
  EXPECT_EQ(weight.narrow.sum().item<int64_t>(), 12);
  for (int64_t row = 0; row < kMixRows; ++row) {
    const bool is_wide = row == 5 || row == 10 || row == 15 || row == 4;
    EXPECT_NE(weight.narrow[row].item<bool>(), is_wide) << row;
    EXPECT_TRUE(at::allclose(values[row], (is_wide ? wide : narrow)[row], 0, 1e-5)) << row;
  }
  // Codes, a float32 scale and an 8-bit zero for each of four groups a row, a bit a row.
  EXPECT_EQ(weight_bytes(linear.weight), 12 * 32 + 4 * 64 + kMixRows * 4 * (4 + 1) + 2);
}

TEST(MixLlm, NoneOrAllWideIsGptq) {
  const TwoWidths example;
  for (const auto& [share, bits] : {std::pair<double, int64_t>{0, 4}, {1, 8}}) {
    const Linear linear = mixllm(example, {{"share", share}}, example.weights);
    EXPECT_FALSE(std::get<GroupIntWeight>(linear.weight).narrow.defined());
    EXPECT_TRUE(at::equal(weight_to_dense(linear.weight, at::kFloat), gptq_of(example, bits, example.weights)));
  }
  EXPECT_THROW(mixllm(example, {{"bits", int64_t{6}}, {"wide_bits", int64_t{6}}}, example.weights), Error);
}

TEST(MixLlm, KeepsZerosExactly) {
  const TwoWidths example;
  const Tensor pruned = example.weights.masked_fill(test::lcg(9, kMixRows, kMixColumns).to(at::kFloat) > 0, 0);
  const Tensor after = weight_to_dense(mixllm(example, {{"share", 0.5}}, pruned).weight, at::kFloat);
  EXPECT_GT((pruned == 0).sum().item<int64_t>(), kMixRows * kMixColumns / 4);
  EXPECT_TRUE((after.masked_select(pruned == 0) == 0).all().item<bool>());
}

TEST(MixLlm, RowsOfTwoWidthsSurvivePackingAndDamageIsNamed) {
  const TwoWidths example;
  const Linear linear = mixllm(example, {{"share", 0.3}, {"bits", int64_t{3}}}, example.weights);
  PackedWeight packed = pack_weight(linear.weight);
  int64_t bytes = 0;
  for (const auto& [suffix, tensor] : packed.parts) bytes += static_cast<int64_t>(tensor.nbytes());
  EXPECT_EQ(bytes, weight_bytes(linear.weight));
  const auto read = [&](const PackedPart& part) {
    for (const auto& [suffix, tensor] : packed.parts)
      if (suffix == part.suffix) return tensor;
    throw std::runtime_error(part.suffix);
  };
  const Weight again = unpack_weight(packed.record, "test", read);
  EXPECT_EQ(std::get<GroupIntWeight>(again).narrow_bits, 3);
  EXPECT_TRUE(at::equal(weight_to_dense(again, at::kFloat), weight_to_dense(linear.weight, at::kFloat)));
  for (auto& [suffix, tensor] : packed.parts)
    if (suffix == ".narrow") tensor = at::zeros_like(tensor);
  EXPECT_THROW(unpack_weight(packed.record, "test", read), Error);
  packed.record["narrow_bits"] = 8;
  EXPECT_THROW(unpack_weight(packed.record, "test", read), Error);
}

}  // namespace
}  // namespace ockham
