// What the program says to a user who mistypes, and what it leaves behind.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "ockham/io/json.h"
#include "tests/cli/program.h"

namespace ockham {
namespace {

TEST(Usage, HelpListsEveryCommandAndSucceeds) {
  const ProgramRun run = run_program("--help");
  EXPECT_EQ(run.exit_code, 0);
  for (const char* command : {"inspect", "compress", "eval", "attack", "study", "report", "recommend", "convert", "run",
                              "serve", "bench", "train", "data", "methods", "tasks", "recipes"}) {
    EXPECT_NE(run.output.find(std::string("\n  ") + command + " "), std::string::npos) << command;
  }
}

TEST(Usage, EveryCommandHasHelpWithAnExample) {
  for (const char* command : {"inspect", "compress", "eval", "attack", "study", "report", "recommend", "convert", "run",
                              "serve", "bench", "train", "data", "methods", "tasks", "recipes"}) {
    const ProgramRun run = run_program(std::string(command) + " --help");
    EXPECT_EQ(run.exit_code, 0) << command;
    EXPECT_NE(run.output.find("Example"), std::string::npos) << command;
  }
}

TEST(Usage, ServeNamesTheVariableThatHoldsNoKey) {
  const ProgramRun run = run_program("serve " + kMini + " --api-key-env OCKHAM_NO_SUCH_VARIABLE");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("OCKHAM_NO_SUCH_VARIABLE"), std::string::npos) << run.errors;
}

TEST(Usage, InspectKnowsTheSecondMemoryOfAShape) {
  // OPT-30B, batch 128, 1024 tokens in 16 bit; the weights of 175 billion parameters.
  const ProgramRun cache = run_program("--json inspect --shape opt-30b --batch 128 --seq 1024");
  ASSERT_EQ(cache.exit_code, 0) << cache.errors;
  EXPECT_NEAR(Json::parse(cache.output)["kv_cache"]["bytes"].get<double>(), 180.4e9, 0.05e9);
  const ProgramRun weights = run_program("--json inspect --shape opt-175b --kv h2o,budget=0.2");
  ASSERT_EQ(weights.exit_code, 0) << weights.errors;
  const Json json = Json::parse(weights.output);
  EXPECT_NEAR(json["bytes_at"]["16 bit"].get<double>(), 350e9, 2e9);
  EXPECT_EQ(json["kv_cache"]["kept_tokens"], 410);
  EXPECT_EQ(run_program("inspect --shape opt-31b").exit_code, 2);
  EXPECT_EQ(run_program("inspect " + kMini + " --shape opt-30b").exit_code, 2);
  EXPECT_EQ(run_program("inspect --shape opt-30b --recipe rtn-4").exit_code, 2);
}

TEST(Usage, CachePoliciesAreForTheNativeEngine) {
  for (const char* command : {"eval", "run"}) {
    const ProgramRun run = run_program(std::string(command) + " " + kMini + " --engine libtorch --kv h2o" +
                                       (command[0] == 'r' ? " -p a" : ""));
    EXPECT_EQ(run.exit_code, 2) << command;
    EXPECT_NE(run.errors.find("--kv h2o: libtorch keeps whole caches"), std::string::npos) << run.errors;
  }
  const ProgramRun misspelt = run_program("eval " + kMini + " --kv h20");
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_NE(misspelt.errors.find("did you mean 'h2o'?"), std::string::npos) << misspelt.errors;
}

TEST(Usage, MethodsPageIsWhatTheProgramPrints) {
  const ProgramRun run = run_program("methods --markdown");
  EXPECT_EQ(run.exit_code, 0);
  std::ifstream file(OCKHAM_SOURCE_DIR "/docs/methods.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(page, run.output) << "run `ockham methods --markdown > docs/methods.md`";
}

TEST(Usage, MisspeltCommandIsSuggested) {
  const ProgramRun run = run_program("comprss");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("did you mean 'compress'?"), std::string::npos) << run.errors;
}

TEST(Usage, UnknownFlagIsRefused) {
  const ProgramRun run = run_program("methods --sparsity");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("unknown option '--sparsity'"), std::string::npos) << run.errors;
}

TEST(Usage, MisspeltOptionIsSuggestedBeforeWhatItLeavesOut) {
  const ProgramRun run = run_program("compress " + kMini + " --recepi=wanda-50 -o unused");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("unknown option '--recepi'; did you mean '--recipe'?"), std::string::npos) << run.errors;
}

TEST(Usage, GlobalOptionsStandBeforeOrBehindTheCommand) {
  const ProgramRun before = run_program("--threads 1 --json inspect " + kMini + " --no-statistics"),
                   behind = run_program("inspect " + kMini + " --no-statistics --json --threads 1");
  EXPECT_EQ(before.exit_code, 0) << before.errors;
  EXPECT_EQ(before.output.substr(0, 1), "{");
  EXPECT_EQ(before.output, behind.output);
  EXPECT_EQ(run_program("--threads=1 --quiet train --help").exit_code, 0);
  EXPECT_EQ(run_program("--threads many inspect " + kMini).exit_code, 2);
  const ProgramRun misspelt = run_program("--threads 1 --device cpu comprss");
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_NE(misspelt.errors.find("did you mean 'compress'?"), std::string::npos) << misspelt.errors;
}

TEST(Usage, InspectShowsOutliersOfCalibrationData) {
  const std::string command = "inspect " + kMini + " --no-statistics --outliers --samples 4 --tokens 64";
  const ProgramRun text = run_program(command + " --calibration factworld"),
                   json = run_program(command + " --calibration factworld --json"), none = run_program(command);
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_NE(text.output.find("blocks.7"), std::string::npos) << text.output;
  EXPECT_NE(text.output.find("outlier %"), std::string::npos) << text.output;
  EXPECT_EQ(json.exit_code, 0) << json.errors;
  EXPECT_NE(json.output.find("\"shares\""), std::string::npos) << json.output;
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.errors.find("--calibration"), std::string::npos) << none.errors;
}

TEST(Usage, MisspeltRecipeIsSuggestedAndNothingIsWritten) {
  const ScratchDirectory scratch;
  const ProgramRun run = run_program("compress " + kMini + " --recipe wanda-5 -o " + (scratch / "out"));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("wanda-50"), std::string::npos) << run.errors;
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Usage, MisspeltTaskIsSuggested) {
  const ProgramRun run = run_program("eval " + kMini + " --tasks factworld/privcy");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("factworld/privacy"), std::string::npos) << run.errors;
}

TEST(Usage, MissingModelIsNamed) {
  const ProgramRun run = run_program("inspect no/such/model");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.errors.find("no/such/model"), std::string::npos) << run.errors;
}

TEST(Usage, ExistingOutputIsKept) {
  const ScratchDirectory scratch;
  std::filesystem::create_directory(scratch / "out");
  std::ofstream(scratch / "out/precious") << "data";
  const ProgramRun run = run_program("compress " + kMini + " --recipe rtn-4 -o " + (scratch / "out"));
  EXPECT_EQ(run.exit_code, 2) << run.errors;
  EXPECT_EQ(read_whole(scratch / "out/precious"), "data");
}

TEST(Usage, OutputThatCannotBeWrittenIsTheMachinesFault) {
  const ProgramRun run = run_program("compress " + kMini + " --recipe rtn-4 -o /proc/ockham-out");
  EXPECT_EQ(run.exit_code, 1) << run.errors;
  EXPECT_NE(run.errors.find("/proc/ockham-out"), std::string::npos) << run.errors;
}

TEST(Usage, ListsAreMachineReadable) {
  for (const char* command : {"methods", "recipes", "tasks"}) {
    const ProgramRun run = run_program(std::string(command) + " --json");
    EXPECT_EQ(run.exit_code, 0) << command << run.errors;
    EXPECT_TRUE(run.output.starts_with("[") || run.output.starts_with("{")) << run.output.substr(0, 100);
  }
}

}  // namespace
}  // namespace ockham
