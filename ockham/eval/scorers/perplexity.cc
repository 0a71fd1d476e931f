// perplexity: exp of the mean negative log-likelihood over all scored positions, or per word or byte of the original
// text. An item is a window of tokens or a document: its score is the mean in nats per token, and `tokens`, `words`,
// `bytes` its weights.
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
    value.other[1] = result.extra.value("words", 0.0);
    value.other[2] = result.extra.value("bytes", 0.0);
    return value;
  }

  Combine combine(const std::string& aggregate) const override {
    const bool is_bits = aggregate == "bits_per_byte";
    const bool is_exponential = aggregate != "nats" && !is_bits;
    size_t column = 0;
    if (aggregate == "word_perplexity")
      column = 1;
    else if (aggregate == "byte_perplexity" || is_bits)
      column = 2;
    else if (aggregate != "nats" && aggregate != "perplexity" && aggregate != "score")
      return {};
    return [=](const ItemTable& table, std::span<const int32_t> picked) {
      double nats = 0, units = 0;
      const size_t n = picked.empty() ? table.items.size() : picked.size();
      for (size_t i = 0; i < n; ++i) {
        const ItemValue& item = table.items[picked.empty() ? i : static_cast<size_t>(picked[i])];
        nats += item.value * item.other[0];
        units += item.other[column];
      }
      const double mean = units > 0 ? nats / units : 0;
      return is_exponential ? std::exp(mean) : is_bits ? mean / std::log(2.0) : mean;
    };
  }

  std::vector<std::string> aggregates() const override {
    return {"perplexity", "nats", "word_perplexity", "byte_perplexity", "bits_per_byte"};
  }
  std::string unit(const std::string& aggregate) const override {
    return aggregate == "nats" ? "nats" : aggregate == "bits_per_byte" ? "bits" : "ppl";
  }
};

}  // namespace

ScorerEntry perplexity_entry() {
  return {"perplexity",
          "exp of the mean negative log-likelihood per predicted token",
          {text_spec("protocol", "how the text is cut and scored", "plain",
                     {"plain", "gptq", "llama.cpp", "lm-eval", "strided"}),
           int_spec("stride", "tokens between windows of strided; 0: half a window", 0, 0, 1 << 20),
           int_spec("window", "tokens per window; 0: the protocol's own, at most the model's context", 0, 0, 1 << 20),
           text_spec("layout", "wikitext: rows of the raw WikiText file joined as the references do", "plain",
                     {"plain", "wikitext"})},
          [](const ScorerContext&) -> std::unique_ptr<Scorer> { return std::make_unique<Perplexity>(); }};
}

}  // namespace ockham
