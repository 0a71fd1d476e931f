// Memory of the native engine: what is added up of levels beside what the engine takes for the model.
#include "ockham/search/engine_memory.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <numeric>

#include "ockham/pipeline/compress.h"
#include "ockham/runtime/paged_cache.h"
#include "ockham/search/search.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

constexpr double kMegabyte = 1e6;

struct LargeModel {
  test::ScratchDirectory scratch;
  std::string model = scratch.path("model");
  ModelConfig config = test::tiny_config(2);

  // 5.2 million weights, 10.5 MB.
  LargeModel() {
    config.hidden_size = 512;
    config.head_dim = 64;
    config.heads = config.kv_heads = 8;
    config.intermediate_size = 1024;
    config.context_length = 512;
    std::filesystem::create_directory(model);
    save_decoder(*Decoder::random(config, 3, DType::kBF16), model, DType::kBF16, "");
  }
};

// Room of 2 MB and more may come in huge pages or not, as the system is at the moment.
struct NoHugePages {
  NoHugePages() { prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); }
  ~NoHugePages() { prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0); }
};

TEST(EngineMemory, LevelsAddUpToWhatTheEngineTakes) {
  const NoHugePages small_pages;
  const LargeModel made;
  const MemoryLoad load = {1, 256};
  const Checkpoint checkpoint(made.model);
  const std::string path = made.scratch.path("memory.json");
  const int64_t overhead = engine_overhead(checkpoint, load, path);
  EXPECT_EQ(engine_overhead(checkpoint, load, path), overhead);  // read, not measured again

  const std::vector<LevelUnit> units = level_units(made.config, UnitKind::kLinear, {});
  LevelRequest levels;
  levels.single = {"rtn:bits=4,group_size=64", "dense", "magnitude:sparsity=0.8"};
  const LevelSet set = read_levels(levels, units);
  write_token_ids_npy(made.scratch.path("ids.npy"), {std::vector<int32_t>(16, 1)});
  CalibrationSpec calibration;
  calibration.data = made.scratch.path("ids.npy");
  calibration.samples = 1;
  calibration.tokens = 16;
  const LevelDatabase database(checkpoint, units, set, {made.scratch.path("levels"), calibration, {}});
  const MemoryTable table = memory_of_levels(database);
  const int64_t other = fixed_costs(checkpoint, units).other_bytes;
  for (size_t level = 0; level < 3; ++level) {
    int64_t expected = overhead + other;
    for (const std::vector<int64_t>& unit : table) expected += unit[level];
    std::vector<Level> chosen;
    for (size_t u = 0; u < units.size(); ++u) chosen.push_back(database.levels(u)[level].level);
    const std::string out = made.scratch.path("out" + std::to_string(level));
    compress(made.model, recipe_of_levels(units, chosen, calibration), out, {});
    EXPECT_NEAR(static_cast<double>(measure_engine_memory(out, load)), static_cast<double>(expected), 2 * kMegabyte)
        << level;
  }
  // Codes are in memory once, packed for the kernels.
  EXPECT_LT(table[0][0], database.levels(0)[0].bytes * 12 / 10);
  EXPECT_EQ(table[0][1], database.levels(0)[1].bytes);
}

TEST(EngineMemory, GrowsByTheCacheOfEverySequence) {
  const LargeModel made;
  const KvShape shape = {2, 8, 64, DType::kF32};
  const auto one = static_cast<double>(measure_engine_memory(made.model, {1, 512})),
             eight = static_cast<double>(measure_engine_memory(made.model, {8, 512}));
  const int64_t pages = PagedCache::needed_pages(shape, 512);
  EXPECT_NEAR(eight - one, static_cast<double>(7 * pages * PagedCache::page_bytes(shape)), 2 * kMegabyte);
}

TEST(EngineMemory, IsABudget) {
  const LargeModel made;
  write_token_ids_npy(made.scratch.path("ids.npy"), std::vector<std::vector<int32_t>>(8, std::vector<int32_t>(16, 1)));
  SearchRequest request;
  request.model = made.model;
  request.out = made.scratch.path("out");
  request.load = {1, 128};
  request.calibration.data = made.scratch.path("ids.npy");
  request.calibration.samples = 4;
  request.calibration.tokens = request.sequence = 16;
  request.tokens = request.held_out_tokens = 64;
  request.searcher = "uniform";
  request.has_front = false;
  request.units = UnitKind::kBlock;
  request.levels.single = {"dense", "rtn:bits=4,group_size=64"};
  const Checkpoint checkpoint(made.model);
  const int64_t all = engine_overhead(checkpoint, request.load, made.scratch.path("memory.json")) + checkpoint.bytes();
  request.budgets = {"memory=" + std::to_string(all - 2'000'000)};
  const SearchOutcome outcome = run_search(request);
  EXPECT_LE(outcome.compared[0].facts.memory, all - 2'000'000);
  EXPECT_GT(outcome.compared[0].facts.memory, all - 6'000'000);
  EXPECT_NEAR(outcome.report["engine_memory"]["measured"].get<double>(),
              static_cast<double>(outcome.compared[0].facts.memory), 2 * kMegabyte);
}

}  // namespace
}  // namespace ockham
