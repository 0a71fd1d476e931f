// Real runs on a toy shape and on the repository's small model. Nothing here says how fast anything is.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "ockham/bench/bench.h"
#include "ockham/bench/machine_limits.h"
#include "ockham/bench/rounds.h"
#include "ockham/bench/shapes.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

const std::string kMini = OCKHAM_SOURCE_DIR "/models/mini";

BenchSettings quick() {
  BenchSettings settings;
  settings.prompts = {5, 70};
  settings.batches = {1, 3};
  settings.are_prompts_chosen = true;
  settings.tokens = 2;
  settings.rounds = 2;
  settings.threads = 2;
  settings.read_bytes = int64_t{4} << 20;
  return settings;
}

BenchSource toy(const std::string& format, double sparsity = 0) {
  BenchSource source;
  source.random = RandomModelSpec{"toy", find_shape("toy"), parse_weight_format(format, 32, sparsity), {}};
  return source;
}
BenchSource in_files(const std::string& path) {
  BenchSource source;
  source.path = path;
  return source;
}

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

void expect_measured(const Spread& spread, int64_t rounds) {
  EXPECT_EQ(spread.rounds, rounds);
  EXPECT_GT(spread.low, 0);
  EXPECT_LE(spread.low, spread.median);
  EXPECT_LE(spread.median, spread.high);
}

TEST(MachineLimits, AreMeasured) {
  ThreadPool pool(2);
  MachineProbe probe(pool, 1 << 20);
  const MachineRates rates = probe.measure();
  EXPECT_GT(rates.read_bytes_per_s, 0);
  EXPECT_GT(rates.f32_per_s, 0);
  EXPECT_GE(rates.bf16_per_s, 0);
  EXPECT_GE(default_read_bytes(), int64_t{256} << 20);
  const bool has_tiles = current_target() == Target::kAmx;
  EXPECT_EQ(rates.int8_vectors_per_s > 0, has_tiles);
  EXPECT_EQ(rates.bf16_vectors_per_s > 0, has_tiles);
  EXPECT_EQ(vector_rate(rates, "int8"), rates.int8_vectors_per_s);
  EXPECT_EQ(vector_rate(rates, "bf16"), rates.bf16_vectors_per_s);
  EXPECT_EQ(vector_rate(rates, "f32"), 0);
}

TEST(MachineLimits, KernelsAreFoundByTheirNames) {
  for (const Target target : available_targets()) EXPECT_EQ(find_target(target_name(target)), target);
  try {
    find_target("avx9");
    FAIL() << "found";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("portable"), std::string::npos);
  }
}

TEST(Memory, IsKnown) {
  EXPECT_GT(available_memory_bytes(), int64_t{1} << 20);
}

TEST(Bench, MeasuresEveryCell) {
  const BenchSettings settings = quick();
  const BenchResult result =
      run_bench({toy("f32"), toy("int4"), toy("bf16", 0.6), toy("gqsa", 0.5), in_files(kMini)}, settings);
  ASSERT_EQ(result.models.size(), 5U);
  expect_measured(result.limits.read_bytes_per_s, int64_t{2} * 8);
  for (const BenchedModel& model : result.models) {
    // Decode: two prompts by two batches; prefill: both batches fit one pass.
    ASSERT_EQ(model.cells.size(), 8U) << model.name;
    for (const BenchCell& cell : model.cells) {
      EXPECT_TRUE(cell.left_out.empty());
      expect_measured(cell.tokens_per_s, settings.rounds);
      expect_measured(cell.ms, settings.rounds);
      expect_measured(cell.share, settings.rounds);
      EXPECT_GT(cell.intensity(), 0);
      const double tokens = static_cast<double>(cell.batch * (cell.is_decode ? 1 : cell.prompt));
      EXPECT_NEAR(cell.tokens_per_s.low * cell.ms.high, 1e3 * tokens, 1e-6 * tokens);
    }
    EXPECT_GT(model.packed_bytes, 0);
    EXPECT_GT(model.first_token_s, model.load_s);
    EXPECT_EQ(model.first_token_prompt, 5);
    EXPECT_EQ(model.disk_bytes > 0, !model.is_random);
  }
  EXPECT_TRUE(result.has_random());
  EXPECT_EQ(result.models[0].name, "toy f32");
  EXPECT_EQ(result.models[4].name, "mini");
  EXPECT_GT(result.models[0].bits_per_weight, result.models[2].bits_per_weight);
  EXPECT_GT(result.peak_bytes, 0);
}

TEST(Bench, CachesThatDropTokensTakeTurnsWithWholeOnes) {
  BenchSettings settings = quick();
  settings.prompts = {40, 128};
  settings.kv_bytes = int64_t{1} << 20;
  std::vector<BenchSource> sources;
  for (const char* text :
       {"full", "h2o,budget=0.25", "local,budget=32", "qhitter,budget=0.5", "h2o,budget=0.25,layers=pyramid"}) {
    BenchSource& source = sources.emplace_back(toy("int4"));
    source.kv = parse_kv_policy("test", text);
    source.random->config.context_length = 128 + tokens_behind(source.kv, settings);
  }
  const BenchResult result = run_bench(sources, settings);
  ASSERT_EQ(result.models.size(), sources.size());
  for (size_t m = 0; m < result.models.size(); ++m) {
    const BenchedModel& model = result.models[m];
    EXPECT_EQ(model.kv, sources[m].kv->text());
    ASSERT_EQ(model.cells.size(), 4U) << model.name;
    for (const BenchCell& cell : model.cells) {
      EXPECT_TRUE(cell.is_decode && cell.left_out.empty()) << model.name << cell.left_out;
      expect_measured(cell.tokens_per_s, settings.rounds);
      expect_measured(cell.share, settings.rounds);
    }
    ASSERT_EQ(model.cache_rows.size(), 2U) << model.name;
  }
  // 33 slots in whole pages of 32 against 128 tokens: half; the same in bytes that a step reads.
  const CacheRow &full = result.models[0].cache_rows[1], &h2o = result.models[1].cache_rows[1];
  EXPECT_EQ(full.tokens, 128);
  EXPECT_NEAR(h2o.bytes_per_token, full.bytes_per_token / 2, 1e-9);
  EXPECT_EQ(h2o.largest_batch, 2 * full.largest_batch);
  EXPECT_LT(result.models[1].cells[2].bytes, result.models[0].cells[2].bytes);
}

TEST(Bench, EveryShapeFamilyRuns) {
  BenchSettings settings = quick();
  settings.prompts = {4};
  settings.batches = {2};
  settings.rounds = 1;
  // A few blocks of each family's layout: learned positions, projections beside the embedding, tied heads.
  for (const char* name : {"opt-125m", "opt-350m", "gpt2", "qwen2.5-0.5b"}) {
    ModelConfig config = find_shape(name);
    config.blocks = 1;
    config.vocabulary = 512;
    BenchSource source;
    source.random = RandomModelSpec{name, config, parse_weight_format("int4", 32, 0), {}};
    const BenchResult result = run_bench({source}, settings);
    EXPECT_EQ(result.models[0].blocks, 1) << name;
    expect_measured(result.models[0].cells[0].tokens_per_s, 1);
  }
}

TEST(Bench, PromptsBeyondTheContext) {
  BenchSettings settings = quick();
  settings.prompts = {510};
  expect_error(ErrorKind::kUsage, "more than the context of toy f32, 512 tokens",
               [&] { run_bench({toy("f32")}, settings); });
  settings.are_prompts_chosen = false;
  settings.prompts = {64, 4096};
  settings.batches = {1};
  const BenchResult result = run_bench({toy("f32")}, settings);
  ASSERT_EQ(result.models[0].cells.size(), 2U);
  EXPECT_EQ(result.models[0].cells[0].prompt, 64);
}

TEST(Bench, BadSettings) {
  const auto refused = [](const char* part, const std::function<void(BenchSettings&)>& spoil) {
    BenchSettings settings = quick();
    spoil(settings);
    expect_error(ErrorKind::kUsage, part, [&] { run_bench({toy("f32")}, settings); });
  };
  refused("--prompt: 0", [](BenchSettings& s) { s.prompts = {16, 0}; });
  refused("--prompt: no value", [](BenchSettings& s) { s.prompts = {}; });
  refused("--batch: -1", [](BenchSettings& s) { s.batches = {-1}; });
  refused("--batch: 100000", [](BenchSettings& s) { s.batches = {100000}; });
  refused("--tokens: 0", [](BenchSettings& s) { s.tokens = 0; });
  refused("--rounds: -3", [](BenchSettings& s) { s.rounds = -3; });
  expect_error(ErrorKind::kUsage, "no model", [] { run_bench({}, quick()); });
}

TEST(Bench, TooLittleMemoryIsSaidBeforehand) {
  BenchSource source;
  ModelConfig config = find_shape("llama-2-70b");
  config.blocks = 8000;
  source.random = RandomModelSpec{"huge", config, parse_weight_format("f32", 128, 0), {}};
  expect_error(ErrorKind::kResource, "huge f32", [&] { run_bench({source}, quick()); });
  expect_error(ErrorKind::kResource, "--format", [&] { run_sweep("huge", config, quick(), {}); });
}

TEST(Bench, CachesThatDoNotFitAreLeftOut) {
  constexpr int64_t kTooMuch = int64_t{100} << 30;
  if (available_memory_bytes() > kTooMuch) GTEST_SKIP() << "this machine has room for all of it";
  // 262 kB of keys and values for each token.
  ModelConfig config = find_shape("toy");
  config.heads = config.kv_heads = 64;
  config.head_dim = 128;
  config.context_length = 2048;
  BenchSource source;
  source.random = RandomModelSpec{"wide", config, parse_weight_format("bf16", 128, 0), {}};
  BenchSettings settings = quick();
  settings.prompts = {1000};
  settings.batches = {1, 500};
  settings.rounds = 1;
  const BenchResult result = run_bench({source}, settings);
  const std::vector<BenchCell>& cells = result.models[0].cells;
  ASSERT_EQ(cells.size(), 3U);
  EXPECT_TRUE(cells[0].left_out.empty());
  EXPECT_NE(cells[1].left_out.find("keys and values do not fit"), std::string::npos) << cells[1].left_out;
  EXPECT_EQ(cells[1].ms.rounds, 0);
  EXPECT_FALSE(cells[2].is_decode);
  expect_measured(cells[2].ms, 1);
}

TEST(Bench, CanBeInterrupted) {
  request_interrupt();
  expect_error(ErrorKind::kInterrupted, "", [] { run_bench({toy("f32")}, quick()); });
  clear_interrupt();
}

TEST(Sweep, ComparesEachTypeWithItself) {
  SweepSettings sweep;
  sweep.formats = {"f32", "int4"};
  sweep.sparsities = {0.4, 0.9};
  sweep.group_size = 32;
  sweep.context = 40;
  const BenchResult result = run_sweep("toy", find_shape("toy"), quick(), sweep);
  ASSERT_EQ(result.sweep.size(), 5U);  // GQSA beside int4
  for (const SweepRow& row : result.sweep) {
    EXPECT_TRUE(row.left_out.empty());
    for (const Spread* spread : {&row.tokens_per_s, &row.dense_tokens_per_s, &row.speedup, &row.layer_ms,
                                 &row.dense_layer_ms, &row.layer_speedup, &row.share})
      expect_measured(*spread, 2);
    EXPECT_GE(row.kept_dense, 0);
    EXPECT_LE(row.kept_dense, 1);
  }
  EXPECT_EQ(result.sweep[1].format, "f32 90 %");
  EXPECT_EQ(result.sweep[1].dense, "f32");
  EXPECT_LT(result.sweep[1].bits_per_weight, result.sweep[1].dense_bits_per_weight);
  EXPECT_EQ(result.sweep[1].kept_dense, 0);
  EXPECT_EQ(result.sweep[2].kept_dense, 1);  // 40 % of int4 do not pay
  EXPECT_EQ(result.sweep[4].format, "gqsa 50 %");
  EXPECT_EQ(result.sweep[4].dense, "int4 g32");
  EXPECT_TRUE(result.has_random());
}

void write_version(const fs::path& folder, const std::string& source_sha256, const Json& params) {
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(kMini))
    if (entry.is_regular_file()) fs::copy_file(entry.path(), folder / entry.path().filename());
  const Json report = {{"version", 1},
                       {"source_sha256", source_sha256},
                       {"recipe", {{"name", folder.filename().string()}}},
                       {"steps", {{{"method", "wanda"}, {"params", params}}}},
                       {"totals", {{"sparsity", 0.5}}}};
  std::ofstream(folder / "compression.json") << report.dump();
}

TEST(Study, ACopyDoesNotDiverge) {
  const Scratch scratch;
  const std::string sha256 = ModelFiles(kMini).sha256();
  const fs::path study = scratch.file("study");
  write_version(study / "models" / "copy", sha256, {{"sparsity", 0.5}});
  write_version(study / "models" / "rounded", sha256, {{"bits", 4}});
  write_version(study / "models" / "foreign", "0000", Json::object());
  const std::vector<BenchSource> versions = study_versions(study.string(), sha256);
  ASSERT_EQ(versions.size(), 2U);
  EXPECT_EQ(versions[0].recipe, "copy");
  EXPECT_EQ(versions[0].sparsity, 0.5);
  EXPECT_EQ(versions[1].sparsity, 0);  // rounding makes zeros, too, but removes nothing
  BenchSettings settings = quick();
  settings.prompts = {5};
  settings.batches = {1};
  QualitySettings quality;
  quality.sequences = 3;
  quality.tokens = 20;
  const BenchResult result = run_quality(in_files(kMini), versions, settings, quality);
  ASSERT_EQ(result.quality.size(), 3U);
  EXPECT_EQ(result.quality_tokens, 60);
  EXPECT_TRUE(result.quality[0].is_dense);
  for (const QualityRow& row : result.quality) {
    EXPECT_NEAR(row.divergence, 0, 1e-9);
    EXPECT_GT(row.tokens_per_s, 0);
    EXPECT_TRUE(row.dominated_by.empty());
  }
  EXPECT_FALSE(result.has_random());
}

TEST(Study, SaysWhatIsMissing) {
  const Scratch scratch;
  expect_error(ErrorKind::kInput, "no such directory", [&] { study_versions(scratch.file("none"), "a"); });
  fs::create_directories(scratch.file("empty"));
  expect_error(ErrorKind::kInput, "--keep-models", [&] { study_versions(scratch.file("empty"), "a"); });
  write_version(fs::path(scratch.file("other")) / "models" / "x", "b", Json::object());
  expect_error(ErrorKind::kInput, "name the dense model", [&] { study_versions(scratch.file("other"), "a"); });
}

}  // namespace
}  // namespace ockham
