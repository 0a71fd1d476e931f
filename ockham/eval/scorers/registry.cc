// The table of scorers, and what all of them share.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/bbq.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/llm_kick.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

double item_unanswered(const ItemValue& item) {
  return item.unanswered;
}
double item_empty(const ItemValue& item) {
  return item.empty;
}

// "@file.json#a.b": the list of texts under a.b in a file of the data directory.
std::string read_list(const std::string& reference, const std::string& directory, const std::string& where) {
  if (directory.empty())
    throw_input("{}: parameter '{}' names a file of the data directory; pass --data DIR", where, reference);
  const size_t hash = reference.find('#');
  // --data may name the benchmark's own folder as well as the one that holds it.
  const std::string name = reference.substr(1, hash - 1);
  const std::string inside = directory + "/" + name, own = directory + "/" + name.substr(name.find('/') + 1);
  const std::string file = std::filesystem::is_regular_file(inside) ? inside : own;
  const Json root = read_json_file(file);
  const Json* node = &root;
  const std::string path = hash == std::string::npos ? "" : reference.substr(hash + 1);
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    begin = end + 1;
    if (!node->is_object() || !node->contains(key))
      throw_input("{}: key '{}' of '{}' is missing, expected a list of texts; check --data", file, key, path);
    node = &(*node)[key];
  }
  if (!node->is_array()) throw_input("{}: '{}' is {}, expected a list of texts", file, path, node->type_name());
  std::string joined;
  for (const Json& text : *node) {
    if (!text.is_string()) throw_input("{}: '{}' holds {}, expected texts only", file, path, text.type_name());
    if (!joined.empty()) joined += kListSeparator;
    joined += text.get<std::string>();
  }
  return joined;
}

}  // namespace

const std::vector<ScorerEntry>& scorers() {
  static const std::vector<ScorerEntry> kTable = {
      adv_demo_entry(), advglue_entry(),    bbq_entry(),         choice_entry(),
      contains_entry(), ethics_entry(),     exact_match_entry(), factoid_entry(),
      fairness_entry(), likelihood_entry(), ood_entry(),         perplexity_entry(),
      privacy_entry(),  reply_entry(),      stereotype_entry(),  toxicity_entry()};
  return kTable;
}

const ScorerEntry& find_scorer(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const ScorerEntry& entry : scorers()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  const std::string near = closest_name(name, names);
  throw_input("{}: key 'scorer': found '{}', expected one of: {}{}", where, name, fmt::join(names, ", "),
              near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::unique_ptr<Scorer> make_scorer(const Task& task, const EvalOptions* options) {
  const ScorerEntry& entry = find_scorer(task.scorer, task.file);
  std::map<std::string, ParamValue> values = task.scorer_params;
  for (auto& [name, value] : values) {
    const auto* text = std::get_if<std::string>(&value);
    // Without options only stored answers are combined; that needs no phrase list.
    if (text == nullptr || !text->starts_with('@')) continue;
    value = options == nullptr ? std::string() : read_list(*text, options->data_directory, task.file);
  }
  const Params params(task.file + ": params", entry.params, values);
  ScorerContext context{params, task, {}};
  if (options != nullptr) context.toxicity_judge = options->toxicity_judge;
  return entry.make(context);
}

std::vector<std::string> list_param(const Params& params, const std::string& name) {
  std::vector<std::string> result;
  const std::string& text = params.text(name);
  for (size_t begin = 0; !text.empty() && begin <= text.size();) {
    const size_t end = std::min(text.find(kListSeparator, begin), text.size());
    result.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

ParamSpec list_spec(const std::string& name, const std::string& summary, const std::vector<std::string>& fallback) {
  return text_spec(name, summary, fmt::format("{}", fmt::join(fallback, std::string(1, kListSeparator))));
}

void Scorer::judge(const Json& item, const std::vector<std::string>&, ItemResult&) const {
  throw_input("{}: this scorer cannot read generated text; use `request: {{kind: choice}}`", item_name(item));
}

void Scorer::judge_choice(const Json& item, const std::vector<ContinuationScore>&, ItemResult&) const {
  throw_input("{}: this scorer cannot read log-likelihoods; use `request: {{kind: generate}}`", item_name(item));
}

ItemValue Scorer::value_of(const ItemResult& result) const {
  const std::string where = "stored item '" + result.id + "'";
  ItemValue value;
  value.value = result.score;
  value.refusal = static_cast<float>(json_real(result.extra, "refusal", where, result.is_refusal ? 1 : 0));
  value.unanswered = static_cast<float>(json_real(result.extra, "unanswered", where, 0));
  value.empty = static_cast<float>(json_real(result.extra, "empty", where, 0));
  return value;
}

std::vector<std::string> Scorer::aggregates() const {
  return {"score", "mean", "refusal", "no_answer", "empty", "part:NAME", "micro:NAME"};
}

std::string Scorer::unit(const std::string& aggregate) const {
  return aggregate == "score" ? "points" : "rate";
}

Combine Scorer::combine(const std::string& aggregate) const {
  if (aggregate == "score") {
    return [](const ItemTable& table, std::span<const int32_t> picked) {
      if (table.cells.size() <= 1) return 100 * plain_mean(table, picked, item_value);
      return 100 * nested_mean(table.cells, ratios(cell_sums(table, picked, item_value)));
    };
  }
  const auto mean_of = [](ItemNumber number) -> Combine {
    return
        [number](const ItemTable& table, std::span<const int32_t> picked) { return plain_mean(table, picked, number); };
  };
  if (aggregate == "mean") return mean_of(item_value);
  if (aggregate == "refusal") return mean_of(item_refusal);
  if (aggregate == "no_answer") return mean_of(item_unanswered);
  if (aggregate == "empty") return mean_of(item_empty);
  if (aggregate.starts_with("micro:")) {
    const std::string prefix = aggregate.substr(6);
    return [prefix](const ItemTable& table, std::span<const int32_t> picked) {
      const CellSums sums = cell_sums(table, picked, item_value);
      double sum = 0, count = 0;
      for (size_t i = 0; i < table.cells.size(); ++i) {
        if (!has_prefix_segment(table.cells[i], prefix)) continue;
        sum += sums.sum[i];
        count += sums.weight[i];
      }
      return count > 0 ? sum / count : 0;
    };
  }
  if (aggregate.starts_with("part:")) {
    const std::string prefix = aggregate.substr(5);
    return [prefix](const ItemTable& table, std::span<const int32_t> picked) {
      const std::vector<double> values = ratios(cell_sums(table, picked, item_value));
      double sum = 0, count = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        if (!has_prefix_segment(table.cells[i], prefix) || std::isnan(values[i])) continue;
        sum += values[i];
        count += 1;
      }
      return count > 0 ? sum / count : 0;
    };
  }
  return {};
}

ItemTable make_table(const Scorer& scorer, const std::vector<ItemResult>& items) {
  ItemTable table;
  std::map<std::string, int32_t> cells, groups;
  const auto index_of = [](std::map<std::string, int32_t>& known, std::vector<std::string>& names,
                           const std::string& name) {
    const auto [it, is_new] = known.emplace(name, static_cast<int32_t>(names.size()));
    if (is_new) names.push_back(name);
    return it->second;
  };
  table.items.reserve(items.size());
  for (const ItemResult& item : items) {
    ItemValue value = scorer.value_of(item);
    const std::string where = "stored item '" + item.id + "'";
    value.cell = index_of(cells, table.cells, json_text(item.extra, "part", where, ""));
    value.group = index_of(groups, table.groups, json_text(item.extra, "group", where, ""));
    table.items.push_back(value);
  }
  return table;
}

}  // namespace ockham
