// Levels, their database, candidates and the whole search on made-up models.
#include "ockham/search/search.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/compress.h"
#include "ockham/search/latency.h"
#include "ockham/search/search_page.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// A small model with weights large enough for compression to matter, and token ids on disk.
struct OnDisk {
  test::ScratchDirectory scratch;
  std::string model = scratch.path("model"), ids = scratch.path("ids.npy"), out = scratch.path("out");

  explicit OnDisk(uint64_t seed = 11, int64_t blocks = 3)
      : OnDisk(seed, test::recipe_config(blocks), [](const Linear&) { return 8.0; }) {}
  OnDisk(uint64_t seed, const ModelConfig& config, const std::function<double(const Linear&)>& factor) {
    fs::create_directory(model);
    auto decoder = Decoder::random(config, seed, DType::kBF16);
    const at::NoGradGuard no_grad;
    for (Block& block : decoder->blocks)
      for (Linear& linear : block.linears) std::get<DenseWeight>(linear.weight).values.mul_(factor(linear));
    save_decoder(*decoder, model, DType::kBF16, "");
    std::vector<std::vector<int32_t>> rows(24, std::vector<int32_t>(16));
    int32_t next = 1;
    for (auto& row : rows)
      for (int32_t& id : row) id = next = (next * 7 + 3 + static_cast<int32_t>(&row - rows.data())) % 40;
    write_token_ids_npy(ids, rows);
  }

  SearchRequest request(const std::string& budget) const {
    SearchRequest request;
    request.model = model;
    request.out = out;
    request.budgets = {budget};
    request.calibration.data = ids;
    request.calibration.samples = 8;
    request.calibration.tokens = 16;
    request.sequence = 16;
    request.tokens = 256;
    request.held_out_tokens = 128;
    request.settings.generations = 4;
    request.settings.offspring = 6;
    request.settings.stages = {{64, 2}, {256, 1}};
    return request;
  }
};

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

LevelSet levels_of(const std::vector<LevelUnit>& units, const std::vector<std::string>& single) {
  LevelRequest request;
  request.single = single;
  return read_levels(request, units);
}

const std::vector<std::string> kThreeLevels = {"dense", "wanda:sparsity=0.5", "rtn:bits=3,group_size=16"};

TEST(Levels, GridStepsMoveTheSameNumberOfWeightsEverywhere) {
  const std::vector<LevelUnit> units = level_units(test::recipe_config(2), UnitKind::kLinear, {});
  ASSERT_EQ(units.size(), 14U);
  LevelRequest request;
  request.sparsity = 0.6;
  const LevelSet set = read_levels(request, units);
  ASSERT_TRUE(set.grid.has_value());
  for (const LevelUnit& unit : units) {
    const std::vector<Level> levels = set.of(unit);
    for (size_t l = 1; l < levels.size(); ++l) {
      const double step = std::get<double>(levels[l].steps[0].params.at("sparsity")) -
                          std::get<double>(levels[l - 1].steps[0].params.at("sparsity"));
      EXPECT_NEAR(step * static_cast<double>(unit.weights), static_cast<double>(set.grid->step), 0.01);
    }
  }
}

TEST(Levels, TextsAreReadAndRefused) {
  const std::vector<LevelUnit> units = level_units(test::recipe_config(1), UnitKind::kHalf, {});
  ASSERT_EQ(units.size(), 2U);
  EXPECT_EQ(units[0].name, "blocks.0.attention");
  LevelRequest request;
  request.method = "rtn";
  request.lists = {"bits=2:4,8"};
  request.single = {"sparsegpt:sparsity=0.5 + rtn:bits=4"};
  const LevelSet set = read_levels(request, units);
  ASSERT_EQ(set.levels.size(), 5U);
  EXPECT_EQ(set.levels[4].name, "sparsegpt sparsity=0.5 + rtn bits=4");
  const auto refused = [&](const std::string& list) {
    LevelRequest wrong;
    wrong.lists = {list};
    wrong.method = "rtn";
    return message_of([&] { read_levels(wrong, units); });
  };
  EXPECT_NE(refused("bits").find("KEY=VALUES"), std::string::npos);
  EXPECT_NE(refused("bits=99").find("99"), std::string::npos);
  EXPECT_NE(refused("widths=4").find("widths"), std::string::npos);
  EXPECT_NE(refused("bits=4,4").find("twice"), std::string::npos);
  EXPECT_NE(message_of([] { parse_level("awq:bits=4", "--level"); }).find("one by one"), std::string::npos);
}

TEST(Budgets, AreReadAndRefused) {
  EXPECT_DOUBLE_EQ(parse_budget("sparsity=60%").value, 0.6);
  EXPECT_DOUBLE_EQ(parse_budget("bytes=1.2MB").value, 1.2e6);
  EXPECT_DOUBLE_EQ(parse_budget("ms=2").value, 0.002);
  EXPECT_NE(message_of([] { parse_budget("byte=3"); }).find("did you mean 'bytes'"), std::string::npos);
  EXPECT_NE(message_of([] { parse_budget("sparsity=1.5"); }).find("1.5"), std::string::npos);
  EXPECT_NE(message_of([] { parse_budget("bytes=-1"); }).find("-1"), std::string::npos);
}

struct Made {
  Checkpoint checkpoint;
  std::vector<LevelUnit> units;
  LevelSet levels;
  LevelDatabase database;

  Made(const OnDisk& disk, const std::string& directory, const std::vector<std::string>& single = kThreeLevels)
      : checkpoint(disk.model),
        units(level_units(checkpoint.config(), UnitKind::kLinear, {})),
        levels(levels_of(units, single)),
        database(checkpoint, units, levels, {disk.scratch.path(directory), disk.request("bits=4").calibration, {}}) {}
};

TEST(LevelDatabase, HoldsWhatCompressMakesAndIsMadeOnce) {
  const OnDisk disk;
  const Made made(disk, "levels");
  Recipe recipe = recipe_of_levels(made.units, std::vector<Level>(made.units.size(), made.levels.levels[2]),
                                   disk.request("bits=4").calibration);
  recipe.calibration.inputs = "dense";
  compress(disk.model, recipe, disk.out, {});
  const Checkpoint compressed(disk.out);
  for (size_t u = 0; u < made.units.size(); ++u) {
    const Weight expected = compressed.read_weight(made.units[u].linears[0], DType::kBF16);
    EXPECT_TRUE(
        at::equal(weight_to_dense(made.database.read(u, 2, 0), at::kFloat), weight_to_dense(expected, at::kFloat)))
        << made.units[u].name;
    EXPECT_EQ(made.database.levels(u)[2].bytes, weight_bytes(expected));
    EXPECT_EQ(made.database.levels(u)[0].error, 0);
    EXPECT_GT(made.database.levels(u)[2].error, 0);
  }
  EXPECT_EQ(Made(disk, "levels").database.seconds(), 0);
}

TEST(LevelDatabase, GoesOnWhereItWasKilled) {
  const OnDisk disk;
  { const Made whole(disk, "whole"); }
  { const Made part(disk, "part"); }
  // As a kill leaves it: five units missing, a line cut off, a file half written.
  const std::string journal = disk.scratch.path("part/journal.jsonl");
  std::string text = read_file(journal), kept;
  for (int line = 0; line < 16; ++line) {
    const size_t end = text.find('\n') + 1;
    kept += text.substr(0, end);
    text.erase(0, end);
  }
  test::write_text(journal, kept + text.substr(0, 10));
  test::write_text(disk.scratch.path("part/units/blocks.2.mlp.up_proj.safetensors"), "half a file");
  const Made again(disk, "part");
  for (const LevelUnit& unit : again.units) {
    const std::string name = "/units/" + unit.name + ".safetensors";
    EXPECT_EQ(sha256_file(disk.scratch.path("part" + name)), sha256_file(disk.scratch.path("whole" + name)));
  }
}

TEST(LevelDatabase, RefusesAnotherModelOtherLevelsAndDamage) {
  const OnDisk disk, other(12);
  { const Made made(disk, "levels"); }
  const std::string directory = disk.scratch.path("levels");
  const auto open = [&](const OnDisk& from, const std::vector<std::string>& single) {
    return message_of([&] {
      const Checkpoint checkpoint(from.model);
      const std::vector<LevelUnit> units = level_units(checkpoint.config(), UnitKind::kLinear, {});
      const LevelDatabase database(checkpoint, units, levels_of(units, single),
                                   {directory, from.request("bits=4").calibration, {}});
    });
  };
  for (const std::string part : {"database.json", "'model'", "another model", "--database"})
    EXPECT_NE(open(other, kThreeLevels).find(part), std::string::npos) << part;
  EXPECT_NE(open(disk, {"dense"}).find("'levels'"), std::string::npos);
  const std::string file = directory + "/units/blocks.1.mlp.up_proj.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() - 1] ^= 1;
  test::write_text(file, bytes);
  for (const std::string part : {"blocks.1.mlp.up_proj", "SHA-256", "damaged"})
    EXPECT_NE(open(disk, kThreeLevels).find(part), std::string::npos) << part;
  fs::remove(file);
  EXPECT_NE(open(disk, kThreeLevels).find("is missing"), std::string::npos);
  test::write_text(directory + "/database.json", "{\"version\": ");
  EXPECT_NE(open(disk, kThreeLevels).find("database.json"), std::string::npos);
}

LevelOrder plain_order(const LevelDatabase& database) {
  LevelOrder order;
  for (size_t u = 0; u < database.units().size(); ++u) {
    order.emplace_back();
    for (size_t l = 0; l < database.levels(u).size(); ++l) order.back().push_back(l);
  }
  return order;
}

// KL from the dense model by the plain decoder, nats per token.
double reference_kl(const OnDisk& disk, const LevelDatabase& database, const Assignment& assignment,
                    const Tensor& ids) {
  const at::NoGradGuard no_grad;
  const Checkpoint checkpoint(disk.model);
  const auto dense = checkpoint.read_all(DType::kF32), changed = checkpoint.read_all(DType::kF32);
  for (size_t u = 0; u < assignment.size(); ++u) {
    const LevelUnit& unit = database.units()[u];
    Linear& linear = changed->blocks[static_cast<size_t>(unit.block)].linears[unit.places[0]];
    linear.weight = DenseWeight{weight_to_dense(database.read(u, static_cast<size_t>(assignment[u]), 0), at::kFloat)};
  }
  const auto logs = [&](const Decoder& decoder) {
    return at::log_softmax(decoder.logits(decoder.forward(ids)).to(at::kDouble), -1).narrow(1, 0, ids.size(1) - 1);
  };
  const Tensor p = logs(*dense), q = logs(*changed);
  return (p.exp() * (p - q)).sum(-1).mean().item<double>();
}

TEST(Candidates, SharingChangesNoBitAndAgreesWithThePlainDecoder) {
  const OnDisk disk;
  const Made made(disk, "levels");
  const Tensor ids = test::read_ids(disk.ids);
  CandidateEvaluator::Options options;
  options.chunk_tokens = 64;
  Rng rng(5);
  std::vector<Assignment> candidates(1, Assignment(made.units.size(), 1));
  for (int i = 0; i < 12; ++i) {
    candidates.push_back(candidates.front());
    for (int change = 0; change < 3; ++change)
      candidates.back()[rng.below(made.units.size())] = static_cast<int>(rng.below(3));
  }
  std::vector<double> first;
  for (const int threads : {1, 4}) {
    set_thread_count(threads);
    CandidateEvaluator evaluator(made.checkpoint, made.database, plain_order(made.database), ids, options);
    evaluator.set_parent(candidates.front());
    evaluator.evaluate(candidates, 64, 1);
    const std::vector<double> values = evaluator.evaluate(candidates, evaluator.tokens(), 2);
    if (first.empty()) first = values;
    EXPECT_EQ(values, first);
    evaluator.set_parent(candidates[7]);
    EXPECT_EQ(evaluator.evaluate(candidates, evaluator.tokens(), 3), first);
    // Alone, with nothing kept.
    for (size_t i = 0; i < candidates.size(); ++i) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < 6; ++chunk) sum += evaluator.evaluate_from_scratch(candidates[i], chunk).kl;
      EXPECT_EQ(sum / (24 * 15), values[i]);
    }
    EXPECT_LT(evaluator.speed().steps, evaluator.speed().whole_steps);
  }
  set_thread_count(0);
  for (size_t i = 0; i < candidates.size(); i += 4)
    EXPECT_NEAR(first[i], reference_kl(disk, made.database, candidates[i], ids), 1e-5 * (1 + first[i]));
}

std::string model_file(const std::string& directory) {
  return sha256_file(directory + "/model.safetensors");
}

TEST(Search, WritesAModelThatItsRecipeRebuildsToTheByte) {
  const OnDisk disk;
  const SearchRequest request = disk.request("sparsity=0.6");
  const SearchOutcome outcome = run_search(request);
  const Json report = read_json_file(disk.out + "/search.json");
  EXPECT_GE(report["totals"]["sparsity"].get<double>(), 0.6);
  const double step = report["smallest_step"].get<double>();
  EXPECT_LT(report["budgets"][0]["limit"].get<double>() - report["budgets"][0]["used"].get<double>(), step);
  EXPECT_EQ(report["totals"]["bytes"], report["compared"][0]["bytes"]);
  EXPECT_EQ(report["layers"].size(), 21U);
  EXPECT_TRUE(fs::exists(disk.out + "/search.html"));
  EXPECT_FALSE(fs::exists(disk.out + ".search"));
  compress(disk.model, Recipe::load(disk.out + "/recipe.yaml", ""), disk.scratch.path("rebuilt"), {});
  EXPECT_EQ(model_file(disk.scratch.path("rebuilt")), model_file(disk.out));
  EXPECT_NE(message_of([&] { run_search(request); }).find("exists already"), std::string::npos);
}

TEST(Search, GoesOnAfterInterruptionsToTheSameResult) {
  const OnDisk disk;
  SearchRequest request = disk.request("bits=4");
  request.levels.method = "rtn";
  request.levels.lists = {"bits=2:6"};
  request.levels.params["group_size"] = int64_t{16};
  run_search(request);
  const std::string expected = model_file(disk.out);
  const Json report = read_json_file(disk.out + "/search.json");
  request.out = disk.scratch.path("again");
  int events = 0, stops = 0;
  for (int allowed = 7; !fs::exists(request.out); allowed += 5) {
    events = 0;
    const ProgressSink before = exchange_progress_sink([&](const ProgressEvent&) {
      if (++events == allowed) request_interrupt();
    });
    try {
      run_search(request);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kInterrupted) << error.what();
      ++stops;
    }
    exchange_progress_sink(before);
    clear_interrupt();
    ASSERT_LT(stops, 50);
  }
  EXPECT_GT(stops, 3);
  EXPECT_EQ(model_file(request.out), expected);
  const Json again = read_json_file(request.out + "/search.json");
  EXPECT_EQ(again["compared"], report["compared"]);
  EXPECT_EQ(again["history"].size(), report["history"].size());
}

TEST(Search, SameSeedSameResultAtAnyThreadCount) {
  const OnDisk disk;
  std::vector<std::string> hashes;
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    SearchRequest request = disk.request("sparsity=0.5");
    request.out = disk.scratch.path("threads" + std::to_string(threads));
    run_search(request);
    hashes.push_back(model_file(request.out));
  }
  set_thread_count(0);
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(Latency, IsMeasuredOnceForEveryShapeAndFormatAndIsABudget) {
  const OnDisk disk;
  const Made made(disk, "levels");
  const std::string path = disk.scratch.path("latency.json");
  const LatencyTable table = measure_latency(made.database, path), again = measure_latency(made.database, path);
  EXPECT_EQ(table, again);
  double most = 0;
  for (size_t u = 0; u < table.size(); ++u) {
    ASSERT_EQ(table[u].size(), 3U);
    for (const double seconds : table[u]) EXPECT_GT(seconds, 0);
    most += *std::max_element(table[u].begin(), table[u].end());
  }
  // The kernels multiply with what the level holds.
  for (size_t level = 0; level < 3; ++level) {
    const Weight weight = made.database.read(4, level, 0);
    const KernelMatrix matrix = kernel_matrix(weight);
    const Tensor x = at::arange(weight_columns(weight), at::kFloat) / 7;
    Tensor y = at::zeros({weight_rows(weight)});
    KernelInput input;
    input.reserve(matrix, 1, InputRounding::kFine);
    input.fill(matrix, x.const_data_ptr<float>(), weight_columns(weight), 0, 1);
    multiply(matrix, input, 0, matrix.units(), y.mutable_data_ptr<float>(), weight_rows(weight));
    const Tensor expected = at::mv(weight_to_dense(weight, at::kFloat), x);
    EXPECT_LT((y - expected).abs().max().item<double>(), 1e-2 * expected.abs().max().item<double>()) << level;
  }
  SearchRequest request = disk.request(fmt::format("ms={}", 1e3 * most));
  request.levels.single = kThreeLevels;
  request.database = disk.scratch.path("levels");
  run_search(request);
  EXPECT_LE(read_json_file(disk.out + "/search.json")["compared"][0]["ms_per_token"].get<double>(), 1e3 * most * 1.001);
}

// Rows of all linears compete; a level is a share of them.
TEST(LevelDatabase, WideRowsAreTheMostSalientOnesOfTheModel) {
  const OnDisk disk;
  const Made made(disk, "levels", {"mixllm:share=0.2,group_size=16", "rtn:bits=4,group_size=16"});
  int64_t rows = 0, wide = 0;
  std::vector<int64_t> by_unit;
  for (size_t u = 0; u < made.units.size(); ++u) {
    const auto weight = std::get<GroupIntWeight>(made.database.read(u, 0, 0));
    const int64_t own = weight.narrow.defined() ? weight.narrow.logical_not().sum().item<int64_t>()
                        : weight.bits == 8      ? weight.codes.size(0)
                                                : 0;
    rows += weight.codes.size(0);
    wide += own;
    by_unit.push_back(own);
    const auto weights = static_cast<double>(made.units[u].weights);
    EXPECT_NEAR(static_cast<double>(made.database.levels(u)[0].code_bits) / weights,
                4 + 4.0 * static_cast<double>(own) / static_cast<double>(weight.codes.size(0)), 1e-9);
  }
  EXPECT_EQ(wide, rows / 5);
  EXPECT_NE(*std::min_element(by_unit.begin(), by_unit.end()), *std::max_element(by_unit.begin(), by_unit.end()));
}

TEST(Search, WideRowsAreLevelsThatTheRecipeRebuilds) {
  const OnDisk disk;
  SearchRequest request = disk.request("bits=4.6");
  request.levels.method = "mixllm";
  request.levels.params["group_size"] = int64_t{16};
  request.levels.lists = {"share=0,0.1,0.3,0.6"};
  const SearchOutcome outcome = run_search(request);
  EXPECT_LE(outcome.compared[0].facts.bits, 4.6);
  EXPECT_GT(outcome.compared[0].facts.bits, 4.2);
  compress(disk.model, Recipe::load(disk.out + "/recipe.yaml", ""), disk.scratch.path("rebuilt"), {});
  EXPECT_EQ(model_file(disk.scratch.path("rebuilt")), model_file(disk.out));
}

// MC#: bits by expert. Two experts whose outputs hardly count get fewer bits than those that do.
TEST(Search, ExpertsGetBitsOfTheirOwn) {
  Json settings = read_json_file(test::golden_path("mixtral"))["config"];
  settings.update({{"hidden_size", 32}, {"intermediate_size", 48}, {"num_hidden_layers", 1}, {"vocab_size", 40}});
  ModelConfig config = ModelConfig::parse(settings, "golden");
  config.raw = settings;  // holds the number of experts
  const OnDisk disk(11, config, [](const Linear& linear) { return linear.expert >= 2 ? 0.05 : 8.0; });
  SearchRequest request = disk.request("bits=3");
  request.levels.method = "rtn";
  request.levels.params["group_size"] = int64_t{16};
  request.levels.lists = {"bits=2,4"};
  request.settings.generations = 30;
  run_search(request);
  double bits[2] = {0, 0};
  const Checkpoint made(disk.out);
  const Block block = made.read_block(0, DType::kF32);
  for (const Linear& linear : block.linears)
    if (linear.expert >= 0)
      bits[linear.expert >= 2] += static_cast<double>(std::get<GroupIntWeight>(linear.weight).bits);
  EXPECT_GT(bits[0], bits[1] + 4);  // sums over two experts of three linears
}

TEST(Search, EverySearcherKeepsTheBudget) {
  const OnDisk disk;
  for (const std::string searcher : {"dp", "greedy", "random", "owl", "uniform"}) {
    SearchRequest request = disk.request("bytes=9kB");
    request.levels.method = "rtn";
    request.levels.lists = {"bits=2:8"};
    request.levels.params["group_size"] = int64_t{16};
    request.searcher = searcher;
    request.out = disk.scratch.path(searcher);
    request.database = disk.scratch.path("levels");
    request.settings.samples = 20;
    const std::string refused = message_of([&] { run_search(request); });
    ASSERT_NE(refused.find("bytes=9kB"), std::string::npos) << refused;
    request.budgets = {"bytes=28kB"};
    run_search(request);
    EXPECT_LE(Checkpoint(request.out).bytes(), 28000) << searcher;
    EXPECT_GT(Checkpoint(request.out).bytes(), 27000) << searcher;
  }
}

}  // namespace
}  // namespace ockham
