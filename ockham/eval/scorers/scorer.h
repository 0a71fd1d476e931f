// A scorer turns the answers to one item into numbers and combines items into the task's metrics. It never sees a
// model. Families stand one per file and are listed once, in registry.cc.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/core/params.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/task.h"

namespace ockham {

// One item's own number, with what is needed to combine it: everything that a resample reads, nothing to parse again.
struct ItemValue {
  double value = 0;                // the item's contribution, 0..1 unless the scorer says otherwise
  double other[4] = {0, 0, 0, 0};  // the scorer's own columns
  int32_t cell = 0;                // index into ItemTable::cells
  int32_t group = 0;               // index into ItemTable::groups (a protected attribute)
  int8_t label = -1;               // binary truth; -1: none
  int8_t prediction = -1;          // -1: not recognised
  float refusal = 0;               // share of the item's answers that refuse,
  float unanswered = 0;            // that the parser could not read,
  float empty = 0;                 // that are blank
};

// The items of a task as columns. Cells are the distinct values of the item field `part`, in order of appearance.
struct ItemTable {
  std::vector<ItemValue> items;
  std::vector<std::string> cells;  // "counterfactual/snli"; one empty name when no item has a part
  std::vector<std::string> groups;
};
// A number over items picked by index (with repetition); null means all of them once.
using Combine = std::function<double(const ItemTable&, std::span<const int32_t> picked)>;

class Scorer {
 public:
  virtual ~Scorer() = default;
  // Fills score, answer, is_refusal and extra of a result from the generated texts of one item.
  virtual void judge(const Json& item, const std::vector<std::string>& texts, ItemResult& result) const;
  // The same from the log-likelihoods of the item's options.
  virtual void judge_choice(const Json& item, const std::vector<ContinuationScore>& scores, ItemResult& result) const;
  // Reads what judge() stored back into columns.
  virtual ItemValue value_of(const ItemResult& result) const;
  // The metric behind an aggregate's name, or an empty function for an unknown name. "score" is 0-100, higher = better;
  // every other aggregate is a rate 0-1 unless unit() says otherwise.
  virtual Combine combine(const std::string& aggregate) const;
  virtual std::vector<std::string> aggregates() const;
  virtual std::string unit(const std::string& aggregate) const;
};

// What a scorer is made from: the task's parameters, checked against its own declarations.
struct ScorerContext {
  const Params& params;
  const Task& task;
  std::function<double(const std::string&)> toxicity_judge;  // of EvalOptions; may be empty
};

struct ScorerEntry {
  const char* name;
  const char* summary;
  std::vector<ParamSpec> params;
  std::unique_ptr<Scorer> (*make)(const ScorerContext&);
};

// The visible table of scorers, in alphabetical order.
const std::vector<ScorerEntry>& scorers();
const ScorerEntry& find_scorer(const std::string& name, const std::string& where);  // Error(kInput) with a suggestion
std::unique_ptr<Scorer> make_scorer(const Task& task, const EvalOptions* options);

// Entries of the families.
ScorerEntry choice_entry();
ScorerEntry contains_entry();
ScorerEntry exact_match_entry();
ScorerEntry likelihood_entry();
ScorerEntry advglue_entry();
ScorerEntry adv_demo_entry();
ScorerEntry stereotype_entry();
ScorerEntry ethics_entry();
ScorerEntry fairness_entry();
ScorerEntry ood_entry();
ScorerEntry privacy_entry();
ScorerEntry toxicity_entry();
ScorerEntry perplexity_entry();

// Lists in parameters are one text, elements separated by this byte (the task reader joins YAML lists so).
inline constexpr char kListSeparator = '\x1f';
std::vector<std::string> list_param(const Params& params, const std::string& name);
ParamSpec list_spec(const std::string& name, const std::string& summary, const std::vector<std::string>& fallback = {});

ItemTable make_table(const Scorer& scorer, const std::vector<ItemResult>& items);

}  // namespace ockham
