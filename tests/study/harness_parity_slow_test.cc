// Log-likelihoods and whole-task scores against those of lm-evaluation-harness on transformers, stored by
// `make test-interop GOLDEN=1` for a model that does not change.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "ockham/eval/evaluate.h"
#include "ockham/pipeline/torch_language_model.h"
#include "tests/test_data.h"

namespace ockham {
namespace {

class HarnessParity : public testing::TestWithParam<std::string> {};

TEST_P(HarnessParity, SameNumbers) {
  const std::string model_path = test_data() + "/models/stories260K", data = test_data() + "/data";
  if (!std::filesystem::exists(model_path) || !std::filesystem::exists(data + "/zeroshot"))
    GTEST_SKIP() << "no model or data below " << test_data() << "; set OCKHAM_TEST_DATA";
  static TorchLanguageModel model(model_path, {.device = "cpu", .dtype = DType::kF32});
  static const Json golden = read_json_file(std::string(OCKHAM_SOURCE_DIR) + "/tests/study/harness_parity.json");
  const std::string key = GetParam(), name = key.substr(0, key.find('@'));
  const Json& expected = golden["tasks"].at(key);
  EvalOptions options;
  options.tier = Tier::kFull;
  options.data_directory = data;
  options.num_fewshot = std::stoll(key.substr(key.find('@') + 1));
  const TaskResult result =
      evaluate(model, read_task(std::string(OCKHAM_SOURCE_DIR) + "/tasks/" + name + ".yaml"), options);
  ASSERT_EQ(result.items.size(), expected["items"].get<size_t>());
  for (const MetricResult& metric : result.metrics) {
    if (!expected["metrics"].contains(metric.name)) continue;
    const double value = expected["metrics"][metric.name];
    const double ours = metric.unit == "points" ? metric.value / 100 : metric.value;
    EXPECT_NEAR(ours, value, metric.unit == "ppl" ? 1e-4 * value : 1e-12) << metric.name;
  }
  size_t seen = 0;
  for (const ItemResult& item : result.items) {
    const auto wanted = expected["logprobs"].find(item.id);
    if (wanted == expected["logprobs"].end()) continue;
    ++seen;
    const Json ours = item.extra.contains("logprobs") ? item.extra["logprobs"] : Json({item.extra["logprob"]});
    ASSERT_EQ(ours.size(), wanted->size());
    for (size_t i = 0; i < ours.size(); ++i) {
      const double value = (*wanted)[i];
      EXPECT_NEAR(ours[i].get<double>(), value, 1e-4 * std::max(1.0, std::fabs(value) / 100)) << item.id;
    }
  }
  EXPECT_EQ(seen, expected["logprobs"].size());
}

INSTANTIATE_TEST_SUITE_P(Tasks, HarnessParity,
                         testing::Values("zeroshot/boolq@0", "zeroshot/rte@0", "zeroshot/hellaswag@0",
                                         "zeroshot/winogrande@0", "zeroshot/arc_easy@0", "zeroshot/arc_challenge@0",
                                         "zeroshot/openbookqa@0", "zeroshot/piqa@0", "zeroshot/copa@0",
                                         "zeroshot/lambada_openai@0", "knowledge/mmlu@5"));

}  // namespace
}  // namespace ockham
