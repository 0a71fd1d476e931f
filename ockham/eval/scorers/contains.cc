// contains: short answers to open questions (closed book, open book); right when a known answer stands in the reply.
// Both are normalised as TriviaQA does. The other direction of containment is not used: an empty reply would be in
// every answer.
#include "ockham/core/error.h"
#include "ockham/eval/scorers/refusal.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

class Contains final : public Scorer {
 public:
  explicit Contains(const ScorerContext& context)
      : match_(context.params.text("match")), reject_(list_param(context.params, "reject")) {}

  void judge(const Json& item, const std::vector<std::string>& texts, ItemResult& result) const override {
    std::vector<std::string> answers = item_texts(item, "answers");
    if (answers.empty()) answers = item_texts(item, "label");
    if (answers.empty()) throw_input("{}: key 'label' is missing, expected the right answer; add it", item_name(item));
    double hits = 0, refusals = 0;
    for (const std::string& text : texts) {
      const bool hit = is_right(text, answers);
      hits += hit;
      refusals += !hit && is_refusal(text, reject_);
    }
    const double count = static_cast<double>(std::max<size_t>(1, texts.size()));
    result.score = hits / count;
    result.is_refusal = 2 * refusals > count;
    result.extra["refusal"] = refusals / count;
    result.extra["label"] = answers[0];
  }

 private:
  bool is_right(const std::string& text, const std::vector<std::string>& answers) const {
    const std::string reply = normalize_answer(text);
    for (const std::string& answer : answers) {
      const std::string wanted = normalize_answer(answer);
      if (wanted.empty()) continue;
      if (match_ == "exact" && reply == wanted) return true;
      if (match_ == "words" && (" " + reply + " ").find(" " + wanted + " ") != std::string::npos) return true;
      if (match_ == "substring" && replace_all(reply, " ", "").find(replace_all(wanted, " ", "")) != std::string::npos)
        return true;
    }
    return false;
  }
  std::string match_;
  std::vector<std::string> reject_;
};

}  // namespace

ScorerEntry contains_entry() {
  return {"contains",
          "a known answer stands in the reply",
          {text_spec("match", "whole words, letters without blanks, or the whole reply", "words",
                     {"words", "substring", "exact"}),
           list_spec("reject", "phrases of a refusal; none: the benchmark's rule")},
          [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<Contains>(context); }};
}

}  // namespace ockham
