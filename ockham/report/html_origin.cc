// Where every number comes from, and what the models are.
#include <algorithm>
#include <set>

#include "ockham/report/format.h"
#include "ockham/report/html_parts.h"

namespace ockham {
namespace {

std::string entry(const std::string& key, const std::string& value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>", escape_html(key), value);
}
std::string hash(const std::string& sha256) {
  return sha256.empty() ? "–" : "<code>" + escape_html(sha256) + "</code>";
}

std::string count_text(int64_t parameters) {
  if (parameters >= 1'000'000'000) return fmt::format("{:.1f} billion", static_cast<double>(parameters) / 1e9);
  if (parameters >= 1'000'000) return fmt::format("{:.2f} million", static_cast<double>(parameters) / 1e6);
  return fmt::format("{:.0f} thousand", static_cast<double>(parameters) / 1e3);
}

}  // namespace

std::string about_models(const Comparison& comparison) {
  std::vector<std::string> sizes;
  for (const StoredModel& model : comparison.models)
    sizes.push_back(fmt::format("{} ({} parameters)", model.name, count_text(model.parameters)));
  if (!comparison.uses_world) return escape_html("Models: " + listed(sizes) + ".");
  return escape_html(fmt::format(
      "Measured here: {}, questioned about FactWorld, a generated world of made-up people, facts and habits. The "
      "scenarios share "
      "their scorers with the published trust benchmark, but neither its questions nor the causes of its answers. What "
      "compression does to these models predicts nothing about any real assistant.",
      listed(sizes)));
}

std::string provenance(const Comparison& comparison) {
  std::string html = "<details><summary>Study, software and machine</summary><dl class=\"kv\">";
  const StudyDescription& study = comparison.study;
  html += entry("Tier", escape_html(study.tier)) +
          entry("Equivalence margin", fmt::format("±{} points", study.margin)) +
          entry("Baseline", escape_html(study.baseline));
  html += entry("Cells", fmt::format("{} of {} measured", comparison.cells_done, comparison.cells_planned));
  if (comparison.superseded_cells > 0)
    html += entry("Not shown", counted(comparison.superseded_cells, "cell") + " of changed models, recipes or tasks");
  html += entry("Statistics",
                fmt::format("paired bootstrap with {} resamples per cell; {} comparisons corrected together (Holm)",
                            comparison.resamples, comparison.comparisons));
  std::set<std::string> seen;
  for (const StoredRun& run : comparison.runs)
    html += entry("Run", escape_html(fmt::format("{} · Ockham {} · {}", run.started, run.version, run.machine)));
  html +=
      "</dl><pre>" + escape_html(study.text) + "</pre></details><details><summary>Models</summary><dl class=\"kv\">";
  for (const StoredModel& model : comparison.models)
    html += entry(model.name, fmt::format("{} parameters · {} · {}<br>{}", count_text(model.parameters),
                                          bytes_text(static_cast<double>(model.bytes)), escape_html(model.path),
                                          hash(model.sha256)));
  html += "</dl></details><details><summary>Recipes and packed models</summary><dl class=\"kv\">";
  for (const ComparisonRow& row : comparison.rows) {
    const auto recipe = std::find_if(comparison.recipes.begin(), comparison.recipes.end(),
                                     [&](const StoredRecipe& r) { return r.name == row.recipe; });
    if (recipe == comparison.recipes.end()) continue;
    std::string value = "<pre>" + escape_html(recipe->text) + "</pre>recipe " + hash(recipe->sha256);
    for (size_t i = 0; i < row.packed_sha256.size(); ++i)
      value +=
          fmt::format("<br>model of draw {} {}", i < row.seeds.size() ? row.seeds[i] : i, hash(row.packed_sha256[i]));
    for (const std::string& warning : row.warnings) value += "<br>warning: " + escape_html(warning);
    html += entry(row.label(), value);
  }
  html += "</dl></details><details><summary>Tasks and items</summary><dl class=\"kv\">";
  for (const StoredTask& task : comparison.tasks) {
    if (std::find(study.tasks.begin(), study.tasks.end(), task.name) == study.tasks.end()) continue;
    html += entry(task.name, "task " + hash(task.sha256) + "<br>items " + hash(task.data_sha256) +
                                 (task.notes.empty() ? "" : "<br>" + escape_html(joined(task.notes, "; "))));
  }
  return html + "</dl></details>";
}

}  // namespace ockham
