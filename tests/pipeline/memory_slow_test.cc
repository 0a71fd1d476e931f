// Peak memory of whole runs, each in a process of its own: as predicted, and no matter how many blocks.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/estimate.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// The same on every processor, so that its memory is, too.
constexpr DType kArithmetic = DType::kF32;

// The same random block under every name, so that making the model takes little time.
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

// Address space in use, or its peak.
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}

// What the tests below run in a process of its own: OCKHAM_PROBE is the scratch directory, with model, ids.npy and
// recipe.yaml; OCKHAM_PROBE_ESTIMATE asks for the estimate instead; OCKHAM_PROBE_LIMIT: bytes of address space. What
// was found goes to found.json there.
TEST(MemoryProbe, Runs) {
  const char* folder = std::getenv("OCKHAM_PROBE");
  if (folder == nullptr) GTEST_SKIP() << "only run by the tests of Memory";
  const std::string scratch = folder;
  Json found = {{"space_before", status_bytes("VmSize")}};
  Recipe recipe = Recipe::load(scratch + "/recipe.yaml", "");
  recipe.calibration.data = scratch + "/ids.npy";
  if (const char* text = std::getenv("OCKHAM_PROBE_LIMIT")) {
    const rlim_t space = std::strtoull(text, nullptr, 10);
    const rlimit limit{space, space};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  try {
    if (std::getenv("OCKHAM_PROBE_ESTIMATE") != nullptr) {
      const Checkpoint checkpoint(scratch + "/model");
      found["peak"] = estimate_recipe(checkpoint, recipe, kArithmetic).peak_bytes;
    } else {
      CompressOptions options;
      options.is_resumable = true;
      options.dtype = kArithmetic;
      compress(scratch + "/model", recipe, scratch + "/out", options);
      found["peak"] = peak_memory_bytes();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kResource) throw;
    found["error"] = error.what();
  }
  found["space"] = status_bytes("VmPeak");
  write_file_atomically(scratch + "/found.json", found.dump());
}

// Null where the process died or threw anything but an Error of kind kResource.
Json probe(const test::ScratchDirectory& scratch, bool is_estimate, int64_t limit = 0) {
  for (const char* old : {"out", "out.resume", "found.json"}) fs::remove_all(scratch.path(old));
  const pid_t child = fork();
  if (child == 0) {
    setenv("OCKHAM_PROBE", scratch.path().c_str(), 1);
    // Each thread may otherwise reserve an arena of 64 MB of address space, sooner or later.
    setenv("MALLOC_ARENA_MAX", "1", 1);
    if (is_estimate) setenv("OCKHAM_PROBE_ESTIMATE", "1", 1);
    if (limit > 0) setenv("OCKHAM_PROBE_LIMIT", std::to_string(limit).c_str(), 1);
    execl("/proc/self/exe", "probe", "--gtest_filter=MemoryProbe.*", "--gtest_brief=1", static_cast<char*>(nullptr));
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !fs::exists(scratch.path("found.json"))) return {};
  return read_json_file(scratch.path("found.json"));
}

ModelConfig model_config(int64_t hidden, int64_t blocks, DType dtype) {
  ModelConfig config = test::tiny_config(blocks);
  config.dtype = dtype;
  config.hidden_size = hidden;
  config.intermediate_size = hidden / 4 * 11;
  config.head_dim = 64;
  config.heads = hidden / config.head_dim;
  config.kv_heads = config.heads / 4;
  config.vocabulary = 8000;
  config.context_length = 2048;
  config.tied_embeddings = false;
  return config;
}

TEST(Memory, EstimateIsWithinAFifthOfThePeak) {
  const test::ScratchDirectory scratch;
  const int64_t samples = 12, tokens = 256;
  const ModelConfig config = model_config(1024, 2, DType::kBF16);
  write_model(config, scratch.path("model"));
  write_ids(scratch.path("ids.npy"), samples, tokens, config.vocabulary);
  const std::vector<std::pair<std::string, std::string>> recipes = {
      {"magnitude", "[{method: magnitude, params: {sparsity: 0.5}}]"},
      {"wanda", "[{method: wanda, params: {sparsity: 0.5}}]"},
      {"rtn", "[{method: rtn, params: {bits: 4, group_size: 128}}]"},
      {"sparsegpt", "[{method: sparsegpt, params: {sparsity: 0.5}}]"},
      {"gptq", "[{method: gptq, params: {bits: 4, group_size: 128}}]"},
      {"awq", "[{method: awq, params: {bits: 4, group_size: 128}}]"},
      {"llm-pruner", "[{method: llm-pruner, params: {heads: 0.5, neurons: 0.5}}]"},
      {"asvd", "[{method: asvd}]"},
      {"owl", "[{method: owl, params: {mean: 0.5}}, {method: wanda, params: {sparsity: {from: owl}}}]"}};
  for (const auto& [name, steps] : recipes) {
    SCOPED_TRACE(name);
    test::write_text(scratch.path("recipe.yaml"),
                     fmt::format("calibration: {{samples: {}, tokens: {}}}\nsteps: {}\n", samples, tokens, steps));
    const Json estimate = probe(scratch, true), run = probe(scratch, false);
    ASSERT_TRUE(estimate.contains("peak") && run.contains("peak"));
    const double found = run["peak"].get<double>(), predicted = estimate["peak"].get<double>();
    RecordProperty(name, fmt::format("{:.0f} MB predicted, {:.0f} MB found", predicted / 1e6, found / 1e6));
    if (std::getenv("OCKHAM_SHOW_MEMORY") != nullptr)
      fmt::print("{}: {:.0f} MB predicted, {:.0f} MB found\n", name, predicted / 1e6, found / 1e6);
    EXPECT_NEAR(predicted, found, 0.2 * found);
  }
}

// One whose blocks would not fit into the slack if they were kept.
struct DeepModels {
  static constexpr int64_t kShallow = 4, kDeep = 24, kSlack = int64_t{48} << 20;
  test::ScratchDirectory shallow, deep;
  int64_t more = 0;  // bytes of weights, which are mapped: address space that depth does take

  explicit DeepModels(const std::string& step, int64_t samples) {
    more = prepare(deep, kDeep, step, samples);
    more -= prepare(shallow, kShallow, step, samples);
  }
  static int64_t prepare(const test::ScratchDirectory& scratch, int64_t blocks, const std::string& step,
                         int64_t samples) {
    const ModelConfig config = model_config(512, blocks, DType::kF32);
    write_model(config, scratch.path("model"));
    write_ids(scratch.path("ids.npy"), samples, 128, config.vocabulary);
    test::write_text(scratch.path("recipe.yaml"),
                     fmt::format("calibration: {{samples: {}, tokens: 128}}\nsteps: [{}]\n", samples, step));
    return static_cast<int64_t>(fs::file_size(scratch.path("model/model.safetensors")));
  }
};

constexpr const char* kWanda = "{method: wanda, params: {sparsity: 0.5}}";

TEST(Memory, DepthNeedsNoMoreAddressSpace) {
  const DeepModels models(kWanda, 8);
  const Json needed = probe(models.shallow, false);
  ASSERT_TRUE(needed.contains("peak"));
  ASSERT_GT(models.more, 4 * DeepModels::kSlack);
  const Json found = probe(models.deep, false, needed["space"].get<int64_t>() + models.more + DeepModels::kSlack);
  ASSERT_TRUE(found.is_object());
  EXPECT_FALSE(found.contains("error")) << found["error"];
  EXPECT_TRUE(fs::exists(models.deep.path("out/compression.json")));
  // Resident memory is flatter still, since the weights are mapped piece by piece.
  EXPECT_LT(found["peak"].get<int64_t>(), needed["peak"].get<int64_t>() + DeepModels::kSlack / 2);
}

// The hidden states between twenty blocks, 5 MB each, would not fit into what is allowed.
TEST(Memory, DepthNeedsNoMoreMemoryForGradients) {
  const DeepModels models("{method: llm-pruner, params: {importance: taylor}}", 20);
  const Json needed = probe(models.shallow, false), found = probe(models.deep, false);
  ASSERT_TRUE(needed.contains("peak") && found.contains("peak"));
  EXPECT_LT(found["peak"].get<int64_t>(), needed["peak"].get<int64_t>() + DeepModels::kSlack);
}

// Wherever memory runs out, an error says what to do, and nothing is left behind under the output's name.
TEST(Memory, WithoutEnoughARunEndsWithAnError) {
  const test::ScratchDirectory scratch;
  DeepModels::prepare(scratch, 2, kWanda, 8);
  const Json needed = probe(scratch, false);
  ASSERT_TRUE(needed.contains("peak"));
  const int64_t least = needed["space_before"], most = needed["space"], steps = 8;
  for (int64_t step = 1; step < steps; ++step) {
    const int64_t limit = least + (most - least) * step / steps;
    SCOPED_TRACE(fmt::format("limit {} MB of {} to {}", limit >> 20, least >> 20, most >> 20));
    const Json found = probe(scratch, false, limit);
    ASSERT_TRUE(found.is_object());
    EXPECT_FALSE(fs::exists(scratch.path("out")));
    ASSERT_TRUE(found.contains("error"));
    const std::string text = found["error"];
    EXPECT_NE(text.find("memory"), text.npos) << text;
  }
}

}  // namespace
}  // namespace ockham
