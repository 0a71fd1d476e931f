#include "ockham/bench/shapes.h"

#include <gtest/gtest.h>

#include "ockham/bench/model_cost.h"
#include "ockham/bench/random_model.h"
#include "ockham/core/error.h"
#include "ockham/runtime/engine_model.h"

namespace ockham {
namespace {

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

// The published numbers of parameters.
TEST(Shapes, HaveTheParametersOfTheirModels) {
  const std::vector<std::pair<const char*, int64_t>> known = {
      {"tinyllama-1.1b", 1100048384},
      {"llama-7b", 6738415616},
      {"Llama-2-13b-hf", 13015864320},
      {"opt-125m", 125239296},
      {"opt-350m", 331196416},
      {"opt-6.7b", 6658473984},
      {"gpt2", 124439808},
      {"qwen2.5-0.5b", 494032768},
      {"llama-3.2-1b", 1235814400},
      {"mistral-7b", 7241732096},
      {"llama-3.1-8b", 8030261248},
  };
  for (const auto& [name, parameters] : known) EXPECT_EQ(parameter_count(find_shape(name)), parameters) << name;
}

TEST(Shapes, AllAreReadable) {
  EXPECT_GE(shape_names().size(), 15U);
  for (const std::string& name : shape_names()) EXPECT_GT(find_shape(name).blocks, 0) << name;
}

TEST(Shapes, UnknownNamesTheNearest) {
  EXPECT_NE(error_of([] { find_shape("tinylama-1.1b"); }).find("did you mean 'tinyllama-1.1b'?"), std::string::npos);
  EXPECT_NE(error_of([] { find_shape("opt"); }).find("opt-125m"), std::string::npos);
  EXPECT_NE(error_of([] { find_shape("zzz"); }).find("known are"), std::string::npos);
  EXPECT_NE(error_of([] { find_shape(""); }).find("known are"), std::string::npos);
}

TEST(WeightFormats, AreParsed) {
  EXPECT_EQ(parse_weight_format("int4", 128, 0).name(), "int4 g128");
  EXPECT_EQ(parse_weight_format("int8", 0, 0.5).name(), "int8 rows 50 %");
  EXPECT_EQ(parse_weight_format("bf16", 128, 0.625).name(), "bf16 62.5 %");
  EXPECT_EQ(parse_weight_format("gqsa", 128, 0).name(), "gqsa 50 %");
  for (const char* bad : {"", "int1", "int9", "int44", "fp8", "INT4"})
    EXPECT_NE(error_of([&] { parse_weight_format(bad, 128, 0); }).find("f32, f16, bf16"), std::string::npos) << bad;
  for (const double bad : {-0.1, 1.0, 50.0, std::nan("")})
    EXPECT_NE(error_of([&] { parse_weight_format("int4", 128, bad); }).find("--sparsity"), std::string::npos) << bad;
  for (const int64_t bad : {-16, 8, 100})
    EXPECT_NE(error_of([&] { parse_weight_format("int4", bad, 0); }).find("--group"), std::string::npos) << bad;
}

RandomModelSpec toy_spec(const std::string& format, double sparsity, int64_t group = 32) {
  RandomModelSpec spec{"toy", find_shape("toy"), parse_weight_format(format, group, sparsity), {}};
  return spec;
}

TEST(RandomModel, TakesTheBytesThatWereExpected) {
  const std::vector<std::pair<const char*, double>> formats = {
      {"f32", 0},  {"f16", 0},   {"bf16", 0},   {"int8", 0},   {"int6", 0},   {"int5", 0},   {"int4", 0}, {"int3", 0},
      {"int2", 0}, {"f32", 0.5}, {"bf16", 0.7}, {"int8", 0.5}, {"int4", 0.8}, {"gqsa", 0.5}, {"f32", 0.9}};
  for (const auto& [format, sparsity] : formats) {
    const RandomModelSpec spec = toy_spec(format, sparsity);
    const ModelCost cost = cost_of(read_engine_model(make_random_model(spec)));
    EXPECT_LE(cost.packed_bytes, 1.12 * expected_bytes(spec)) << format << " " << sparsity;
    EXPECT_GE(cost.packed_bytes, 0.75 * expected_bytes(spec)) << format << " " << sparsity;
  }
}

TEST(RandomModel, WeighsWhatItsShapeSays) {
  const RandomModelSpec spec = toy_spec("int4", 0);
  const EngineModel model = read_engine_model(make_random_model(spec));
  const ModelCost cost = cost_of(model);
  const ModelConfig& config = spec.config;
  const int64_t block = config.hidden_size * (2 * config.heads + 2 * config.kv_heads) * config.head_dim +
                        3 * config.hidden_size * config.intermediate_size;
  EXPECT_EQ(cost.linear_weights, static_cast<double>(config.blocks * block));
  EXPECT_EQ(cost.weights, static_cast<double>(config.blocks * block + config.vocabulary * config.hidden_size));
  EXPECT_EQ(cost.unit, MultiplyUnit::kInt8);
  EXPECT_EQ(cost.kept_dense, 1);
  EXPECT_EQ(cost_of(read_engine_model(make_random_model(toy_spec("bf16", 0)))).unit, MultiplyUnit::kBF16);
  EXPECT_EQ(cost_of(read_engine_model(make_random_model(toy_spec("f32", 0)))).unit, MultiplyUnit::kF32);
  // Few zeros do not pay as a bitmap, many do.
  EXPECT_EQ(cost_of(read_engine_model(make_random_model(toy_spec("int4", 0.05)))).kept_dense, 1);
  EXPECT_EQ(cost_of(read_engine_model(make_random_model(toy_spec("bf16", 0.6)))).kept_dense, 0);
}

TEST(RandomModel, MatricesHaveMemoryOfTheirOwn) {
  const EngineModel model = read_engine_model(make_random_model(toy_spec("bf16", 0)));
  std::vector<const uint8_t*> places;
  for (const EngineBlock& block : model.blocks)
    for (const EngineLinear* linear : {&block.query, &block.key, &block.value, &block.output, &block.mlps[0].gate})
      places.push_back(std::get<DenseRows>(linear->weight.parts()[0].layout).values);
  std::sort(places.begin(), places.end());
  EXPECT_EQ(std::adjacent_find(places.begin(), places.end()), places.end());
}

TEST(StepCosts, CountWeightsAndCaches) {
  const EngineModel model = read_engine_model(make_random_model(toy_spec("f32", 0)));
  const ModelConfig& config = model.config();
  const ModelCost cost = cost_of(model);
  const double cache = 2.0 * static_cast<double>(config.blocks * config.kv_heads * config.head_dim) * 4;
  const double attention = 4.0 * static_cast<double>(config.blocks * config.heads * config.head_dim);
  KvShape shape;
  shape.blocks = config.blocks;
  shape.kv_heads = config.kv_heads;
  shape.head_dim = config.head_dim;
  const StepCost one = decode_cost(model, 100, 1, shape), four = decode_cost(model, 100, 4, shape);
  EXPECT_DOUBLE_EQ(one.bytes, cost.packed_bytes + 100 * cache);
  EXPECT_DOUBLE_EQ(one.operations, 2 * cost.weights + 100 * attention);
  EXPECT_DOUBLE_EQ(four.bytes, cost.packed_bytes + 400 * cache);
  EXPECT_DOUBLE_EQ(four.operations, 4 * one.operations);
  const StepCost prefill = prefill_cost(model, 600, 1, 512, shape);
  EXPECT_DOUBLE_EQ(prefill.operations,
                   600 * (2 * cost.linear_weights + 300.5 * attention) + 2 * (cost.weights - cost.linear_weights));
  EXPECT_GT(prefill.bytes, 2 * cost.linear_bytes);
}

}  // namespace
}  // namespace ockham
