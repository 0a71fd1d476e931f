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

Int8Weight int8_weight(int64_t rows, int64_t columns, bool has_kept) {
  Int8Weight weight;
  weight.codes = at::randint(-127, 128, {rows, columns}).to(at::kChar);
  weight.scales = at::rand({rows}) * 0.1 + 0.01;
  if (!has_kept) return weight;
  weight.threshold = 6;
  weight.kept = at::tensor({1, 4}, at::kLong);
  weight.codes.index_fill_(1, weight.kept, 0);
  weight.kept_values = at::randn({rows, 2});
  return weight;
}

Float8Weight float8_weight(int64_t rows, int64_t columns, int64_t tall, int64_t wide) {
  const Tensor codes = (at::randn({rows, columns}) * 100).clamp(-448, 448).to(at::kFloat8_e4m3fn);
  return {tall, wide, codes.view(at::kByte),
          at::rand({(rows + tall - 1) / tall, (columns + wide - 1) / wide}) * 0.1 + 0.01};
}

NestedIntWeight nested_weight(int64_t rows, int64_t columns, int64_t bits, bool is_masked) {
  NestedIntWeight weight;
  weight.bits = bits;
  weight.group_size = 8;
  weight.codes = at::randint(int64_t{1} << bits, {rows, columns}, at::kByte);
  weight.scales = at::rand({rows, (columns + 7) / 8}) * 0.1 + 0.01;
  weight.lows = -at::rand({rows, (columns + 7) / 8});
  if (is_masked) weight.mask = at::rand({rows, columns}) < 0.5;
  return weight;
}

GroupSparseWeight group_sparse_weight(int64_t rows, int64_t groups, int64_t bits, int64_t group_size) {
  GroupSparseWeight weight{rows, groups * group_size, bits, group_size, at::rand({rows, groups}) < 0.5, {}, {}, {}};
  const int64_t kept = weight.kept.sum().item<int64_t>(), levels = int64_t{1} << bits;
  weight.codes = at::randint(levels, {kept, group_size}, at::kByte);
  weight.scales = at::rand({kept}) * 0.1 + 0.01;
  weight.zeros = at::randint(levels, {kept}, at::kByte);
  return weight;
}

LowRankWeight low_rank_weight(int64_t rows, int64_t columns, int64_t rank, const std::optional<Weight>& base) {
  LowRankWeight weight{nullptr, at::randn({rows, rank}), at::randn({rank, columns})};
  if (base) weight.base = std::make_shared<const WeightBox>(WeightBox{*base});
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

TEST(Weight, BitsOfEveryWidthAndLengthComeBack) {
  for (int64_t bits = 1; bits <= 8; ++bits) {
    for (const int64_t count : {1, 7, 8, 9, 64, 131}) {
      const Tensor codes = at::randint(0, int64_t{1} << bits, {70, count}).to(at::kByte);
      EXPECT_TRUE(at::equal(unpack_bits(pack_bits(codes, bits), bits, count), codes)) << bits << " " << count;
    }
  }
  const Tensor flags = at::tensor({1, 0, 1, 1, 0, 0, 0, 1, 1}).to(at::kByte).unsqueeze(0);
  EXPECT_TRUE(at::equal(pack_bits(flags, 1).flatten().to(at::kLong), at::tensor({0b10001101, 1})));
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

std::vector<Weight> newer_formats() {
  std::vector<Weight> weights = {int8_weight(7, 21, false), int8_weight(7, 21, true), float8_weight(7, 21, 1, 21),
                                 float8_weight(7, 21, 4, 8)};
  for (int64_t bits = 2; bits <= 8; ++bits) {
    for (const bool is_masked : {false, true}) weights.push_back(nested_weight(7, 21, bits, is_masked));
    weights.push_back(group_sparse_weight(7, 3, bits, 7));
  }
  weights.push_back(low_rank_weight(7, 21, 3, std::nullopt));
  weights.push_back(low_rank_weight(7, 21, 3, DenseWeight{at::randn({7, 21})}));
  weights.push_back(low_rank_weight(7, 21, 3, sparse_weight(at::randn({7, 21}).relu())));
  weights.push_back(low_rank_weight(7, 21, 3, group_weight(7, 21, 4, 8, false, true)));
  weights.push_back(low_rank_weight(7, 21, 3, int8_weight(7, 21, true)));
  return weights;
}

TEST(Weight, NewerFormatsSurviveTheContainerBitForBit) {
  const Tensor input = at::randn({2, 5, 21}) * 4;
  for (const Weight& weight : newer_formats()) {
    SCOPED_TRACE(weight_format(weight));
    int64_t bytes = 0;
    const Weight back = round_trip(weight, &bytes);
    EXPECT_EQ(weight_format(back), weight_format(weight));
    EXPECT_EQ(bytes, weight_bytes(weight));
    EXPECT_EQ(weight_rows(back), 7);
    EXPECT_EQ(weight_columns(back), 21);
    EXPECT_TRUE(at::equal(weight_to_dense(weight, at::kFloat), weight_to_dense(back, at::kFloat)));
    const Tensor product = weight_product(weight, input);
    EXPECT_TRUE(at::equal(product, weight_product(back, input)));
    EXPECT_TRUE(at::allclose(product, weight_product(weight_unpacked(weight, at::kFloat), input), 1e-4, 1e-4));
    const Tensor plain = input.matmul(weight_to_dense(weight, at::kFloat).t());
    EXPECT_LT(((product - plain).norm() / plain.norm()).item<double>(), 0.03);
  }
}

// A tensor that does not belong to its record is refused by name instead of read beyond its end.
TEST(Weight, WrongSizesAreRefused) {
  int refused = 0;
  for (const Weight& weight : newer_formats()) {
    const PackedWeight packed = pack_weight(weight);
    for (size_t broken = 0; broken < packed.parts.size(); ++broken) {
      const auto read = [&](const PackedPart& asked) {
        for (size_t i = 0; i < packed.parts.size(); ++i) {
          if (packed.parts[i].first != asked.suffix) continue;
          const Tensor& part = packed.parts[i].second;
          const Tensor given = i == broken ? part.narrow(-1, 0, part.size(-1) - 1).contiguous() : part;
          bool fits = given.dim() == static_cast<int64_t>(asked.shape.size());
          for (size_t d = 0; fits && d < asked.shape.size(); ++d)
            fits = asked.shape[d] < 0 || asked.shape[d] == given.size(static_cast<int64_t>(d));
          if (!fits) throw_input("shape");  // as Checkpoint does
          return given;
        }
        throw_input("missing");
      };
      EXPECT_THROW(unpack_weight(packed.record, "test", read), Error)
          << weight_format(weight) << packed.parts[broken].first;
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(Weight, RecordsOutOfRangeAreRefused) {
  const Json records[] = {{{"format", "float8"}, {"rows", 4}, {"columns", 8}, {"tile_rows", 0}, {"tile_columns", 8}},
                          {{"format", "float8"}, {"rows", 4}, {"columns", 8}, {"tile_rows", 1}, {"tile_columns", 9}},
                          {{"format", "nested-int"}, {"rows", 4}, {"columns", 8}, {"bits", 9}, {"group_size", 8}},
                          {{"format", "nested-int"}, {"rows", 4}, {"columns", 8}, {"bits", 4}, {"group_size", 0}},
                          {{"format", "group-sparse"}, {"rows", 4}, {"columns", 8}, {"bits", 4}, {"group_size", 3}},
                          {{"format", "low-rank"}, {"rows", 4}, {"columns", 8}, {"rank", -1}},
                          {{"format", "low-rank"}, {"rows", 4}, {"columns", 8}, {"rank", 2}, {"base", 3}},
                          {{"format", "low-rank"},
                           {"rows", 4},
                           {"columns", 8},
                           {"rank", 2},
                           {"base", {{"format", "low-rank"}, {"rows", 4}, {"columns", 8}, {"rank", 2}}}},
                          {{"format", "low-rank"},
                           {"rows", 4},
                           {"columns", 8},
                           {"rank", 2},
                           {"base", {{"format", "bitmap-sparse"}, {"rows", 5}, {"columns", 8}}}},
                          {{"format", "int9"}, {"rows", 4}, {"columns", 8}}};
  for (const Json& record : records) EXPECT_THROW(parse_packed_record(record, "test", 4, 8), Error) << record.dump();
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
