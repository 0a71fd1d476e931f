// The pipeline on a real trained model against results of the methods' reference implementations.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ockham/io/safetensors.h"
#include "ockham/pipeline/compress.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

struct Row {
  const char* name;
  const char* method;
  std::map<std::string, ParamValue> params;
};

std::vector<Row> rows() {
  const std::string n_of_m = "2:4";
  return {{"magnitude-50", "magnitude", {{"sparsity", 0.5}}},
          {"magnitude-2:4", "magnitude", {{"pattern", n_of_m}}},
          {"wanda-50", "wanda", {{"sparsity", 0.5}}},
          {"wanda-2:4", "wanda", {{"pattern", n_of_m}}},
          {"rtn-w4-asym-channel", "rtn", {{"bits", int64_t{4}}}},
          {"rtn-w8-asym-channel", "rtn", {{"bits", int64_t{8}}}},
          {"sparsegpt-50", "sparsegpt", {{"sparsity", 0.5}}},
          {"sparsegpt-2:4", "sparsegpt", {{"pattern", n_of_m}}},
          {"gptq-w4-asym-channel", "gptq", {{"bits", int64_t{4}}}},
          {"gptq-w4-asym-channel-actorder", "gptq", {{"bits", int64_t{4}}, {"act_order", true}}},
          {"gptq-w4-asym-channel-truesequential", "gptq", {{"bits", int64_t{4}}, {"true_sequential", true}}}};
}

TEST(Golden, RowsOfTheReferenceImplementations) {
  OCKHAM_REQUIRE_DATA(test::stories());
  const Json golden = read_json_file(test_data("golden/stories260K/perplexity.json"));
  const Tensor ids = test::read_ids(test_data("golden/stories260K/test_ids.npy"));
  for (const Row& row : rows()) {
    Recipe recipe;
    recipe.name = row.name;
    recipe.calibration.data = test_data("golden/stories260K/calibration_ids.npy");
    recipe.steps = {{row.method, {"blocks.*"}, row.params, "test"}};
    const auto decoder = Checkpoint(test::stories()).read_all(DType::kF32);
    const CompressionResult result = compress_in_memory(*decoder, recipe, test::stories(), {});
    EXPECT_NEAR(result.sparsity, golden[row.name]["sparsity"].get<double>(), 1e-3) << row.name;
    decoder->make_dense();
    const at::NoGradGuard no_grad;
    const double expected = golden[row.name]["perplexity"].get<double>();
    // Second-order methods amplify the order of summation.
    const bool is_second_order = std::string(row.method) == "sparsegpt" || std::string(row.method) == "gptq";
    EXPECT_NEAR(test::perplexity(*decoder, ids), expected, expected * (is_second_order ? 5e-3 : 1e-3)) << row.name;
  }
}

TEST(Golden, WeightsOfTheReferenceImplementations) {
  OCKHAM_REQUIRE_DATA(test::stories());
  for (const auto& [file, method, params] :
       std::vector<Row>{{"sparsegpt-50", "sparsegpt", {{"sparsity", 0.5}}},
                        {"gptq-w4-asym-channel", "gptq", {{"bits", int64_t{4}}}}}) {
    Recipe recipe;
    recipe.calibration.data = test_data("golden/stories260K/calibration_ids.npy");
    recipe.steps = {{method, {"blocks.*"}, params, "test"}};
    const auto decoder = Checkpoint(test::stories()).read_all(DType::kF32);
    compress_in_memory(*decoder, recipe, test::stories(), {});
    decoder->make_dense();
    const SafetensorsFile golden(test::golden() + "/" + file + ".safetensors");
    double squares = 0, distances = 0;
    for (const auto& [name, weight] : decoder->parameters()) {
      if (golden.find(name) == nullptr) continue;
      const TensorInfo* info = golden.find(name);
      ASSERT_EQ(info->dtype, DType::kF32);
      Tensor expected = at::empty(info->shape, at::kFloat);
      const auto bytes = golden.data(*info);
      std::memcpy(expected.mutable_data_ptr(), bytes.data(), bytes.size());
      squares += expected.square().sum(at::kDouble).item<double>();
      distances += (weight - expected).square().sum(at::kDouble).item<double>();
    }
    ASSERT_GT(squares, 0);
    EXPECT_LT(std::sqrt(distances / squares), 1e-3) << file;
  }
}

}  // namespace
}  // namespace ockham
