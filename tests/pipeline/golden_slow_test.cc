// The pipeline on a real trained model against results of the methods' reference implementations.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

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
          {"rtn-w8-asym-channel", "rtn", {{"bits", int64_t{8}}}}};
}

TEST(Golden, RowsOfTheReferenceImplementations) {
  OCKHAM_REQUIRE_DATA(test::stories());
  const Json golden = read_json_file(test::data_path("golden/stories260K/perplexity.json"));
  const Tensor ids = test::read_ids(test::data_path("golden/stories260K/test_ids.npy"));
  for (const Row& row : rows()) {
    Recipe recipe;
    recipe.name = row.name;
    recipe.calibration.data = test::data_path("golden/stories260K/calibration_ids.npy");
    recipe.steps = {{row.method, {"blocks.*"}, row.params, "test"}};
    const auto decoder = Checkpoint(test::stories()).read_all(DType::kF32);
    const CompressionResult result = compress_in_memory(*decoder, recipe, test::stories(), {});
    EXPECT_NEAR(result.sparsity, golden[row.name]["sparsity"].get<double>(), 1e-3) << row.name;
    decoder->make_dense();
    const at::NoGradGuard no_grad;
    const double expected = golden[row.name]["perplexity"].get<double>();
    EXPECT_NEAR(test::perplexity(*decoder, ids), expected, expected * 1e-3) << row.name;
  }
}

}  // namespace
}  // namespace ockham
