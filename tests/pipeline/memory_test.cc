// Peak memory of whole runs, each in a process of its own: predicted, and independent of depth.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/estimate.h"
#include "ockham/tensor/device.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// The same random block under every name, so that making the model takes little memory.
void write_model(const ModelConfig& config, const std::string& directory) {
  fs::create_directory(directory);
  ModelConfig one = config;
  one.blocks = 1;
  const auto decoder = Decoder::random(one, 1, config.dtype);
  CheckpointWriter writer(directory, config, {});
  write_frame(writer, *decoder, config.dtype);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const std::vector<LinearSpec> specs = block_linears(config, block);
    for (size_t i = 0; i < specs.size(); ++i)
      decoder->blocks[0].linears[i].name = block_prefix(*find_family(config.family), block) + specs[i].name;
    write_block(writer, decoder->blocks[0], block, config.dtype);
  }
  writer.finish("");
}

void write_ids(const std::string& path, int64_t samples, int64_t tokens, int64_t vocabulary) {
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(samples),
                                         std::vector<int32_t>(static_cast<size_t>(tokens)));
  int64_t id = 1;
  for (auto& row : rows)
    for (int32_t& each : row) each = static_cast<int32_t>(id = (id * 7919 + 13) % vocabulary);
  write_token_ids_npy(path, rows);
}

int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}

// What the tests below run in a process of its own: OCKHAM_PROBE is the scratch directory, with model, ids.npy and
// recipe.yaml; OCKHAM_PROBE_ESTIMATE asks for the estimate instead. OCKHAM_PROBE_LIMIT: bytes of address space.
// Numbers go to scratch/numbers.json.
TEST(MemoryProbe, Runs) {
  const char* folder = std::getenv("OCKHAM_PROBE");
  if (folder == nullptr) GTEST_SKIP() << "only run by the tests of Memory";
  const std::string scratch = folder;
  if (const char* text = std::getenv("OCKHAM_PROBE_LIMIT")) {
    const rlim_t space = std::strtoull(text, nullptr, 10);
    const rlimit limit{space, space};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  Recipe recipe = Recipe::load(scratch + "/recipe.yaml", "");
  recipe.calibration.data = scratch + "/ids.npy";
  Json numbers;
  if (std::getenv("OCKHAM_PROBE_ESTIMATE") != nullptr) {
    const Checkpoint checkpoint(scratch + "/model");
    numbers["peak"] =
        estimate_recipe(checkpoint, recipe, arithmetic_dtype(checkpoint.config().dtype, at::kCPU)).peak_bytes;
  } else {
    CompressOptions options;
    options.is_resumable = true;
    compress(scratch + "/model", recipe, scratch + "/out", options);
    numbers["peak"] = status_bytes("VmHWM");
  }
  numbers["space"] = status_bytes("VmPeak");
  write_file_atomically(scratch + "/numbers.json", numbers.dump());
}

// Null where the process failed.
Json probe(const std::string& scratch, bool is_estimate, int64_t limit = 0) {
  fs::remove_all(scratch + "/out");
  fs::remove(scratch + "/numbers.json");
  const pid_t child = fork();
  if (child == 0) {
    setenv("OCKHAM_PROBE", scratch.c_str(), 1);
    if (is_estimate) setenv("OCKHAM_PROBE_ESTIMATE", "1", 1);
    if (limit > 0) setenv("OCKHAM_PROBE_LIMIT", std::to_string(limit).c_str(), 1);
    execl("/proc/self/exe", "probe", "--gtest_filter=MemoryProbe.*", "--gtest_brief=1", static_cast<char*>(nullptr));
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !fs::exists(scratch + "/numbers.json")) return {};
  return read_json_file(scratch + "/numbers.json");
}

ModelConfig moderate_config() {
  ModelConfig config = test::tiny_config(6);
  config.dtype = DType::kBF16;
  config.hidden_size = 1024;
  config.intermediate_size = 2816;
  config.heads = 16;
  config.kv_heads = 4;
  config.head_dim = 64;
  config.vocabulary = 8000;
  config.context_length = 2048;
  config.tied_embeddings = false;
  return config;
}

TEST(Memory, EstimateIsWithinAFifthOfThePeak) {
  const test::ScratchDirectory scratch;
  write_model(moderate_config(), scratch.path("model"));
  const std::string head = "calibration: {samples: 24, tokens: 256}\nsteps:\n";
  const std::vector<std::pair<std::string, std::string>> recipes = {
      {"magnitude", "  - {method: magnitude, params: {sparsity: 0.5}}\n"},
      {"wanda",
       "  - {method: wanda, params: {sparsity: 0.5}}\n  - {method: rtn, params: {bits: 4, group_size: 128}}\n"},
      {"sparsegpt", "  - {method: sparsegpt, params: {sparsity: 0.5}}\n"},
      {"owl", "  - {method: owl, params: {mean: 0.5}}\n  - {method: wanda, params: {sparsity: {from: owl}}}\n"},
      {"drop", "  - {method: drop, params: {count: 2}}\n  - {method: rtn, params: {bits: 8}}\n"},
      {"llm-pruner", "  - {method: llm-pruner, params: {heads: 0.5, neurons: 0.5}}\n"}};
  write_ids(scratch.path("ids.npy"), 24, 256, 8000);
  for (const auto& [name, steps] : recipes) {
    SCOPED_TRACE(name);
    test::write_text(scratch.path("recipe.yaml"), head + steps);
    const Json estimate = probe(scratch.path(), true), run = probe(scratch.path(), false);
    ASSERT_TRUE(estimate.is_object() && run.is_object());
    const double found = run["peak"].get<double>(), predicted = estimate["peak"].get<double>();
    RecordProperty(name, fmt::format("{:.0f} MB predicted, {:.0f} MB found", predicted / 1e6, found / 1e6));
    if (std::getenv("OCKHAM_SHOW_MEMORY") != nullptr)
      fmt::print("{}: {:.0f} MB predicted, {:.0f} MB found\n", name, predicted / 1e6, found / 1e6);
    EXPECT_NEAR(predicted, found, 0.2 * found);
  }
}

// A deep model runs within the address space that a shallow one needs, apart from the mapped files of weights.
TEST(Memory, DepthNeedsNoMoreAddressSpace) {
  ModelConfig config = moderate_config();
  config.hidden_size = 256;
  config.intermediate_size = 768;
  config.heads = 4;
  config.dtype = DType::kF32;
  const test::ScratchDirectory shallow, deep;
  const auto prepare = [&](const test::ScratchDirectory& scratch, int64_t blocks) {
    config.blocks = blocks;
    write_model(config, scratch.path("model"));
    write_ids(scratch.path("ids.npy"), 16, 128, config.vocabulary);
    test::write_text(
        scratch.path("recipe.yaml"),
        "calibration: {samples: 16, tokens: 128}\nsteps:\n  - {method: sparsegpt, params: {sparsity: 0.5}}\n");
    return static_cast<int64_t>(fs::file_size(scratch.path("model/model.safetensors")));
  };
  const int64_t small = prepare(shallow, 8), large = prepare(deep, 64), slack = int64_t{32} << 20;
  const Json needed = probe(shallow.path(), false);
  ASSERT_TRUE(needed.is_object());
  const int64_t more = large - small, frame = small - more / 7;
  ASSERT_GT(more, 4 * slack);  // blocks that are kept would not fit into the slack
  const int64_t output = static_cast<int64_t>(fs::file_size(shallow.path("out/model.safetensors")));
  const int64_t space = needed["space"].get<int64_t>() + more + 7 * (output - frame) + slack;
  EXPECT_TRUE(probe(deep.path(), false, space).is_object());
  EXPECT_TRUE(fs::exists(deep.path("out/compression.json")));
  // The limit is felt.
  EXPECT_TRUE(probe(deep.path(), false, space - more - 2 * slack).is_null());
}

}  // namespace
}  // namespace ockham
