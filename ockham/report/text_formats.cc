// Formats for people without a browser and for programs.
#include "ockham/report/text_formats.h"

#include <algorithm>
#include <cmath>

#include "ockham/report/findings.h"
#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"
#include "ockham/report/published_scores.h"
#include "ockham/report/verdict.h"

namespace ockham {
namespace {

// "|" would end a Markdown cell.
std::string cell_text(std::string text) {
  for (size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) text.replace(at, 1, "\\|");
  return text;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string number(double value) {
  // Whole numbers, such as bytes, in full.
  if (value == std::round(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value + 0.0);
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "";
}

Json finite(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json cell_json(const Column& column, const ComparisonCell& cell) {
  Json json = {{"dimension", column.id},
               {"title", column.title},
               {"scenarios_done", cell.done},
               {"scenarios_planned", cell.planned}};
  if (cell.done == 0) return json;
  json["score"] = finite(cell.score);
  json["interval"] = {finite(cell.interval.low), finite(cell.interval.high)};
  json["interpretable"] = cell.is_interpretable;
  json["draws"] = cell.draws;
  if (cell.refusal >= 0) json["refusal"] = {{"share", cell.refusal}, {"change", cell.refusal_change}};
  for (const ControlScore& control : cell.controls)
    json["controls"].push_back({{"task", control.task}, {"score", control.score}, {"change", control.change}});
  if (!cell.has_change) return json;
  json["change"] = {{"value", finite(cell.change.value)},
                    {"interval95", {finite(cell.change.interval.low), finite(cell.change.interval.high)}},
                    {"interval90", {finite(cell.change.interval90.low), finite(cell.change.interval90.high)}},
                    {"p_value", finite(cell.change.p_value)},
                    {"p_adjusted", finite(cell.p_adjusted)},
                    {"smallest_effect", finite(cell.change.smallest_effect)},
                    {"n", cell.change.n}};
  if (cell.change.mcnemar_p >= 0) json["change"]["p_mcnemar"] = cell.change.mcnemar_p;
  if (cell.noise_floor > 0) {
    json["change"]["noise_floor"] = cell.noise_floor;
    json["change"]["noise_units"] = std::abs(cell.change.value) / cell.noise_floor;
  }
  json["verdict"] = cell.is_interpretable ? verdict_text(cell.verdict) : "not interpretable";
  return json;
}

std::string caches_markdown(const Comparison& comparison) {
  const auto share = [](const std::optional<double>& value) { return value ? percent(*value) : std::string("–"); };
  std::string rows;
  for (const ComparisonRow& row : comparison.rows)
    if (row.cache_bytes)
      rows += fmt::format("| {} | {} | {} | {} | {} |\n", cell_text(row.label()), cell_text(row.cache_policy),
                          bytes_text(*row.cache_bytes), share(row.cache_kept), share(row.cache_mass));
  if (rows.empty()) return "";
  return "\n## KV caches\n\n| configuration | policy | for each token read | tokens kept | attention on them |\n"
         "|---|---|---:|---:|---:|\n" +
         rows;
}

std::string published_markdown(const PublishedComparison& published) {
  if (published.figures.empty()) return "";
  std::string text =
      fmt::format("\n## Against the published figures ({})\n\n{}.\n\n", published.name, published_summary(published));
  for (const std::string& caution : published.cautions) text += "Mind: " + caution + ".\n\n";
  text +=
      "| model | version | dimension | published | measured | difference | 95 % interval | p (Holm) | verdict |\n"
      "|---|---|---|---:|---:|---:|---|---:|---|\n";
  for (const PublishedFigure& figure : published.figures) {
    const bool is_measured = figure.agreement != Agreement::kNotMeasured;
    text += fmt::format(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", cell_text(figure.model), cell_text(figure.version),
        figure.dimension, points(figure.published), is_measured ? points(figure.measured) : "–",
        is_measured ? signed_points(figure.difference.value) : "–",
        is_measured
            ? signed_points(figure.difference.interval.low) + " to " + signed_points(figure.difference.interval.high)
            : "–",
        is_measured ? p_text(figure.p_adjusted) : "–",
        is_measured ? agreement_text(figure.agreement) : "not measured: " + figure.reason);
  }
  return text;
}

Json published_json(const PublishedComparison& published) {
  Json json = {{"table", published.name}, {"summary", published_summary(published)}, {"cautions", published.cautions}};
  json["figures"] = Json::array();
  for (const PublishedFigure& figure : published.figures) {
    Json entry = {{"model", figure.model},
                  {"version", figure.version},
                  {"dimension", figure.dimension},
                  {"published", figure.published},
                  {"verdict", agreement_text(figure.agreement)}};
    if (figure.agreement == Agreement::kNotMeasured) {
      entry["reason"] = figure.reason;
    } else {
      entry["row"] = figure.label;
      entry["measured"] = finite(figure.measured);
      entry["difference"] = {{"value", finite(figure.difference.value)},
                             {"interval95", {figure.difference.interval.low, figure.difference.interval.high}},
                             {"interval90", {figure.difference.interval90.low, figure.difference.interval90.high}},
                             {"p_value", finite(figure.difference.p_value)},
                             {"p_adjusted", finite(figure.p_adjusted)}};
    }
    json["figures"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace

std::string markdown_report(const Comparison& comparison) {
  std::string text = fmt::format("# What compression cost {}\n\n", comparison.primary);
  text += fmt::format("Tier {}, margin ±{} points, prompts {}{}; {} of {} cells measured.\n\n", comparison.study.tier,
                      comparison.study.margin, comparison.study.prompt_mode,
                      comparison.study.system_prompt.empty() ? "" : ", system prompt " + comparison.study.system_prompt,
                      comparison.cells_done, comparison.cells_planned);
  if (comparison.uses_world)
    text +=
        "Items of FactWorld, a generated world: the numbers compare methods and predict nothing about any real "
        "assistant.\n\n";
  text += "## Verdict\n\n";
  for (const Answer& answer : answers(comparison))
    text += fmt::format("- **{}** {}{}\n", answer.question, answer.headline,
                        answer.detail.empty() ? "" : " " + answer.detail);
  text += "\n## Change to the dense model, in points\n\n| configuration | on disk | perplexity |";
  std::string rule = "|---|---:|---:|";
  for (const Column& column : comparison.columns) {
    text += " " + cell_text(column.title) + " |";
    rule += "---:|";
  }
  text += "\n" + rule + "\n";
  for (const ComparisonRow& row : comparison.rows) {
    text += fmt::format("| {} | {} | {} |", cell_text(row.label()), row.bytes > 0 ? bytes_text(row.bytes) : "–",
                        row.perplexity > 0 ? fmt::format("{:.4g}", row.perplexity) : "–");
    for (const ComparisonCell& cell : row.cells) {
      if (cell.done == 0)
        text += " – |";
      else if (row.is_baseline && !row.is_rival)
        text += fmt::format(" {} |", points(cell.score));
      else if (!cell.is_interpretable)
        text += " n/i |";
      else if (!cell.has_change)
        text += " – |";
      else
        text += fmt::format(
            " {} [{}, {}]{}{} |", signed_points(cell.change.value), signed_points(cell.change.interval.low),
            signed_points(cell.change.interval.high),
            cell.verdict == Verdict::kLoses || cell.verdict == Verdict::kGains ? " *" : "",
            cell.noise_floor > 0 ? fmt::format(" {}×", in_noise_units(cell.change.value, cell.noise_floor)) : "");
    }
    text += "\n";
  }
  if (comparison.noise_copies > 0)
    text += fmt::format(
        "\nN× behind a change: in units of what noise of the size of rounding to bfloat16 does to the score ({} copies "
        "of "
        "the dense model).\n",
        comparison.noise_copies);
  text +=
      "\nThe first row holds scores. Brackets: 95 % paired bootstrap intervals; *: loss or gain shown after Holm's "
      "correction; n/i: the dense model is at chance.\n";
  text += caches_markdown(comparison);
  for (const StoredTask& task : comparison.tasks)
    for (const std::string& note : task.notes)
      if (note.starts_with("partial ")) text += fmt::format("\n{}: {}\n", task.name, note);
  if (const std::vector<Finding> findings = published_picture(comparison); !findings.empty()) {
    text += "\n## Published findings\n\n| finding | here | evidence |\n|---|---|---|\n";
    for (const Finding& finding : findings)
      text += fmt::format("| {} ({}) | {} | {} |\n", cell_text(finding.claim), cell_text(finding.source),
                          outcome_text(finding.outcome), cell_text(finding.evidence));
  }
  text += published_markdown(compare_with_published(comparison));
  text += "\n## Origin\n\n";
  for (const StoredModel& model : comparison.models)
    text += fmt::format("- model {}: {}, sha256 {}\n", model.name, model.path, model.sha256);
  for (const StoredRecipe& recipe : comparison.recipes)
    text += fmt::format("- recipe {}: sha256 {}\n", recipe.name, recipe.sha256);
  for (const StoredTask& task : comparison.tasks)
    text += fmt::format("- task {}: sha256 {}, items {}\n", task.name, task.sha256, task.data_sha256);
  for (const StoredRun& run : comparison.runs)
    text += fmt::format("- run {}: Ockham {}, {}\n", run.started, run.version, run.machine);
  return text;
}

std::string csv_report(const Comparison& comparison) {
  std::string text =
      "model,recipe,draws,bytes,sparsity,bits,perplexity,dimension,score,score_low,score_high,change,change_low,change_"
      "high,p_adjusted,verdict,"
      "interpretable,refusal,refusal_change,items,smallest_effect,noise_floor,scenarios_done,scenarios_planned\n";
  for (const ComparisonRow& row : comparison.rows)
    for (size_t c = 0; c < comparison.columns.size(); ++c) {
      const ComparisonCell& cell = row.cells[c];
      if (cell.done == 0) continue;
      std::vector<std::string> fields = {csv_field(row.model),
                                         csv_field(row.recipe),
                                         std::to_string(row.seeds.size()),
                                         number(std::round(row.bytes)),
                                         number(row.sparsity),
                                         number(row.bits),
                                         row.perplexity > 0 ? number(row.perplexity) : "",
                                         csv_field(comparison.columns[c].id),
                                         number(cell.score),
                                         number(cell.interval.low),
                                         number(cell.interval.high)};
      if (cell.has_change) {
        for (double value : {cell.change.value, cell.change.interval.low, cell.change.interval.high, cell.p_adjusted})
          fields.push_back(number(value));
        fields.push_back(cell.is_interpretable ? verdict_text(cell.verdict) : "not interpretable");
      } else {
        fields.insert(fields.end(), 5, "");
      }
      fields.push_back(cell.is_interpretable ? "yes" : "no");
      fields.push_back(cell.refusal < 0 ? "" : number(cell.refusal));
      fields.push_back(cell.refusal < 0 || !cell.has_change ? "" : number(cell.refusal_change));
      fields.push_back(cell.has_change ? std::to_string(cell.change.n) : "");
      fields.push_back(cell.has_change ? number(cell.change.smallest_effect) : "");
      fields.push_back(cell.noise_floor > 0 ? number(cell.noise_floor) : "");
      fields.push_back(std::to_string(cell.done));
      fields.push_back(std::to_string(cell.planned));
      text += joined(fields, ",") + "\n";
    }
  return text;
}

Json json_report(const Comparison& comparison) {
  Json json = {{"version", 1},
               {"study", to_json(comparison.study)},
               {"margin", comparison.study.margin},
               {"resamples", comparison.resamples},
               {"comparisons", comparison.comparisons},
               {"cells_done", comparison.cells_done},
               {"cells_planned", comparison.cells_planned},
               {"generated_world", comparison.uses_world}};
  json["answers"] = Json::array();
  for (const Answer& answer : answers(comparison))
    json["answers"].push_back({{"question", answer.question}, {"answer", answer.headline}, {"detail", answer.detail}});
  json["rows"] = Json::array();
  for (const ComparisonRow& row : comparison.rows) {
    Json entry = {{"model", row.model},
                  {"recipe", row.recipe},
                  {"baseline", row.is_baseline && !row.is_rival},
                  {"rival", row.is_rival},
                  {"compared_with", row.compared_with},
                  {"family", family_name(row.family)},
                  {"seeds", row.seeds},
                  {"bytes", row.bytes},
                  {"sparsity", row.sparsity},
                  {"bits", row.bits},
                  {"perplexity", row.perplexity > 0 ? finite(row.perplexity) : Json(nullptr)},
                  {"seconds", row.seconds},
                  {"peak_bytes", row.peak_bytes},
                  {"packed_sha256", row.packed_sha256},
                  {"warnings", row.warnings}};
    if (row.cache_bytes)
      entry["kv_cache"] = {{"policy", row.cache_policy},
                           {"bytes_per_token", *row.cache_bytes},
                           {"tokens_kept", row.cache_kept ? finite(*row.cache_kept) : Json(nullptr)},
                           {"attention_kept", row.cache_mass ? finite(*row.cache_mass) : Json(nullptr)}};
    entry["trust_mean"] = row.trust_mean ? finite(*row.trust_mean) : Json(nullptr);
    entry["knowledge_mean"] = row.knowledge_mean ? finite(*row.knowledge_mean) : Json(nullptr);
    entry["dimensions"] = Json::array();
    for (size_t c = 0; c < comparison.columns.size(); ++c)
      entry["dimensions"].push_back(cell_json(comparison.columns[c], row.cells[c]));
    json["rows"].push_back(std::move(entry));
  }
  json["pareto"] = Json::object();
  for (const auto& [name, quality] : {std::pair{"trust", Quality::kTrust},
                                      {"worst", Quality::kWorst},
                                      {"knowledge", Quality::kKnowledge},
                                      {"perplexity", Quality::kPerplexity}}) {
    json["pareto"][name] = Json::array();
    for (size_t i : pareto_front(comparison, quality)) json["pareto"][name].push_back(comparison.rows[i].label());
  }
  json["findings"] = Json::array();
  for (const Finding& finding : published_picture(comparison))
    json["findings"].push_back({{"claim", finding.claim},
                                {"source", finding.source},
                                {"outcome", outcome_text(finding.outcome)},
                                {"evidence", finding.evidence}});
  if (const PublishedComparison published = compare_with_published(comparison); !published.figures.empty())
    json["published"] = published_json(published);
  json["models"] = Json::array();
  for (const StoredModel& model : comparison.models)
    json["models"].push_back({{"name", model.name},
                              {"path", model.path},
                              {"sha256", model.sha256},
                              {"bytes", model.bytes},
                              {"parameters", model.parameters}});
  json["recipes"] = Json::array();
  for (const StoredRecipe& recipe : comparison.recipes)
    json["recipes"].push_back({{"name", recipe.name}, {"text", recipe.text}, {"sha256", recipe.sha256}});
  json["tasks"] = Json::array();
  for (const StoredTask& task : comparison.tasks)
    json["tasks"].push_back(
        {{"name", task.name}, {"sha256", task.sha256}, {"data_sha256", task.data_sha256}, {"notes", task.notes}});
  json["runs"] = Json::array();
  for (const StoredRun& run : comparison.runs)
    json["runs"].push_back({{"version", run.version}, {"machine", run.machine}, {"started", run.started}});
  return json;
}

}  // namespace ockham
