// Dimensions, their titles and order; rows with what their recipe's text says about them.
#include "ockham/report/columns.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/yaml.h"

namespace ockham {
namespace {

struct KnownDimension {
  const char* name;
  const char* title;
  const char* short_title;
};
constexpr std::array kTrustDimensions = {
    KnownDimension{"toxicity", "Toxicity", "Toxicity"},
    KnownDimension{"stereotype", "Stereotype bias", "Stereo­types"},
    KnownDimension{"adversarial_robustness", "Adversarial robustness", "Adver­sarial"},
    KnownDimension{"ood_robustness", "Out-of-distribution", "Out of distrib."},
    KnownDimension{"adversarial_demonstrations", "Adversarial demonstrations", "Adv. demos"},
    KnownDimension{"privacy", "Privacy", "Privacy"},
    KnownDimension{"machine_ethics", "Machine ethics", "Ethics"},
    KnownDimension{"fairness", "Fairness", "Fairness"},
};
// Other spellings of the same dimension in task files.
struct Alias {
  const char* other;
  const char* name;
};
constexpr std::array kAliases = {
    Alias{"stereotype_bias", "stereotype"},
    Alias{"adversarial", "adversarial_robustness"},
    Alias{"out_of_distribution", "ood_robustness"},
    Alias{"out_of_distribution_robustness", "ood_robustness"},
    Alias{"ood", "ood_robustness"},
    Alias{"adversarial_demonstration", "adversarial_demonstrations"},
    Alias{"adv_demonstration", "adversarial_demonstrations"},
    Alias{"adv_demonstrations", "adversarial_demonstrations"},
    Alias{"ethics", "machine_ethics"},
};

std::string canonical(std::string dimension) {
  std::replace(dimension.begin(), dimension.end(), '-', '_');
  std::replace(dimension.begin(), dimension.end(), ' ', '_');
  for (const Alias& alias : kAliases)
    if (dimension == alias.other) return alias.name;
  return dimension;
}

std::string spaced_title(std::string name) {
  if (const size_t slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  std::replace(name.begin(), name.end(), '_', ' ');
  std::replace(name.begin(), name.end(), '-', ' ');
  if (!name.empty()) name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return name;
}

size_t trust_rank(const std::string& dimension) {
  for (size_t i = 0; i < kTrustDimensions.size(); ++i)
    if (dimension == kTrustDimensions[i].name) return i;
  return kTrustDimensions.size();
}

// What a step says about itself; "2:4" prunes two of every four.
void read_step(const YamlNode& step, ComparisonRow& row, bool& prunes, bool& quantizes) {
  row.method = step.text_or("method", row.method);
  const YamlNode* params = step.find("params");
  if (params == nullptr || !params->is_map()) return;
  if (const YamlNode* bits = params->find("bits")) {
    row.nominal_bits = bits->integer();
    quantizes = true;
  }
  if (const YamlNode* pattern = params->find("pattern")) row.pattern = pattern->text();
  if (const YamlNode* sparsity = params->find("sparsity"); sparsity != nullptr && sparsity->is_scalar())
    row.nominal_sparsity = sparsity->real();
  int n = 0, m = 0;
  const size_t colon = row.pattern.find(':');
  if (colon != std::string::npos) {
    std::from_chars(row.pattern.data(), row.pattern.data() + colon, n);
    std::from_chars(row.pattern.data() + colon + 1, row.pattern.data() + row.pattern.size(), m);
    if (m > 0) row.nominal_sparsity = static_cast<double>(n) / m;
  }
  prunes = prunes || params->find("sparsity") != nullptr || params->find("pattern") != nullptr;
}

void classify(const StoredRecipe* recipe, const std::string& baseline, ComparisonRow& row) {
  if (row.recipe == baseline || row.recipe == "dense") {
    row.family = MethodFamily::kDense;
    return;
  }
  if (recipe == nullptr) return;
  bool prunes = false, quantizes = false;
  try {
    const YamlNode root = YamlNode::parse(recipe->text, recipe->name);
    if (const YamlNode* steps = root.find("steps"))
      for (const YamlNode& step : steps->items()) read_step(step, row, prunes, quantizes);
    if (const YamlNode* cache = root.find("kv_cache")) {
      for (const std::string& key : cache->keys())
        row.cache_policy +=
            key == "policy" ? cache->at(key).text() : fmt::format(", {} {}", key, cache->at(key).text());
    }
  } catch (const Error&) {
    // A recipe text that this version cannot read is still shown, only without a family.
    return;
  }
  row.family = prunes && quantizes                               ? MethodFamily::kMixed
               : prunes                                          ? MethodFamily::kPruning
               : quantizes                                       ? MethodFamily::kQuantization
               : row.method.empty() && !row.cache_policy.empty() ? MethodFamily::kCache
                                                                 : MethodFamily::kOther;
}

// Benign controls have a dimension of their own, named after the one that they belong to.
bool is_control(const Task& task) {
  return task.dimension == "control" || task.dimension.ends_with("_control");
}

}  // namespace

std::string dimension_title(const std::string& dimension) {
  const std::string name = canonical(dimension);
  if (name == "mmlu") return "MMLU";
  const size_t rank = trust_rank(name);
  return rank < kTrustDimensions.size() ? kTrustDimensions[rank].title : spaced_title(name);
}

std::string dimension_short_title(const std::string& dimension) {
  const std::string name = canonical(dimension);
  if (name == "mmlu") return "MMLU";
  const size_t rank = trust_rank(name);
  return rank < kTrustDimensions.size() ? kTrustDimensions[rank].short_title : spaced_title(name);
}

std::string family_name(MethodFamily family) {
  switch (family) {
    case MethodFamily::kDense:
      return "dense";
    case MethodFamily::kPruning:
      return "pruning";
    case MethodFamily::kQuantization:
      return "quantization";
    case MethodFamily::kMixed:
      return "pruning and quantization";
    case MethodFamily::kCache:
      return "KV cache";
    case MethodFamily::kOther:
      return "other";
  }
  return "other";
}

std::vector<Column> make_columns(const StudyResults& results, std::vector<std::string>& perplexity_tasks) {
  std::set<std::string> controls;
  for (const std::string& name : results.study.tasks)
    if (const auto task = results.tasks.find(name); task != results.tasks.end() && !task->second.control.empty()) {
      const auto control = results.tasks.find(task->second.control);
      // A control of another dimension (a knowledge suite, say) keeps its own column.
      if (control == results.tasks.end() || canonical(control->second.dimension) == canonical(task->second.dimension) ||
          is_control(control->second))
        controls.insert(task->second.control);
    }
  std::vector<Column> columns;
  std::vector<std::pair<double, size_t>> chances;  // per column: sum and count
  for (const std::string& name : results.study.tasks) {
    const auto found = results.tasks.find(name);
    if (found == results.tasks.end()) continue;
    const Task& task = found->second;
    if (task.kind == RequestKind::kPerplexity) {
      perplexity_tasks.push_back(name);
      continue;
    }
    if (controls.contains(name) || is_control(task)) continue;
    const std::string dimension = canonical(task.dimension);
    const bool is_trust = trust_rank(dimension) < kTrustDimensions.size();
    const bool is_knowledge = dimension == "knowledge";
    const std::string id = is_knowledge ? name : dimension;
    auto column = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.id == id; });
    if (column == columns.end()) {
      Column fresh;
      fresh.id = id;
      fresh.title = is_knowledge ? spaced_title(name) : dimension_title(dimension);
      fresh.short_title = is_trust ? kTrustDimensions[trust_rank(dimension)].short_title : fresh.title;
      fresh.group = is_trust ? ColumnGroup::kTrust : is_knowledge ? ColumnGroup::kKnowledge : ColumnGroup::kOther;
      columns.push_back(fresh);
      chances.emplace_back(0, 0);
      column = columns.end() - 1;
    }
    auto& [sum, count] = chances[static_cast<size_t>(column - columns.begin())];
    if (task.chance >= 0) {
      sum += task.chance;
      ++count;
    }
    column->tasks.push_back(name);
    if (!task.control.empty() && controls.contains(task.control) &&
        std::find(column->controls.begin(), column->controls.end(), task.control) == column->controls.end())
      column->controls.push_back(task.control);
  }
  for (size_t i = 0; i < columns.size(); ++i)
    if (chances[i].second == columns[i].tasks.size())
      columns[i].chance = chances[i].first / static_cast<double>(chances[i].second);
  std::stable_sort(columns.begin(), columns.end(), [](const Column& a, const Column& b) {
    if (a.group != b.group) return a.group < b.group;
    return a.group == ColumnGroup::kTrust && trust_rank(a.id) < trust_rank(b.id);
  });
  return columns;
}

std::vector<ComparisonRow> make_rows(const StudyResults& results) {
  std::vector<ComparisonRow> rows;
  const StudyDescription& study = results.study;
  const auto has_versions = [&](const StudyDescription::Model& model) {
    return std::any_of(model.recipes.begin(), model.recipes.end(),
                       [&](const std::string& recipe) { return recipe != study.baseline && recipe != kNoiseRecipe; });
  };
  const bool are_several = std::count_if(study.models.begin(), study.models.end(), has_versions) > 1;
  for (const StudyDescription::Model& model : study.models) {
    const bool is_first = model.name == study.models.front().name;
    const bool is_smaller = !model.smaller_of.empty() || (!is_first && !has_versions(model));
    for (const std::string& recipe : model.recipes) {
      ComparisonRow row;
      row.model = model.name;
      row.recipe = recipe;
      row.is_baseline = recipe == study.baseline;
      row.is_rival = row.is_baseline && is_smaller;
      row.compared_with = !row.is_rival              ? model.name
                          : model.smaller_of.empty() ? study.models.front().name
                                                     : model.smaller_of;
      row.shows_model = are_several;
      row.seeds = study.draws(model, recipe);
      classify(results.recipe(recipe), study.baseline, row);
      // Rows without a single result yet (a study in progress, a shard) are left out.
      const bool has_results = std::any_of(results.cells.begin(), results.cells.end(), [&](const StoredCell& cell) {
        return cell.model == row.model && cell.recipe == row.recipe;
      });
      if (has_results) rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace ockham
