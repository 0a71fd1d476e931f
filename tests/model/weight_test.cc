// Weight formats: values, sizes, the container's layout, and gradients through a whole block.
#include "ockham/model/weight.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/model/packed.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

GroupIntWeight group_weight(int64_t rows, int64_t columns, int64_t bits, int64_t group_size, bool is_symmetric,
                            bool is_masked) {
  GroupIntWeight weight;
  weight.bits = bits;
  weight.group_size = group_size;
  weight.is_symmetric = is_symmetric;
  const int64_t groups = (columns + group_size - 1) / group_size, levels = int64_t{1} << bits;
  weight.codes = at::randint(levels, {rows, columns}, at::kByte);
  weight.scales = at::rand({rows, groups}) * 0.1 + 0.01;
  if (!is_symmetric) weight.zeros = at::randint(levels, {rows, groups}, at::kByte);
  if (is_masked) {
    weight.mask = at::rand({rows, columns}) < 0.5;
    weight.codes.masked_fill_(weight.mask, 0);
  }
  return weight;
}

SparseWeight sparse_weight(const Tensor& dense) {
  SparseWeight weight{dense.size(0), dense.size(1), {}, dense != 0};
  weight.values = dense.masked_select(weight.mask);
  return weight;
}

// Through the container and back.
Weight round_trip(const Weight& weight, int64_t* bytes) {
  const PackedWeight packed = pack_weight(weight);
  *bytes = 0;
  for (const auto& [suffix, part] : packed.parts) *bytes += static_cast<int64_t>(part.nbytes());
  return unpack_weight(packed.record, "test", [&](const PackedPart& asked) {
    for (const auto& [suffix, part] : packed.parts) {
      if (suffix != asked.suffix) continue;
      EXPECT_EQ(part.scalar_type() == at::kByte, asked.is_bytes);
      for (size_t i = 0; i < asked.shape.size(); ++i) {
        EXPECT_TRUE(asked.shape[i] < 0 || part.size(static_cast<int64_t>(i)) == asked.shape[i]) << suffix;
      }
      return part;
    }
    ADD_FAILURE() << "no part " << asked.suffix;
    return Tensor();
  });
}

TEST(Weight, BitsAreStoredFromTheLowestUp) {
  const Tensor codes = at::tensor({1, 2, 3, 4, 5}, at::kByte).view({1, 5});
  const Tensor bytes = pack_bits(codes, 3);  // 001 010 011 100 101 read from the lowest bit
  ASSERT_EQ(bytes.size(1), 2);
  EXPECT_EQ(bytes[0][0].item<int>(), 0b11010001);
  EXPECT_EQ(bytes[0][1].item<int>(), 0b01011000);
  EXPECT_TRUE(at::equal(unpack_bits(bytes, 3, 5), codes));
}

TEST(Weight, EveryFormatSurvivesTheContainerBitForBit) {
  for (int64_t bits = 2; bits <= 8; ++bits) {
    for (const int64_t group_size : {5, 8, 21}) {
      for (const int flags : {0, 1, 2, 3}) {
        const Weight weight = group_weight(7, 21, bits, group_size, (flags & 1) != 0, (flags & 2) != 0);
        int64_t bytes = 0;
        const Weight back = round_trip(weight, &bytes);
        EXPECT_TRUE(at::equal(weight_to_dense(weight, at::kFloat), weight_to_dense(back, at::kFloat)))
            << bits << " " << flags;
        EXPECT_EQ(bytes, weight_bytes(weight));
        EXPECT_EQ(weight_format(back), "group-int");
      }
    }
  }
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const Tensor dense = at::randn({6, 13}).masked_fill(at::rand({6, 13}) < 0.6, 0).to(type);
    int64_t bytes = 0;
    const Weight back = round_trip(sparse_weight(dense), &bytes);
    EXPECT_TRUE(at::equal(weight_to_dense(back, type), dense));
    EXPECT_EQ(bytes, weight_bytes(sparse_weight(dense)));
  }
}

TEST(Weight, GroupIntFollowsItsFormula) {
  GroupIntWeight weight;
  weight.bits = 4;
  weight.group_size = 2;
  weight.is_symmetric = false;
  weight.codes = at::tensor({0, 15, 7, 8}, at::kByte).view({1, 4});
  weight.scales = at::tensor({0.5f, 0.25f}).view({1, 2});
  weight.zeros = at::tensor({3, 8}, at::kByte).view({1, 2});
  EXPECT_TRUE(at::equal(weight_to_dense(weight, at::kFloat), at::tensor({-1.5f, 6.0f, -0.25f, 0.0f}).view({1, 4})));
  weight.is_symmetric = true;
  EXPECT_TRUE(at::equal(weight_to_dense(weight, at::kFloat), at::tensor({-4.0f, 3.5f, -0.25f, 0.0f}).view({1, 4})));
  EXPECT_EQ(weight_bytes(weight), 2 + 8);
}

TEST(Weight, PackingHappensOnlyWhereItSaves) {
  const Tensor half = at::ones({4, 16}).masked_fill(at::arange(16) < 8, 0);
  EXPECT_EQ(weight_format(pack_if_smaller(DenseWeight{half})), "bitmap-sparse");
  EXPECT_EQ(weight_bytes(pack_if_smaller(DenseWeight{half})), 4 * 8 * 4 + 4 * 2);
  Tensor full = at::ones({4, 16});
  full[0][0] = 0;
  EXPECT_EQ(weight_format(pack_if_smaller(DenseWeight{full})), "dense");
  EXPECT_TRUE(at::equal(weight_to_dense(pack_if_smaller(DenseWeight{half}), at::kFloat), half));
}

// Central differences against backward(), for every floating-point tensor of every format, through a whole block.
class WeightGradient : public testing::TestWithParam<const char*> {};

TEST_P(WeightGradient, AgreesWithFiniteDifferences) {
  const std::string format = GetParam();
  const auto decoder = Decoder::random(test::tiny_config(1), 7, DType::kF32);
  decoder->to(at::kDouble, at::kCPU);
  Block& block = decoder->blocks[0];
  block.input_norm = block.input_norm.requires_grad_(true);
  std::vector<Tensor> variables = {block.input_norm};
  for (Linear& linear : block.linears) {
    const Tensor dense = weight_to_dense(linear.weight, at::kDouble) * 10;
    Tensor variable;
    if (format == "dense") {
      variable = dense.clone();
      linear.weight = DenseWeight{variable};
    } else if (format == "sparse") {
      SparseWeight sparse = sparse_weight(dense.masked_fill(at::rand(dense.sizes()) < 0.5, 0));
      variable = sparse.values;
      linear.weight = sparse;
    } else {
      GroupIntWeight group =
          group_weight(dense.size(0), dense.size(1), 3, 6, format == "symmetric", format == "masked");
      group.scales = group.scales.to(at::kDouble);
      variable = group.scales;
      linear.weight = group;
    }
    variable.requires_grad_(true);
    variables.push_back(variable);
  }
  Tensor input = at::randn({2, 5, 16}, at::kDouble).requires_grad_(true);
  variables.push_back(input);
  const Tensor direction = at::randn({2, 5, 16}, at::kDouble);
  const BlockContext context = decoder->make_context(2, 5, nullptr, {});
  const auto loss = [&] { return (block.forward(input, context) * direction).sum(); };
  loss().backward();

  const double step = 1e-6;
  for (size_t v = 0; v < variables.size(); ++v) {
    const Tensor gradient = variables[v].grad();
    ASSERT_TRUE(gradient.defined()) << format << ", variable " << v;
    ASSERT_GT(gradient.abs().max().item<double>(), 0) << format << ", variable " << v;
    const Tensor flat = variables[v].detach().flatten(), flat_gradient = gradient.flatten();
    for (const int64_t element : {int64_t{0}, flat.size(0) / 3, flat.size(0) - 1}) {
      const double value = flat[element].item<double>();
      flat[element].fill_(value + step);
      const double above = loss().item<double>();
      flat[element].fill_(value - step);
      const double below = loss().item<double>();
      flat[element].fill_(value);
      const double expected = (above - below) / (2 * step), found = flat_gradient[element].item<double>();
      EXPECT_NEAR(found, expected, 1e-6 + 1e-4 * std::abs(expected))
          << format << ", variable " << v << ", element " << element;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, WeightGradient,
                         testing::Values("dense", "sparse", "symmetric", "asymmetric", "masked"),
                         [](const auto& format) { return std::string(format.param); });

}  // namespace
}  // namespace ockham
