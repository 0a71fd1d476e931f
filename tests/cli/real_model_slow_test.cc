// The whole way on a real trained model: compress, read back, measure, convert. Rows and tolerances are those of the
// reference implementations' results (golden/stories260K/perplexity.json).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace ockham {
namespace {

class RealModel : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_)) GTEST_SKIP() << model_ << " is absent: set OCKHAM_TEST_DATA to the test data";
    golden_ = nlohmann::json::parse(read_whole(data_ + "/perplexity.json"));
  }
  double perplexity(const std::string& model) {
    const ProgramRun run = run_program("eval " + model + " --json --overwrite --tasks perplexity:" + data_ +
                                       "/test_ids.npy -o " + (scratch_ / "results.json"));
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    const nlohmann::json results = nlohmann::json::parse(read_whole(scratch_ / "results.json"));
    return results.at("tasks").at(0).at("metrics").at(0).at("value");
  }
  // Compresses with the reference's calibration and compares the perplexity with the golden row.
  void check_row(const std::string& row, const std::string& recipe) {
    const std::string out = scratch_ / row;
    const ProgramRun run = run_program("compress " + model_ + " -r " + recipe + " --calibration " + data_ +
                                       "/calibration_ids.npy -o '" + out + "'");
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_TRUE(std::filesystem::exists(out + "/compression.json"));
    const double expected = golden_[row]["perplexity"];
    EXPECT_NEAR(perplexity("'" + out + "'"), expected, 0.001 * expected) << row;
  }

  const std::string model_ = test_data() + "/models/stories260K";
  const std::string data_ = test_data() + "/golden/stories260K";
  const ScratchDirectory scratch_;
  nlohmann::json golden_;
};

TEST_F(RealModel, Dense) {
  EXPECT_NEAR(perplexity(model_), golden_["dense"]["perplexity"], 1e-4);
}
TEST_F(RealModel, Magnitude) {
  check_row("magnitude-50", "magnitude-50");
}
TEST_F(RealModel, MagnitudePattern) {
  check_row("magnitude-2:4", "magnitude-2-4");
}
TEST_F(RealModel, Wanda) {
  check_row("wanda-50", "wanda-50");
}
TEST_F(RealModel, WandaPattern) {
  check_row("wanda-2:4", "wanda-2-4");
}
TEST_F(RealModel, RoundToNearest) {
  check_row("rtn-w4-asym-channel", "rtn --set bits=4 --set symmetric=false --set group_size=-1");
}

TEST_F(RealModel, GreedyTextIsTheOneItsAuthorPublished) {
  const ProgramRun run = run_program("run " + model_ + " -p '' --max-tokens 60");
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_TRUE(
      run.output.starts_with("Once upon a time, there was a little girl named Lily. She loved to play outside in the "
                             "park. One day, she saw a big, "
                             "red ball."))
      << run.output;
}

TEST_F(RealModel, ConvertedModelMeasuresTheSame) {
  ASSERT_EQ(run_program("compress " + model_ + " -r rtn-4 -o " + (scratch_ / "packed")).exit_code, 0);
  ASSERT_EQ(run_program("convert " + (scratch_ / "packed") + " " + (scratch_ / "dense") + " --to dense").exit_code, 0);
  EXPECT_LT(std::filesystem::file_size(scratch_ / "packed/model.safetensors"),
            std::filesystem::file_size(scratch_ / "dense/model.safetensors"));
  EXPECT_NEAR(perplexity(scratch_ / "packed"), perplexity(scratch_ / "dense"), 1e-4);
}

}  // namespace
}  // namespace ockham
