// perplexity: exp of the mean negative log-likelihood over all predicted positions. An item is a window of tokens: its
// score is the window's mean in nats, and `tokens` its weight.
#include <cmath>

#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/scorer.h"

namespace ockham {
namespace {

class Perplexity final : public Scorer {
 public:
  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    value.other[0] = result.extra.value("tokens", 0.0);
    return value;
  }

  Combine combine(const std::string& aggregate) const override {
    const bool is_nats = aggregate == "nats";
    if (!is_nats && aggregate != "perplexity" && aggregate != "score") return {};
    return [is_nats](const ItemTable& table, std::span<const int32_t> picked) {
      double nats = 0, tokens = 0;
      const size_t n = picked.empty() ? table.items.size() : picked.size();
      for (size_t i = 0; i < n; ++i) {
        const ItemValue& item = table.items[picked.empty() ? i : static_cast<size_t>(picked[i])];
        nats += item.value * item.other[0];
        tokens += item.other[0];
      }
      const double mean = tokens > 0 ? nats / tokens : 0;
      return is_nats ? mean : std::exp(mean);
    };
  }

  std::vector<std::string> aggregates() const override { return {"perplexity", "nats"}; }
  std::string unit(const std::string& aggregate) const override { return aggregate == "nats" ? "nats" : "ppl"; }
};

}  // namespace

ScorerEntry perplexity_entry() {
  return {"perplexity",
          "exp of the mean negative log-likelihood per predicted token",
          {{"window",
            ParamSpec::Type::kInt,
            "tokens per window; 0: the model's context length",
            int64_t{0},
            0,
            1 << 20,
            {},
            false},
           {"layout",
            ParamSpec::Type::kText,
            "wikitext: rows of the raw WikiText file joined as the references do",
            std::string("plain"),
            0,
            0,
            {"plain", "wikitext"},
            false}},
          [](const ScorerContext&) -> std::unique_ptr<Scorer> { return std::make_unique<Perplexity>(); }};
}

}  // namespace ockham
