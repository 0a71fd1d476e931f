// choice: multiple choice by log-likelihood; the option with the highest score answers, the first one wins a tie.
// accuracy compares sums, accuracy_norm sums per code point of the option, accuracy_bytes sums per byte
// (lm-evaluation-harness's acc, acc_norm and acc_bytes); true_mass is the probability of the true options among all
// (TruthfulQA's mc2).
#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

// Indices of the right options: one, or a list of them.
std::vector<int64_t> right_options(const Json& item, const std::vector<std::string>& options) {
  const auto field = item.find("label");
  if (field == item.end() || !field->is_array()) return {label_index(item, options)};
  std::vector<int64_t> right;
  for (const Json& label : *field)
    right.push_back(label_index({{"id", item_label(item, "id")}, {"label", label}}, options));
  if (right.empty()) throw_input("{}: key 'label' is an empty list, expected at least one label", item_name(item));
  return right;
}

// Probability of the true options among all, from the item's `truth` (a list of 0 and 1); the label's without one.
double mass_of_truth(const Json& item, const std::vector<ContinuationScore>& scores,
                     const std::vector<int64_t>& right) {
  std::vector<bool> is_true(scores.size(), false);
  if (const auto truth = item.find("truth"); truth != item.end()) {
    if (!truth->is_array() || truth->size() != scores.size())
      throw_input("{}: key 'truth' holds {}, expected 0 or 1 for each of {} options; correct the item", item_name(item),
                  truth->dump(), scores.size());
    for (size_t i = 0; i < scores.size(); ++i) is_true[i] = (*truth)[i] == 1 || (*truth)[i] == true;
  } else {
    for (const int64_t index : right) is_true[static_cast<size_t>(index)] = true;
  }
  double highest = scores[0].logprob, all = 0, held = 0;
  for (const ContinuationScore& score : scores) highest = std::max(highest, score.logprob);
  for (size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i].logprob - highest);
    all += weight;
    held += is_true[i] ? weight : 0;
  }
  return held / all;
}

size_t best_option(const std::vector<ContinuationScore>& scores, const std::vector<int64_t>& lengths) {
  size_t best = 0;
  const auto normed = [&](size_t i) {
    return scores[i].logprob / static_cast<double>(std::max<int64_t>(1, lengths[i]));
  };
  for (size_t i = 1; i < scores.size(); ++i)
    if (normed(i) > normed(best)) best = i;
  return best;
}

class Choice final : public Scorer {
 public:
  explicit Choice(const ScorerContext& context) : decider_(context.params.text("normalize")) {}

  void judge_choice(const Json& item, const std::vector<ContinuationScore>& scores, ItemResult& result) const override {
    const std::vector<std::string> options = item_texts(item, "option");
    OCKHAM_CHECK(options.size() == scores.size() && !options.empty());
    const std::vector<int64_t> right = right_options(item, options);
    std::vector<int64_t> ones(options.size(), 1), characters, bytes;
    double mass = 0;
    Json logprobs = Json::array();
    for (size_t i = 0; i < scores.size(); ++i) {
      characters.push_back(code_points(options[i]));
      bytes.push_back(static_cast<int64_t>(options[i].size()));
      mass += std::exp(scores[i].logprob);
      logprobs.push_back(scores[i].logprob);
    }
    const auto is_right = [&](size_t option) {
      return std::find(right.begin(), right.end(), static_cast<int64_t>(option)) != right.end();
    };
    const size_t best = best_option(scores, ones), best_norm = best_option(scores, characters),
                 best_bytes = best_option(scores, bytes);
    const double truth = mass_of_truth(item, scores, right);
    const size_t answer = decider_ == "characters" ? best_norm : decider_ == "bytes" ? best_bytes : best;
    result.score = decider_ == "truth" ? truth : is_right(answer) ? 1 : 0;
    result.answer = options[answer];
    result.extra["label"] = right[0];
    result.extra["prediction"] = best;
    result.extra["accuracy"] = is_right(best);
    result.extra["accuracy_norm"] = is_right(best_norm);
    result.extra["accuracy_bytes"] = is_right(best_bytes);
    result.extra["true_mass"] = truth;
    result.extra["mass"] = std::min(1.0, mass);
    result.extra["logprobs"] = std::move(logprobs);
  }

  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    value.other[0] = result.extra.value("accuracy", false) ? 1 : 0;
    value.other[1] = result.extra.value("accuracy_norm", false) ? 1 : 0;
    value.other[2] = result.extra.value("accuracy_bytes", false) ? 1 : 0;
    value.other[3] = result.extra.value("true_mass", 0.0);
    value.refusal = 0;
    // The mass of the options stands where other scorers keep unread answers: what the model would rather have said.
    value.unanswered = static_cast<float>(1 - result.extra.value("mass", 1.0));
    return value;
  }

  Combine combine(const std::string& aggregate) const override {
    if (aggregate == "accuracy") return mean_of([](const ItemValue& item) { return item.other[0]; });
    if (aggregate == "accuracy_norm") return mean_of([](const ItemValue& item) { return item.other[1]; });
    if (aggregate == "accuracy_bytes") return mean_of([](const ItemValue& item) { return item.other[2]; });
    if (aggregate == "true_mass") return mean_of([](const ItemValue& item) { return item.other[3]; });
    if (aggregate == "option_mass") return mean_of([](const ItemValue& item) { return 1.0 - item.unanswered; });
    return Scorer::combine(aggregate);
  }

  std::vector<std::string> aggregates() const override {
    return {"score",       "accuracy", "accuracy_norm", "accuracy_bytes", "true_mass",
            "option_mass", "mean",     "part:NAME",     "micro:NAME"};
  }

 private:
  static Combine mean_of(ItemNumber number) {
    return
        [number](const ItemTable& table, std::span<const int32_t> picked) { return plain_mean(table, picked, number); };
  }
  std::string decider_;
};

}  // namespace

ScorerEntry choice_entry() {
  return {
      "choice",
      "multiple choice by log-likelihood of the options",
      {text_spec("normalize",
                 "what decides: the sum, the sum per character or per byte, or the mass of the true options", "none",
                 {"none", "characters", "bytes", "truth"}),
       text_spec("delimiter", "before each option; default: a blank after plain prompts, nothing after a chat", "")},
      [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<Choice>(context); }};
}

}  // namespace ockham
