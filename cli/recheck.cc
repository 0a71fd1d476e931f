// `ockham recheck`: does a published finding hold for this model?
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/study/recheck/over_models.h"
#include "ockham/study/recheck/published.h"
#include "ockham/study/recheck/run_recheck.h"
#include "ockham/study/torch_backend.h"

namespace ockham {
namespace {

struct RecheckArguments {
  std::string claim, directory, data, page, tier, scores;
  RecheckRequest request;
  std::vector<std::string> models, searched;
  bool is_dry_run = false;
};

void list_claims() {
  TextTable table({"claim", "finding", "decided by"});
  for (const Claim& claim : claims()) table.add({claim.name, claim.finding, claim.rule});
  fmt::print(
      "{}\nockham recheck CLAIM MODEL: holds (exit code 0), fails (3), cannot tell (4). `all` checks every one.\n",
      table.text());
}

void print_ruling(const Claim& claim, const Recheck& recheck) {
  fmt::print("{}: {}\n  {}\n", claim.finding, ruling_text(recheck.ruling), recheck.evidence);
  if (recheck.table.size() > 1 && !global_options().quiet) {
    TextTable table(recheck.table.front());
    for (size_t row = 1; row < recheck.table.size(); ++row) table.add(recheck.table[row]);
    fmt::print("{}", table.text());
  }
  fmt::print("  decided by: {}{}{}\n\n", claim.rule, *claim.caution != '\0' ? "; mind: " : "", claim.caution);
}

Json ruling_json(const Claim& claim, const Recheck& recheck) {
  return {{"claim", claim.name},          {"finding", claim.finding},
          {"source", claim.source},       {"ruling", ruling_text(recheck.ruling)},
          {"evidence", recheck.evidence}, {"rule", claim.rule},
          {"caution", claim.caution},     {"table", recheck.table}};
}

std::string markdown_row(const std::vector<std::string>& cells) {
  return fmt::format("| {} |\n", fmt::join(cells, " | "));
}

// One page over all claims, with the evidence of each.
std::string page_of(const RecheckArguments& arguments, const std::vector<std::pair<const Claim*, Recheck>>& results) {
  std::string page = fmt::format("# Published findings on {}\n\nMeasured {} with Ockham {} on {}.\n\n",
                                 arguments.request.model, utc_now(), version(), machine_description());
  page += markdown_row({"claim", "finding", "ruling", "evidence"}) + "|---|---|---|---|\n";
  for (const auto& [claim, recheck] : results)
    page += markdown_row({claim->name, claim->finding, "**" + ruling_text(recheck.ruling) + "**", recheck.evidence});
  for (const auto& [claim, recheck] : results) {
    page += fmt::format("\n## {}\n\n{} ({}): **{}**. {}\n\nDecided by: {}.{}\n\n", claim->name, claim->finding,
                        claim->source, ruling_text(recheck.ruling), recheck.evidence, claim->rule,
                        *claim->caution != '\0' ? std::string(" Mind: ") + claim->caution + "." : "");
    if (recheck.table.empty()) continue;
    page += markdown_row(recheck.table.front()) + "|" +
            fmt::format("{}", fmt::join(std::vector<std::string>(recheck.table.front().size(), "---"), "|")) + "|\n";
    for (size_t row = 1; row < recheck.table.size(); ++row) page += markdown_row(recheck.table[row]);
  }
  return page;
}

// Published scores instead of a model. Fails where a statement fails on a model, cannot tell where figures are missing.
void run_scores(const std::string& path) {
  std::vector<std::string> warnings;
  Json rulings = Json::array();
  TextTable table({"statement", "model", "as published", "beyond seeds"});
  std::string details;
  Ruling worst = Ruling::kHolds;
  for (const StatementRuling& one : judge_published(read_published(path), warnings)) {
    const std::string published = ruling_text(one.as_published), beyond = ruling_text(one.beyond_seeds);
    table.add({one.statement, one.model, published, beyond});
    details += fmt::format("{}, {}: {}\n  decided by: {}\n", one.statement, one.model, one.evidence, one.rule);
    rulings.push_back({{"statement", one.statement},
                       {"model", one.model},
                       {"as_published", published},
                       {"beyond_seeds", beyond},
                       {"rule", one.rule},
                       {"evidence", one.evidence}});
    if (one.as_published == Ruling::kFails || worst == Ruling::kHolds) worst = one.as_published;
  }
  if (global_options().json) {
    fmt::print("{}\n", Json({{"scores", path}, {"statements", rulings}, {"warnings", warnings}}).dump(2));
  } else {
    fmt::print("{}{}", table.text(), global_options().quiet ? std::string() : "\n" + details);
    for (const std::string& warning : warnings) fmt::print("Mind: {}.\n", warning);
  }
  set_exit_code(ruling_exit_code(worst));
}

TextTable text_table(const std::vector<std::vector<std::string>>& rows) {
  TextTable table(rows.front());
  for (size_t row = 1; row < rows.size(); ++row) table.add(rows[row]);
  return table;
}

void print_over_models(const Claim& claim, const OverModels& result) {
  fmt::print("{}: {} over {} models\n", claim.finding, ruling_text(result.recheck().ruling), result.models.size());
  std::vector<std::vector<std::string>> groups = {{"models", "number", "ruling", "evidence"}},
                                        models = {{"model", "parameters", "ruling", "evidence"}};
  for (const GroupRuling& group : result.groups)
    groups.push_back(
        {group.name, std::to_string(group.models), ruling_text(group.recheck.ruling), group.recheck.evidence});
  for (const ModelRuling& model : result.models)
    models.push_back(
        {model.model, std::to_string(model.parameters), ruling_text(model.recheck.ruling), model.recheck.evidence});
  fmt::print("{}\n{}", text_table(groups).text(), text_table(models).text());
  if (result.recheck().table.size() > 1 && !global_options().quiet)
    fmt::print("\n{}", text_table(result.recheck().table).text());
  fmt::print("  decided by: {}, over models ({}){}{}\n\n", claim.rule,
             claim.pools ? "random effects; taken back where the models' own rulings go the other way" : "sign test",
             *claim.caution != '\0' ? "; mind: " : "", claim.caution);
}

Json over_models_json(const Claim& claim, const OverModels& result) {
  Json json = ruling_json(claim, result.recheck());
  json["over_models"] = Json::array();
  for (const GroupRuling& group : result.groups)
    json["over_models"].push_back({{"models", group.name},
                                   {"number", group.models},
                                   {"ruling", ruling_text(group.recheck.ruling)},
                                   {"evidence", group.recheck.evidence},
                                   {"holding", group.holding},
                                   {"failing", group.failing},
                                   {"sign_p", group.sign_p}});
  json["models"] = Json::array();
  for (const ModelRuling& model : result.models)
    json["models"].push_back({{"model", model.model},
                              {"parameters", model.parameters},
                              {"ruling", ruling_text(model.recheck.ruling)},
                              {"evidence", model.recheck.evidence}});
  return json;
}

// Every claim on every model, each model's measurements in a folder of its name.
void run_over_models(const RecheckArguments& arguments, const std::vector<const Claim*>& wanted,
                     const StudyOptions& options, StudyBackend& backend) {
  std::vector<std::string> folders;
  for (const std::string& model : arguments.models) {
    std::filesystem::path path(model);
    if (path.filename().empty()) path = path.parent_path();
    folders.push_back(options.directory + "/" + path.filename().string());
    if (std::count(folders.begin(), folders.end(), folders.back()) > 1)
      throw_error(ErrorKind::kUsage,
                  "--models: two models are called '{}'; their measurements need folders of "
                  "different names",
                  path.filename().string());
  }
  Json json = Json::array();
  std::vector<std::pair<const Claim*, Recheck>> results;
  for (const Claim* claim : wanted) {
    std::vector<Comparison> comparisons;
    for (size_t m = 0; m < folders.size(); ++m) {
      RecheckRequest request = arguments.request;
      request.model = arguments.models[m];
      StudyOptions own = options;
      own.directory = folders[m];
      comparisons.push_back(measure_claim(*claim, request, own, backend));
    }
    const OverModels result = judge_over_models(*claim, comparisons, arguments.request.settings);
    results.emplace_back(claim, result.recheck());
    json.push_back(over_models_json(*claim, result));
    if (!global_options().json) print_over_models(*claim, result);
  }
  if (!arguments.page.empty()) write_file_atomically(arguments.page, page_of(arguments, results));
  if (global_options().json) fmt::print("{}\n", (wanted.size() > 1 ? json : json[0]).dump(2));
  if (wanted.size() == 1) set_exit_code(ruling_exit_code(results.front().second.ruling));
}

void run(RecheckArguments arguments) {
  if (!arguments.scores.empty()) {
    if (!arguments.claim.empty())
      throw_error(ErrorKind::kUsage, "recheck --scores judges a table by itself; leave out '{}'", arguments.claim);
    run_scores(arguments.scores);
    return;
  }
  if (arguments.claim.empty()) {
    list_claims();
    return;
  }
  for (const std::string& directory : arguments.searched) {
    const std::string recipe = std::filesystem::is_directory(directory) ? directory + "/recipe.yaml" : directory;
    if (!std::filesystem::is_regular_file(recipe))
      throw_error(ErrorKind::kUsage, "--searched: {} is missing, expected a directory that `ockham search` wrote",
                  recipe);
    arguments.request.settings.searched.push_back(std::filesystem::absolute(recipe).string());
  }
  std::vector<const Claim*> wanted;
  const bool is_all = arguments.claim == "all";
  for (const Claim& claim : claims())
    if (is_all && (!claim.needs_rival || !arguments.request.rival.empty())) wanted.push_back(&claim);
  if (!is_all) wanted.push_back(&find_claim(arguments.claim));
  if (!arguments.models.empty()) {
    if (!arguments.request.model.empty())
      throw_error(ErrorKind::kUsage, "recheck {}: found both MODEL '{}' and --models; give one of them",
                  arguments.claim, arguments.request.model);
    if (arguments.models.size() < 2)
      throw_error(ErrorKind::kUsage, "--models: found one, expected several, as in --models a,b,c");
    arguments.request.model = fmt::format("{} models", arguments.models.size());
    if (arguments.directory.empty()) arguments.directory = "recheck-models";
    if (arguments.page.empty() && is_all) arguments.page = arguments.directory + "/findings.md";
  }
  if (arguments.request.model.empty())
    throw_error(ErrorKind::kUsage, "recheck {}: name the model to check it on", arguments.claim);
  if (arguments.directory.empty())
    arguments.directory = "recheck-" + std::filesystem::path(arguments.request.model).filename().string();
  StudyOptions options;
  options.home = data_home();
  options.directory = arguments.directory;
  options.data_directory = arguments.data;
  options.tier = arguments.tier;
  if (arguments.is_dry_run) {
    for (const Claim* claim : wanted)
      for (size_t m = 0; m < std::max<size_t>(1, arguments.models.size()); ++m) {
        if (!arguments.models.empty()) arguments.request.model = arguments.models[m];
        fmt::print("{}", recheck_study(*claim, arguments.request));
      }
    return;
  }
  const std::unique_ptr<StudyBackend> backend = make_torch_backend(global_options().device);
  if (!arguments.models.empty()) {
    run_over_models(arguments, wanted, options, *backend);
    return;
  }
  std::vector<std::pair<const Claim*, Recheck>> results;
  Json json = Json::array();
  for (const Claim* claim : wanted) {
    results.emplace_back(claim, run_recheck(*claim, arguments.request, options, *backend));
    json.push_back(ruling_json(*claim, results.back().second));
    if (!global_options().json) print_ruling(*claim, results.back().second);
  }
  if (arguments.page.empty() && is_all) arguments.page = arguments.directory + "/findings.md";
  if (!arguments.page.empty()) {
    write_file_atomically(arguments.page, page_of(arguments, results));
    if (!global_options().json) fmt::print("Page: {}\n", arguments.page);
  }
  if (global_options().json) fmt::print("{}\n", (is_all ? json : json[0]).dump(2));
  if (!is_all) set_exit_code(ruling_exit_code(results.front().second.ruling));
}

}  // namespace

void add_recheck_command(CLI::App& app) {
  auto arguments = std::make_shared<RecheckArguments>();
  CLI::App* command =
      app.add_subcommand("recheck", "Re-check a published finding on a model: holds, fails or cannot tell");
  command->add_option("CLAIM", arguments->claim, "A claim, or all; without it the claims are listed");
  command->add_option("MODEL", arguments->request.model, "Model directory or Hub id in the local cache");
  command
      ->add_option("--models", arguments->models,
                   "Several trained models: the ruling is over them, not over one (scripts/train_seeds.sh)")
      ->delimiter(',');
  command->add_option("--rival", arguments->request.rival, "The smaller dense model of the same family");
  command->add_option("-o,--output", arguments->directory,
                      "Folder of the measurements, shared by all claims about a model; the same one resumes");
  command->add_option("--page", arguments->page, "Write a page (Markdown); `all` writes findings.md in the folder");
  command->add_option("--bits", arguments->request.settings.bits, "The width that four-bit speaks of (default 4)")
      ->check(CLI::Range(2, 8));
  command
      ->add_option("--margin", arguments->request.settings.margin,
                   "Equivalence margin in points (default 5, full tier 2)")
      ->check(CLI::PositiveNumber);
  command->add_option("--draws", arguments->request.draws, "Calibration draws; replaces the claim's")
      ->check(CLI::Range(1, 1000));
  command->add_option("--calibration", arguments->request.calibration, "Calibration data (default factworld)");
  command
      ->add_option("--searched", arguments->searched,
                   "monotone-error: outputs of `ockham search` (sparsity=0.5, method magnitude) beside the random ones")
      ->delimiter(',');
  command->add_option("--refusal-text", arguments->request.refusal_text,
                      "brittleness: conversations that end in refusals (default factworld:refusal)");
  command->add_option("--utility-text", arguments->request.utility_text,
                      "brittleness: conversations without refusals (default factworld:utility)");
  command->add_option("--tasks", arguments->request.tasks, "Names or globs of tasks; replace FactWorld's")
      ->delimiter(',');
  command->add_option("--tier", arguments->tier, "quick or full");
  command->add_option("--data", arguments->data, "Folder with the data of benchmark tasks");
  command->add_option("--scores", arguments->scores, "Judge a table of published scores (CSV) instead of a model");
  command->add_flag("--dry-run", arguments->is_dry_run, "Print the study that would be run");
  command->footer(
      "Examples:\n"
      "  ockham recheck\n"
      "  ockham recheck quant-vs-prune models/mini -o recheck-mini\n"
      "  ockham recheck four-bit models/mini --bits 8 --margin 1\n"
      "  ockham recheck quant-vs-prune --models seeds/h64-s1,seeds/h64-s2,seeds/h64-s3 -o recheck-seeds\n"
      "  ockham recheck --scores tasks/published/decoding-compressed-trust.csv\n"
      "  ockham recheck all models/mini --rival models/mini-small -o recheck-mini");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
