// `ockham inspect`: what a model is, and what a recipe would cost.
#include "ockham/pipeline/inspect.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "cli/calibration.h"
#include "cli/commands.h"
#include "cli/inspect_shape.h"
#include "cli/kv_option.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/pipeline/doctor.h"
#include "ockham/pipeline/estimate.h"
#include "ockham/tensor/device.h"

namespace ockham {
namespace {

struct InspectArguments {
  std::string model, recipe;
  bool linears = false, no_statistics = false, has_outliers = false;
  double m = 5;
  std::string calibration;
  int64_t samples = 0, tokens = 0;
  ShapeArguments shape;
};

std::vector<WeightStatistics> block_statistics(const Checkpoint& checkpoint, bool per_linear) {
  const at::NoGradGuard no_grad;
  std::vector<WeightStatistics> rows;
  const int64_t blocks = checkpoint.config().blocks;
  for (int64_t index = 0; index < blocks; ++index) {
    check_interrupt();
    const Block block = checkpoint.read_block(index, checkpoint.config().dtype);
    std::vector<WeightStatistics> parts;
    for (const Linear& linear : block.linears) parts.push_back(weight_statistics(linear));
    if (per_linear) {
      rows.insert(rows.end(), parts.begin(), parts.end());
    } else {
      rows.push_back(merge_statistics(fmt::format("blocks.{}", index), parts));
    }
    report_progress({"inspect", index + 1, blocks, "blocks"});
  }
  return rows;
}

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

Json to_json(const WeightStatistics& row) {
  return {{"name", row.name},           {"weights", row.weights},
          {"bytes", row.bytes},         {"sparsity", ratio(row.zeros, row.weights)},
          {"mean_abs", row.mean_abs},   {"max_abs", row.max_abs},
          {"deviation", row.deviation}, {"kurtosis", row.kurtosis},
          {"outliers", row.outliers},   {"pattern", row.pattern},
          {"format", row.format}};
}

Json architecture(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  const int64_t parameters = checkpoint.parameters();
  return {{"model", checkpoint.directory()},
          {"family", config.family},
          {"parameters", parameters},
          {"bytes", checkpoint.bytes()},
          {"dtype", std::string(dtype_config_name(config.dtype))},
          {"bytes_at",
           {{"float32", 4 * parameters}, {"bfloat16", 2 * parameters}, {"int8", parameters}, {"int4", parameters / 2}}},
          {"blocks", config.blocks},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"heads", config.heads},
          {"kv_heads", config.kv_heads},
          {"head_dim", config.head_dim},
          {"vocabulary", config.vocabulary},
          {"context_length", config.context_length},
          {"rope", config.rope.type},
          {"tied_embeddings", config.tied_embeddings},
          {"unused_tensors", checkpoint.unused_tensors()}};
}

Json to_json(const FormatDiagnosis& diagnosis) {
  Json loaders = Json::object();
  for (const LoaderVerdict& loader : diagnosis.loaders)
    loaders[loader.program] = {{"loads", loader.loads}, {"note", loader.note}};
  return {{"layout", diagnosis.layout},
          {"zero_points", diagnosis.zero_points},
          {"projections", diagnosis.projections},
          {"head", diagnosis.head},
          {"chat_template", diagnosis.chat_template},
          {"dense_bytes", diagnosis.dense_bytes},
          {"stored_bytes", diagnosis.stored_bytes},
          {"problems", diagnosis.problems},
          {"loaders", loaders}};
}

std::string megabytes(const Json& bytes) {
  return fmt::format("{:.2f} MB", bytes.get<double>() / 1e6);
}

void print_diagnosis(const FormatDiagnosis& diagnosis) {
  fmt::print("  layout: {}; zero points: {}; {}; head: {}; chat template: {}\n", diagnosis.layout,
             diagnosis.zero_points, diagnosis.projections, diagnosis.head, diagnosis.chat_template);
  fmt::print("  dense {}, stored {} ({:.1f} %)\n", megabytes(diagnosis.dense_bytes), megabytes(diagnosis.stored_bytes),
             100 * ratio(diagnosis.stored_bytes, diagnosis.dense_bytes));
  for (const LoaderVerdict& loader : diagnosis.loaders) {
    fmt::print("  {}: {}{}\n", loader.program, loader.loads ? "loads" : "does not load",
               loader.note.empty() ? "" : (loader.loads ? " " : ": ") + loader.note);
  }
  for (const std::string& problem : diagnosis.problems) fmt::print("  problem: {}\n", problem);
}

void print_outliers(const Json& outliers) {
  constexpr double kWidth = 40;
  const std::vector<double> shares = outliers["shares"].get<std::vector<double>>();
  const double highest = std::max(1e-12, *std::max_element(shares.begin(), shares.end()));
  TextTable table({"block", "outlier %", ""});
  for (size_t block = 0; block < shares.size(); ++block) {
    const auto width = static_cast<size_t>(std::lround(kWidth * shares[block] / highest));
    table.add({fmt::format("blocks.{}", block), fmt::format("{:.3f}", shares[block]), std::string(width, '#')});
  }
  fmt::print(
      "\n{}outlier %: weights whose |w| * norm(x) exceeds {} times the mean of their block, as owl counts them; "
      "{} sequences of {} tokens of {}\n\n",
      table.text(), outliers["m"].get<double>(), outliers["samples"].get<int64_t>(), outliers["tokens"].get<int64_t>(),
      outliers["calibration"].get<std::string>());
}

void print_text(const Json& json, const FormatDiagnosis& diagnosis, const std::vector<WeightStatistics>& rows) {
  fmt::print("{}: {} with {} parameters, {} on disk ({})\n", json["model"].get<std::string>(),
             json["family"].get<std::string>(), json["parameters"].get<int64_t>(), megabytes(json["bytes"]),
             json["dtype"].get<std::string>());
  fmt::print(
      "  {} blocks, hidden {}, intermediate {}, heads {} ({} for keys and values) of {}, vocabulary {}, context {}\n",
      json["blocks"].get<int64_t>(), json["hidden_size"].get<int64_t>(), json["intermediate_size"].get<int64_t>(),
      json["heads"].get<int64_t>(), json["kv_heads"].get<int64_t>(), json["head_dim"].get<int64_t>(),
      json["vocabulary"].get<int64_t>(), json["context_length"].get<int64_t>());
  fmt::print("  dense sizes: float32 {}, 16 bit {}, 8 bit {}, 4 bit {}\n", megabytes(json["bytes_at"]["float32"]),
             megabytes(json["bytes_at"]["bfloat16"]), megabytes(json["bytes_at"]["int8"]),
             megabytes(json["bytes_at"]["int4"]));
  print_diagnosis(diagnosis);
  if (json.contains("pattern")) {
    fmt::print("  weights of the blocks: {:.2f} % zeros, pattern {}\n\n", 100 * json["sparsity"].get<double>(),
               json["pattern"].get<std::string>());
    TextTable table({"part", "weights", "zeros %", "pattern", "format", "mean |w|", "max |w|", "kurtosis", "outliers"});
    for (const WeightStatistics& row : rows) {
      table.add({row.name, fmt::format("{}", row.weights), fmt::format("{:.2f}", 100 * ratio(row.zeros, row.weights)),
                 row.pattern, row.format, fmt::format("{:.5f}", row.mean_abs), fmt::format("{:.4f}", row.max_abs),
                 fmt::format("{:.2f}", row.kurtosis), fmt::format("{}", row.outliers)});
    }
    fmt::print("{}", table.text());
    fmt::print("outliers: weights beyond six standard deviations; kurtosis 3 is a normal distribution\n");
  }
  if (json.contains("outliers")) print_outliers(json["outliers"]);
  if (json.contains("estimate")) {
    const Json& estimate = json["estimate"];
    fmt::print("recipe {}: about {:.1f} s, {} on disk, peak memory {}\n", estimate["recipe"].get<std::string>(),
               estimate["seconds"].get<double>(), megabytes(estimate["bytes"]), megabytes(estimate["peak_bytes"]));
  }
}

void run_inspect(const InspectArguments& arguments) {
  if (arguments.model.empty() == arguments.shape.shape.empty())
    throw_error(ErrorKind::kUsage, "expected either a model or --shape with a model's name");
  if (!arguments.shape.shape.empty()) {
    if (!arguments.recipe.empty() || arguments.has_outliers || arguments.linears)
      throw_error(ErrorKind::kUsage,
                  "--shape {}: there are no weights to look at; leave out --recipe, --outliers and --linears",
                  arguments.shape.shape);
    return inspect_shape(arguments.shape);
  }
  const Checkpoint checkpoint(arguments.model);
  Json json = architecture(checkpoint);
  const FormatDiagnosis diagnosis = diagnose_format(checkpoint);
  json["storage"] = to_json(diagnosis);
  // First, since it measures the memory of a process that has done nothing else.
  if (!arguments.recipe.empty()) {
    Recipe recipe = Recipe::load(arguments.recipe, data_home() + "/recipes");
    if (arguments.samples > 0) recipe.calibration.samples = arguments.samples;
    if (arguments.tokens > 0) recipe.calibration.tokens = arguments.tokens;
    const RecipeEstimate estimate =
        estimate_recipe(checkpoint, recipe, arithmetic_dtype(checkpoint.config().dtype, at::kCPU));
    json["estimate"] = {{"recipe", recipe.name},
                        {"seconds", estimate.seconds},
                        {"forward_seconds", estimate.forward_seconds},
                        {"bytes", estimate.output_bytes},
                        {"peak_bytes", estimate.peak_bytes}};
  }
  std::vector<WeightStatistics> rows;
  if (!arguments.no_statistics) {
    rows = block_statistics(checkpoint, arguments.linears);
    const WeightStatistics total = merge_statistics("all", rows);
    json["sparsity"] = ratio(total.zeros, total.weights);
    json["sparsity_of_all_parameters"] = ratio(total.zeros, checkpoint.parameters());
    json["pattern"] = total.pattern;
    json["format"] = total.format;
    Json list = Json::array();
    for (const WeightStatistics& row : rows) list.push_back(to_json(row));
    json["statistics"] = list;
  }
  if (arguments.has_outliers) {
    if (arguments.calibration.empty())
      throw_error(ErrorKind::kUsage, "--outliers: found no texts, expected some; name them with --calibration");
    CalibrationSpec spec;
    spec.data = arguments.calibration;
    spec.samples = arguments.samples > 0 ? arguments.samples : 32;
    spec.tokens = arguments.tokens > 0 ? arguments.tokens : 512;
    const OutlierDistribution outliers = outlier_distribution(
        checkpoint, spec, world_documents, arithmetic_dtype(checkpoint.config().dtype, at::kCPU), arguments.m);
    json["outliers"] = {{"m", arguments.m},
                        {"calibration", arguments.calibration},
                        {"sha256", outliers.data_sha256},
                        {"samples", outliers.samples},
                        {"tokens", outliers.tokens},
                        {"shares", outliers.shares}};
  }
  if (global_options().json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    print_text(json, diagnosis, rows);
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Architecture, layout on disk and what loads it, weight statistics, cost of a recipe");
  command->add_option("model", arguments->model, "Model directory, .gguf file, or a Hub id in the local cache");
  command->add_option("--shape", arguments->shape.shape,
                      "Weights and KV cache of a well-known model by its name, such as opt-30b, without its weights");
  command->add_option("--batch", arguments->shape.batch, "Sequences at once, for --shape")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seq", arguments->shape.tokens, "Tokens of each, for --shape (default: the model's context)")
      ->check(CLI::Range(1, 1 << 30));
  add_kv_option(*command, arguments->shape.kv);
  command->add_option("--recipe", arguments->recipe, "Predict time, size and memory of this recipe");
  command->add_flag("--linears", arguments->linears, "One row per linear instead of one per block");
  command->add_flag("--no-statistics", arguments->no_statistics, "Read headers only");
  command->add_flag("--outliers", arguments->has_outliers,
                    "Share of outlier weights in every block, as owl measures it on --calibration");
  command->add_option("--calibration", arguments->calibration,
                      ".txt, .jsonl, .parquet or .npy file, or factworld; for --outliers");
  command
      ->add_option("--samples", arguments->samples, "Calibration sequences; replaces the recipe's (for --outliers 32)")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", arguments->tokens, "Tokens per sequence; replaces the recipe's (for --outliers 512)")
      ->check(CLI::PositiveNumber);
  command->add_option("--m", arguments->m, "How many times the block's mean score makes an outlier (default: 5)")
      ->check(CLI::Range(0.0, 1000.0));
  command->footer(
      "Examples:\n"
      "  ockham inspect models/mini\n"
      "  ockham inspect models/mini --recipe wanda-50 --json\n"
      "  ockham inspect models/mini --outliers --calibration factworld\n"
      "  ockham inspect --shape opt-30b --batch 128 --seq 1024 --kv h2o,budget=0.2");
  command->callback([arguments] { run_inspect(*arguments); });
}

}  // namespace ockham
