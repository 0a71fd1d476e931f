// `ockham recommend`: limits in, the configuration and the command that rebuilds it out.
#include "ockham/report/recommend.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/report/format.h"
#include "ockham/study/store.h"

namespace ockham {
namespace {

struct RecommendArguments {
  std::vector<std::string> directories, limits, minimums, refusals;
  std::string max_bytes, evidence = "shown";
  double perplexity = 0;
};

double parse_number(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, failure] =
      std::from_chars(text.data() + (text.starts_with('+') ? 1 : 0), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size())
    throw_error(ErrorKind::kUsage, "{}: found '{}', expected a number", option, text);
  return value;
}

// "1500000", "1.5MB", "900kB", "2GB" (powers of ten), "1.5MiB" (powers of two).
double parse_bytes(const std::string& text) {
  const size_t letters = text.find_first_not_of("0123456789.+-eE");
  const std::string unit = letters == std::string::npos ? "" : text.substr(letters);
  const double value = parse_number("--max-bytes", letters == std::string::npos ? text : text.substr(0, letters));
  const std::map<std::string, double> units = {{"", 1},     {"B", 1},      {"kB", 1e3},      {"KB", 1e3},
                                               {"MB", 1e6}, {"GB", 1e9},   {"K", 1e3},       {"M", 1e6},
                                               {"G", 1e9},  {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
  const auto factor = units.find(unit);
  if (factor == units.end() || !(value > 0))
    throw_error(ErrorKind::kUsage, "--max-bytes: found '{}', expected a size such as 1500000, 900kB or 1.5MB", text);
  return value * factor->second;
}

std::map<std::string, double> parse_pairs(const std::string& option, const std::vector<std::string>& texts, double low,
                                          double high, const std::string& expected) {
  std::map<std::string, double> pairs;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, text, expected);
    const double value = parse_number(option, text.substr(equals + 1));
    if (!(value >= low && value <= high))
      throw_error(ErrorKind::kUsage, "{}: found '{}', expected {}", option, text, expected);
    pairs[text.substr(0, equals)] = value;
  }
  return pairs;
}

std::string shell_word(const std::string& text) {
  if (!text.empty() &&
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=+:") ==
          std::string::npos)
    return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

// What rebuilds the row: the recipe file that the study left beside its results.
std::string rebuild_command(const RecommendArguments& arguments, const Comparison& comparison, const ComparisonRow& row,
                            size_t draw) {
  std::string path = row.model;
  for (const StoredModel& model : comparison.models)
    if (model.name == row.model) path = model.path;
  if (row.family == MethodFamily::kDense) return fmt::format("# nothing to build: use {} as it is", path);
  std::string recipe = row.recipe;
  for (const std::string& directory : arguments.directories)
    if (const std::string file = directory + "/recipes/" + row.recipe + ".yaml";
        std::filesystem::is_regular_file(file)) {
      recipe = file;
      break;
    }
  const std::string seed = row.seeds.empty() ? "" : fmt::format(" --seed {}", row.seeds[draw]);
  return fmt::format("ockham compress {} --recipe {}{} -o {}", shell_word(path), shell_word(recipe), seed,
                     shell_word(row.model + "-" + row.recipe));
}

Json candidate_json(const Comparison& comparison, const Candidate& candidate) {
  const ComparisonRow& row = comparison.rows[candidate.row];
  Json json = {{"model", row.model},
               {"recipe", row.recipe},
               {"bytes", row.bytes},
               {"meets_limits", candidate.is_met()},
               {"checks", Json::array()}};
  for (const LimitCheck& check : candidate.checks)
    json["checks"].push_back({{"limit", check.limit}, {"measured", check.measured}, {"met", check.is_met}});
  return json;
}

void print_evidence(const Comparison& comparison, const Candidate& candidate) {
  const ComparisonRow& row = comparison.rows[candidate.row];
  if (!candidate.checks.empty()) {
    TextTable table({"limit", "measured", "met"});
    for (const LimitCheck& check : candidate.checks)
      table.add({check.limit, check.measured, check.is_met ? "yes" : "no"});
    fmt::print("{}\n", table.text());
  }
  TextTable table({"dimension", "dense", "here", "change", "95 % interval", "verdict"});
  const ComparisonRow* dense = comparison.baseline(row.compared_with);
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    const ComparisonCell& cell = row.cells[c];
    if (cell.done == 0) continue;
    table.add({comparison.columns[c].title, dense != nullptr ? points(dense->cells[c].score) : "–", points(cell.score),
               cell.has_change ? signed_points(cell.change.value) : "–",
               cell.has_change
                   ? signed_points(cell.change.interval.low) + " to " + signed_points(cell.change.interval.high)
                   : "–",
               !cell.is_interpretable ? "not interpretable"
               : cell.has_change      ? verdict_text(cell.verdict)
                                      : "–"});
  }
  fmt::print("{}\n", table.text());
}

void run(const RecommendArguments& arguments) {
  Limits limits;
  if (!arguments.max_bytes.empty()) limits.max_bytes = parse_bytes(arguments.max_bytes);
  limits.changes = parse_pairs("--limit", arguments.limits, -100, 0, "DIMENSION=-POINTS, as in fairness=-2");
  limits.scores = parse_pairs("--min", arguments.minimums, 0, 100, "DIMENSION=SCORE, as in privacy=70");
  limits.refusals = parse_pairs("--min-refusal", arguments.refusals, 0, 1, "DIMENSION=SHARE, as in privacy=0.8");
  limits.max_perplexity_ratio = arguments.perplexity;
  limits.by_estimate = arguments.evidence == "estimate";
  std::vector<StudyResults> parts;
  for (const std::string& directory : arguments.directories) parts.push_back(read_results(directory));
  const StudyResults results = merge(std::move(parts));
  const Comparison comparison = summarize(results);
  const Recommendation recommendation = recommend(comparison, limits);
  const bool is_met = recommendation.choice.has_value();
  if (!is_met) set_exit_code(5);
  const std::optional<Candidate>& shown = is_met ? recommendation.choice : recommendation.nearest;
  const size_t draw = shown ? median_draw(comparison, comparison.rows[shown->row]) : 0;
  const std::string command = shown ? rebuild_command(arguments, comparison, comparison.rows[shown->row], draw) : "";
  if (global_options().json) {
    Json json = {{"met", is_met}, {"rule", recommendation.rule}};
    if (shown) {
      const ComparisonRow& row = comparison.rows[shown->row];
      json[is_met ? "choice" : "nearest"] = candidate_json(comparison, *shown);
      json["command"] = command;
      if (draw < row.packed_sha256.size()) json["packed_sha256"] = row.packed_sha256[draw];
    }
    json["candidates"] = Json::array();
    for (const Candidate& candidate : recommendation.all)
      json["candidates"].push_back(candidate_json(comparison, candidate));
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    return;
  }
  if (!is_met) fmt::print("No configuration meets the limits ({}).\n", recommendation.rule);
  if (!shown) return;
  const ComparisonRow& row = comparison.rows[shown->row];
  const ComparisonRow* dense = comparison.baseline(row.compared_with);
  fmt::print("{}: {}{}, {}{}\n\n", is_met ? "Use" : "Nearest", row.is_rival ? "" : row.model + " with ", row.label(),
             row.bytes > 0 ? bytes_text(row.bytes) : "size not measured",
             dense != nullptr && dense->bytes > 0 && row.bytes > 0
                 ? fmt::format(" ({} of dense)", percent(row.bytes / dense->bytes))
                 : "");
  if (is_met) fmt::print("Rule: {}.\n\n", recommendation.rule);
  print_evidence(comparison, *shown);
  fmt::print("Rebuild it:\n  {}\n", command);
  if (draw < row.packed_sha256.size()) fmt::print("  sha256 of the measured model: {}\n", row.packed_sha256[draw]);
  if (!is_met && !limits.by_estimate) {
    Limits estimated = limits;
    estimated.by_estimate = true;
    if (const Recommendation weaker = recommend(comparison, estimated); weaker.choice)
      fmt::print("\nBy the estimates alone, without regard to their intervals, {} would pass (--evidence estimate).\n",
                 comparison.rows[weaker.choice->row].label());
  }
}

}  // namespace

void add_recommend_command(CLI::App& app) {
  auto arguments = std::make_shared<RecommendArguments>();
  CLI::App* command = app.add_subcommand(
      "recommend", "The configuration within your limits, its evidence, and the command that rebuilds it");
  command->add_option("DIR", arguments->directories, "Directories written by `ockham study`")->required();
  command->add_option("--max-bytes", arguments->max_bytes, "Largest size on disk: 1500000, 900kB, 1.5MB");
  command
      ->add_option("--limit", arguments->limits,
                   "DIMENSION=-POINTS: may not fall further below dense; all, trust and knowledge name groups")
      ->allow_extra_args(false);
  command->add_option("--min", arguments->minimums, "DIMENSION=SCORE: least score, 0-100")->allow_extra_args(false);
  command->add_option("--min-refusal", arguments->refusals, "DIMENSION=SHARE: least share of refusals, 0-1")
      ->allow_extra_args(false);
  command->add_option("--max-perplexity-ratio", arguments->perplexity, "Largest perplexity, as a multiple of dense")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--evidence", arguments->evidence,
                   "shown: the worse end of the interval must be inside the limit; estimate: the estimate alone")
      ->check(CLI::IsMember({"shown", "estimate"}));
  command->footer(
      "Examples:\n"
      "  ockham recommend quickstart --limit all=-10\n"
      "  ockham recommend quickstart --max-bytes 2MB --limit fairness=-5 --limit privacy=-5\n"
      "Exit code 5 where nothing meets the limits; the nearest is shown then.");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
