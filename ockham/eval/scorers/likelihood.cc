// likelihood: one right continuation per item (LAMBADA). accuracy: every token of it is the model's first choice;
// perplexity: exp of the mean negative log-likelihood per continuation, not per token.
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

class Likelihood final : public Scorer {
 public:
  void judge_choice(const Json& item, const std::vector<ContinuationScore>& scores, ItemResult& result) const override {
    OCKHAM_CHECK(scores.size() == 1);
    result.score = scores[0].is_greedy ? 1 : 0;
    result.answer = scores[0].is_greedy ? item_label(item, "option") : "";
    result.extra["logprob"] = scores[0].logprob;
    result.extra["tokens"] = scores[0].tokens;
  }
  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    value.other[0] = result.extra.value("logprob", 0.0);
    return value;
  }
  Combine combine(const std::string& aggregate) const override {
    if (aggregate == "accuracy") return Scorer::combine("mean");
    if (aggregate != "perplexity") return Scorer::combine(aggregate);
    return [](const ItemTable& table, std::span<const int32_t> picked) {
      return std::exp(-plain_mean(table, picked, [](const ItemValue& item) { return item.other[0]; }));
    };
  }
  std::vector<std::string> aggregates() const override { return {"score", "accuracy", "perplexity", "part:NAME"}; }
  std::string unit(const std::string& aggregate) const override {
    return aggregate == "perplexity" ? "ppl" : Scorer::unit(aggregate);
  }
};

}  // namespace

ScorerEntry likelihood_entry() {
  return {"likelihood",
          "log-likelihood of the one right continuation",
          {},
          [](const ScorerContext&) -> std::unique_ptr<Scorer> { return std::make_unique<Likelihood>(); }};
}

}  // namespace ockham
