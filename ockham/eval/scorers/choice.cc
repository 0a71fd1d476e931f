// choice: multiple choice by log-likelihood; the option with the highest score answers, the first one wins a tie.
// accuracy compares sums, accuracy_norm sums per code point of the option (lm-evaluation-harness's acc and acc_norm).
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

class Choice final : public Scorer {
 public:
  explicit Choice(const ScorerContext& context) : is_normalized_(context.params.text("normalize") == "characters") {}

  void judge_choice(const Json& item, const std::vector<ContinuationScore>& scores, ItemResult& result) const override {
    const std::vector<std::string> options = item_texts(item, "option");
    OCKHAM_CHECK(options.size() == scores.size() && !options.empty());
    const int64_t label = label_index(item, options);
    size_t best = 0, best_norm = 0;
    double mass = 0;
    Json logprobs = Json::array();
    const auto normed = [&](size_t i) {
      return scores[i].logprob / static_cast<double>(std::max<int64_t>(1, code_points(options[i])));
    };
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i].logprob > scores[best].logprob) best = i;
      if (normed(i) > normed(best_norm)) best_norm = i;
      mass += std::exp(scores[i].logprob);
      logprobs.push_back(scores[i].logprob);
    }
    const bool hit = static_cast<int64_t>(best) == label, hit_norm = static_cast<int64_t>(best_norm) == label;
    result.score = (is_normalized_ ? hit_norm : hit) ? 1 : 0;
    result.answer = options[is_normalized_ ? best_norm : best];
    result.extra["label"] = label;
    result.extra["prediction"] = best;
    result.extra["accuracy"] = hit;
    result.extra["accuracy_norm"] = hit_norm;
    result.extra["mass"] = std::min(1.0, mass);
    result.extra["logprobs"] = std::move(logprobs);
  }

  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    value.other[0] = result.extra.value("accuracy", false) ? 1 : 0;
    value.other[1] = result.extra.value("accuracy_norm", false) ? 1 : 0;
    value.refusal = 0;
    // The mass of the options stands where other scorers keep unread answers: what the model would rather have said.
    value.unanswered = static_cast<float>(1 - result.extra.value("mass", 1.0));
    return value;
  }

  Combine combine(const std::string& aggregate) const override {
    if (aggregate == "accuracy" || aggregate == "accuracy_norm") {
      const bool norm = aggregate == "accuracy_norm";
      return [norm](const ItemTable& table, std::span<const int32_t> picked) {
        return norm ? plain_mean(table, picked, [](const ItemValue& item) { return item.other[1]; })
                    : plain_mean(table, picked, [](const ItemValue& item) { return item.other[0]; });
      };
    }
    if (aggregate == "option_mass") {
      return [](const ItemTable& table, std::span<const int32_t> picked) {
        return plain_mean(table, picked, [](const ItemValue& item) { return 1.0 - item.unanswered; });
      };
    }
    return Scorer::combine(aggregate);
  }

  std::vector<std::string> aggregates() const override {
    return {"score", "accuracy", "accuracy_norm", "option_mass", "mean", "part:NAME"};
  }

 private:
  bool is_normalized_;
};

}  // namespace

ScorerEntry choice_entry() {
  return {"choice",
          "multiple choice by log-likelihood of the options",
          {{"normalize",
            ParamSpec::Type::kText,
            "what decides: the sum, or the sum per character",
            std::string("none"),
            0,
            0,
            {"none", "characters"},
            false},
           {"delimiter",
            ParamSpec::Type::kText,
            "before each option; default: a blank after plain prompts, nothing after a chat",
            std::string(),
            0,
            0,
            {},
            false}},
          [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<Choice>(context); }};
}

}  // namespace ockham
