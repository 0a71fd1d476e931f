// `ockham search`: how much goes where, within budgets and limits.
#include "ockham/search/search.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "cli/calibration.h"
#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/report/format.h"
#include "ockham/world/deferred_world.h"

namespace ockham {
namespace {

struct SearchArguments {
  SearchRequest request;
  std::string units = "linear", fitness = "kl", errors = "loss", stages, spend;
  bool is_paper = false;
  std::vector<std::string> params;
};

// "2048:8,16384:2,65536:1"
std::vector<SearchStage> parse_stages(const std::string& text) {
  std::vector<SearchStage> stages;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    SearchStage stage;
    const auto tokens = std::from_chars(at, end, stage.tokens);
    if (tokens.ec != std::errc() || tokens.ptr == end || *tokens.ptr != ':') break;
    const auto survivors = std::from_chars(tokens.ptr + 1, end, stage.survivors);
    if (survivors.ec != std::errc() || stage.tokens < 1 || stage.survivors < 1) break;
    stages.push_back(stage);
    at = survivors.ptr;
    if (at == end && stages.back().survivors == 1) return stages;
    if (at == end || *at++ != ',') break;
  }
  throw_error(ErrorKind::kUsage,
              "--stages: found '{}', expected TOKENS:SURVIVORS,... that ends with one survivor, as in "
              "2048:8,16384:2,65536:1",
              text);
}

// "20%" or "0.2".
double parse_share(const std::string& option, std::string text) {
  const bool is_percent = text.ends_with('%');
  if (is_percent) text.pop_back();
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !(value >= 0) || value > 1000)
    throw_error(ErrorKind::kUsage, "{}: found '{}', expected a share such as 20% or 0.2", option, text);
  return is_percent ? value / 100 : value;
}

void print_limits(const Json& limits) {
  TextTable table({"limit", "change on unseen items", "interval", "items", "holds", "binds", "costs"});
  for (const Json& one : limits.at("floors"))
    table.add({one["limit"], signed_points(one["change"].get<double>()),
               signed_points(one["low"].get<double>()) + " to " + signed_points(one["high"].get<double>()),
               std::to_string(one["items"].get<int64_t>()), one["holds"].get<bool>() ? "yes" : "no",
               one["binds"].get<bool>() ? "yes" : "no",
               one["price_bytes"].is_number() ? bytes_text(one["price_bytes"].get<double>()) : "–"});
  fmt::print("{}\n{}", limits["verdict"].get<std::string>() + "\n", table.text());
}

void print_outcome(const SearchOutcome& outcome, const std::string& out) {
  TextTable table({"allocation", "size", "zeros", "bits", "KL", "perplexity"});
  for (const ComparedAssignment& one : outcome.compared)
    table.add({one.name, bytes_text(static_cast<double>(one.facts.bytes)),
               fmt::format("{:.2f} %", 100 * one.facts.sparsity), fmt::format("{:.3f}", one.facts.stored_bits),
               fmt::format("{:.4f}", one.value.kl), fmt::format("{:.3f}", one.value.perplexity)});
  fmt::print("{}", table.text());
  const Json& report = outcome.report;
  fmt::print("On held-out tokens; the dense model's perplexity is {:.3f}. {} candidates in {}",
             report["dense_perplexity"].get<double>(), report["evaluations"].get<int64_t>(),
             seconds_text(report["seconds"]["search"].get<double>()));
  // Not timed where the search was finished by an earlier call.
  const double speedup = report["evaluation"]["speedup"].get<double>();
  fmt::print("{}\n", speedup > 0 ? fmt::format(", {:.1f} times faster than each from scratch.", speedup) : ".");
  if (report.contains("engine_memory"))
    fmt::print("Memory of the native engine: {} expected, {} measured.\n",
               bytes_text(report["engine_memory"]["expected"].get<double>()),
               bytes_text(report["engine_memory"]["measured"].get<double>()));
  if (report.contains("limits")) print_limits(report["limits"]);
  fmt::print("{0}: the model, recipe.yaml (ockham compress --recipe {0}/recipe.yaml), search.json, search.html\n", out);
}

void run(SearchArguments& arguments) {
  SearchRequest& request = arguments.request;
  request.units = unit_kind_from_name(arguments.units);
  request.fitness = arguments.fitness == "kl" ? FitnessKind::kKl : FitnessKind::kPerplexity;
  request.errors = arguments.errors == "loss" ? LevelErrors::kLoss : LevelErrors::kLayer;
  if (arguments.is_paper)
    use_paper_settings(request.settings, request.budgets.empty() || !request.budgets[0].starts_with("sparsity"));
  if (!arguments.spend.empty()) request.spend = parse_share("--spend", arguments.spend);
  if (!arguments.stages.empty()) request.settings.stages = parse_stages(arguments.stages);
  for (const std::string& setting : arguments.params) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw_error(ErrorKind::kUsage, "--set: found '{}', expected NAME=VALUE, as in --set group_size=64", setting);
    request.levels.params[setting.substr(0, equals)] =
        parse_param(YamlNode::parse(setting.substr(equals + 1), "--set " + setting));
  }
  request.text_source = world_documents;
  DeferredWorld world;
  request.limits.task_directory = data_home() + "/tasks";
  request.limits.options.world_items = [&world](const std::string& suite) { return world.get().items(suite); };
  request.limits.options.world_text = [&world](const std::string& split) { return world.text(split); };
  const SearchOutcome outcome = run_search(request);
  if (outcome.report.is_null()) return;  // of a rank beside the first one
  if (!outcome.is_met) set_exit_code(5);
  if (global_options().json)
    fmt::print("{}\n", outcome.report.dump(2));
  else
    print_outcome(outcome, request.out);
}

void add_search_options(CLI::App& command, SearchArguments& arguments) {
  SearchSettings& settings = arguments.request.settings;
  command.add_option("--searcher", arguments.request.searcher,
                     "evopress, dp, milp, lp, greedy, owl, uniform or random (default evopress)");
  command.add_option("--seed", settings.seed, "Of the search")->check(CLI::NonNegativeNumber);
  command.add_option("--generations", settings.generations, "Generations of evopress")->check(CLI::Range(0, 1000000));
  command.add_option("--offspring", settings.offspring, "Offspring of a generation")->check(CLI::Range(1, 100000));
  command.add_option("--stages", arguments.stages,
                     "TOKENS:SURVIVORS of each stage of selection (default 2048:4,16384:1)");
  command.add_flag("--paper", arguments.is_paper,
                   "Generations, offspring and stages of the paper: 400 of 64 for sparsities, 150 of 128 for bits");
  command.add_option("--restarts", settings.restarts, "Searches from different beginnings; the best counts")
      ->check(CLI::Range(1, 1000));
  command.add_option("--patience", settings.patience, "Stop after so many generations without progress (0: never)")
      ->check(CLI::Range(0, 1000000));
  command.add_option("--samples-of-random", settings.samples, "Candidates of --searcher random")
      ->check(CLI::Range(1, 10000000));
  command.add_option("--fitness", arguments.fitness, "kl: divergence from the dense model; perplexity")
      ->check(CLI::IsMember({"kl", "perplexity"}));
  command
      .add_option("--errors", arguments.errors,
                  "What dp, milp, lp and greedy add up: loss (of the model, one unit changed) or layer")
      ->check(CLI::IsMember({"loss", "layer"}));
}

void add_limit_options(CLI::App& command, SearchArguments& arguments) {
  LimitRequest& limits = arguments.request.limits;
  limits.tasks = {"factworld/*"};
  command
      .add_option("--limit", limits.limits,
                  "NAME=-POINTS: how far a dimension or task may fall below dense, as in privacy=-1; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--tasks", limits.tasks, "Tasks that limits are looked up in (default factworld/*)")
      ->delimiter(',');
  command.add_option("--data", limits.options.data_directory, "Folder with the data of benchmark tasks");
  command.add_option("--items", limits.options.max_items, "Items per task that the search looks at")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--confidence", limits.confidence,
                  "Of the limits on unseen items, one-sided: 0.95 (default), 0.975, or 0.5 for the estimate alone")
      ->check(CLI::IsMember({0.5, 0.95, 0.975}));
  command.add_option("--spend", arguments.spend,
                     "Share of the first budget that limits may add to it, as in 20% (default 0)");
}

}  // namespace

void add_search_command(CLI::App& app) {
  auto arguments = std::make_shared<SearchArguments>();
  SearchRequest& request = arguments->request;
  request.calibration.samples = 128;
  request.calibration.tokens = 2048;
  CLI::App* command = app.add_subcommand("search", "Choose how much each layer gives, within budgets");
  command->add_option("model", request.model, "Dense model directory, or a Hub id in the local Hugging Face cache")
      ->required();
  command
      ->add_option("--budget", request.budgets,
                   "sparsity=0.6, bits=3.0, stored-bits=3.2, bytes=1.2MB, ms=0.4 or memory=50MB; may be repeated")
      ->required()
      ->allow_extra_args(false);
  command->add_option("-o,--out", request.out, "Directory to write; appears whole or not at all")->required();
  command->add_option("--method", request.levels.method, "Method of the levels (default sparsegpt, for bits gptq)");
  command
      ->add_option("--levels", request.levels.lists,
                   "KEY=VALUES (sparsity=0.4,0.5; bits=2:6; sparsity=0.3:0.9:0.1), grid (sparsities around the "
                   "budget's in equal steps of weights), or a .yaml file; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--level", request.levels.single,
                   "One more level: dense, or METHOD:KEY=VALUE,...+METHOD:...; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--set", arguments->params, "NAME=VALUE: a parameter of the method in all of --levels")
      ->allow_extra_args(false);
  command->add_option("--units", arguments->units, "What takes one level: linear, half (attention, MLP) or block")
      ->check(CLI::IsMember({"linear", "half", "block"}));
  command->add_option("--ignore", request.ignore, "Globs of linears that stay dense")->delimiter(',');
  command->add_option("--database", request.database, "Where levels are kept and looked for (default OUT.levels)");
  command->add_option("--calibration", request.calibration.data, ".txt, .jsonl, .parquet or .npy file, or factworld")
      ->required();
  command->add_option("--samples", request.calibration.samples, "Calibration sequences of the levels")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", request.calibration.tokens, "Tokens per calibration sequence")
      ->check(CLI::PositiveNumber);
  command->add_option("--search-tokens", request.tokens, "Tokens that candidates are measured on")
      ->check(CLI::PositiveNumber);
  command->add_option("--sequence", request.sequence, "Length of their sequences")->check(CLI::Range(2, 1 << 20));
  command->add_option("--batch", request.load.batch, "Sequences at once that --budget memory is for (default 1)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--context", request.load.context, "Tokens of each (default: the model's context, at most 2048)")
      ->check(CLI::Range(2, 1 << 24));
  add_search_options(*command, *arguments);
  add_limit_options(*command, *arguments);
  command->add_flag("--overwrite", request.overwrite, "Replace an existing output");
  command->add_flag("--restart", request.restart, "Start over where an interrupted search would go on");
  command->footer(
      "Examples:\n"
      "  ockham search models/mini --budget sparsity=0.7 --calibration factworld -o out/mini-70\n"
      "  ockham search models/mini --budget bits=3.0 --levels bits=2:6 --calibration factworld -o out/mini-3bit\n"
      "  ockham search models/mini --budget bits=3.0 --limit fairness=-5 --spend 20% --calibration factworld -o "
      "out/fair\n"
      "  ockham search llama --budget bytes=1.2GB --level dense --level sparsegpt:sparsity=0.5+gptq:bits=4 \\\n"
      "      --levels bits=3,4,6 --calibration text.jsonl -o out/llama-mix\n"
      "Exit code 5 where the limits are not met; the nearest choice within the budgets is written then.");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
