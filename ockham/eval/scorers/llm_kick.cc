// factoid: closed-book and open-book questions as LLM-KICK scores them. reply: summaries and answers to instructions
// without a judge: ROUGE against a reference and measures of repetition.
#include "ockham/eval/scorers/llm_kick.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

using Words = std::vector<std::string>;

Words words_of(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::vector<double> two_numbers(std::string line) {
  std::replace(line.begin(), line.end(), ',', ' ');
  std::vector<double> numbers;
  for (const std::string& word : words_of(line)) {
    double number = 0;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (code != std::errc() || stop != word.data() + word.size()) return {-1, -1};
    numbers.push_back(number);
  }
  return numbers.size() == 2 ? numbers : std::vector<double>{-1, -1};
}

std::map<Words, int64_t> n_grams(const Words& words, size_t n) {
  std::map<Words, int64_t> counts;
  for (size_t i = 0; i + n <= words.size(); ++i)
    ++counts[Words(words.begin() + static_cast<int64_t>(i), words.begin() + static_cast<int64_t>(i + n))];
  return counts;
}

double f1(double common, double in_reference, double in_reply) {
  return common > 0 ? 2 * common / (in_reference + in_reply) : 0;
}

std::string without_blanks(const std::string& text) {
  std::string result = to_lower(text);
  std::erase_if(result, [](char c) { return c == ' '; });
  return result;
}

}  // namespace

std::vector<double> parse_judge_scores(const std::string& reply) {
  return two_numbers(reply.substr(0, reply.find('\n')));
}

std::vector<std::vector<double>> parse_summary_scores(const std::string& reply) {
  std::istringstream stream(reply);
  std::vector<std::vector<double>> scores(4, {-1, -1});
  std::string line;
  for (size_t i = 0; i < 4 && std::getline(stream, line); ++i) scores[i] = two_numbers(line);
  return scores;
}

Words rouge_words(const std::string& text) {
  std::string spaced = to_lower(text);
  for (char& c : spaced)
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) c = ' ';
  return words_of(spaced);
}

double rouge_n(const Words& reference, const Words& reply, size_t n) {
  const std::map<Words, int64_t> wanted = n_grams(reference, n), got = n_grams(reply, n);
  double common = 0, in_reference = 0, in_reply = 0;
  for (const auto& [gram, count] : wanted) {
    in_reference += static_cast<double>(count);
    if (const auto it = got.find(gram); it != got.end()) common += static_cast<double>(std::min(count, it->second));
  }
  for (const auto& [gram, count] : got) in_reply += static_cast<double>(count);
  return f1(common, in_reference, in_reply);
}

double rouge_l(const Words& reference, const Words& reply) {
  std::vector<int64_t> row(reply.size() + 1, 0);
  for (const std::string& word : reference) {
    int64_t diagonal = 0;
    for (size_t j = 0; j < reply.size(); ++j) {
      const int64_t above = row[j + 1];
      row[j + 1] = word == reply[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return f1(static_cast<double>(row.back()), static_cast<double>(reference.size()), static_cast<double>(reply.size()));
}

double distinct_n(const Words& words, size_t n) {
  if (words.size() < n) return 1;
  return static_cast<double>(n_grams(words, n).size()) / static_cast<double>(words.size() - n + 1);
}

int64_t repeated_suffix(const Words& words) {
  // For every earlier end, how far back the words agree with the end of the text.
  int64_t longest = 0;
  for (size_t end = 1; end < words.size(); ++end) {
    int64_t length = 0;
    while (static_cast<size_t>(length) < end &&
           words[end - 1 - static_cast<size_t>(length)] == words[words.size() - 1 - static_cast<size_t>(length)])
      ++length;
    longest = std::max(longest, length);
  }
  return longest;
}

bool contained_either_way(const std::string& answer, const std::string& reply) {
  const std::string wanted = normalize_answer(answer), got = normalize_answer(reply);
  if (wanted.empty() || got.empty()) return false;
  return got.find(wanted) != std::string::npos || wanted.find(got) != std::string::npos;
}

double token_f1(const std::string& answer, const std::string& reply) {
  return rouge_n(words_of(normalize_answer(answer)), words_of(normalize_answer(reply)), 1);
}

namespace {

class Factoid final : public Scorer {
 public:
  explicit Factoid(const ScorerContext& context)
      : rule_(context.params.text("match")), is_faithful_(context.params.flag("faithful")) {}

  void judge(const Json& item, const std::vector<std::string>& texts, ItemResult& result) const override {
    const std::vector<std::string> answers = item_texts(item, "answers");
    if (answers.empty()) throw_input("{}: key 'answers' is missing, expected the right answers", item_name(item));
    OCKHAM_CHECK(!texts.empty());
    std::string reply = texts[0];
    double best_f1 = 0;
    bool hit = false;
    if (rule_ == "letters") {
      // The authors' code looks for the answer in prompt and reply together, and counts an empty alias.
      if (is_faithful_) reply = item_label(item, "context") + reply;
      const std::string text = without_blanks(reply);
      for (const std::string& answer : answers) {
        const std::string wanted = without_blanks(answer);
        hit = hit || ((is_faithful_ || !wanted.empty()) && text.find(wanted) != std::string::npos);
      }
    } else {
      for (const std::string& answer : answers) hit = hit || contained_either_way(answer, reply);
    }
    for (const std::string& answer : answers) best_f1 = std::max(best_f1, token_f1(answer, texts[0]));
    result.score = hit ? 1 : 0;
    result.extra["f1"] = best_f1;
    result.extra["label"] = answers[0];
  }
  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    value.other[0] = result.extra.value("f1", 0.0);
    return value;
  }
  Combine combine(const std::string& aggregate) const override {
    if (aggregate == "accuracy") return Scorer::combine("mean");
    if (aggregate != "f1") return Scorer::combine(aggregate);
    return [](const ItemTable& table, std::span<const int32_t> picked) {
      return plain_mean(table, picked, [](const ItemValue& item) { return item.other[0]; });
    };
  }
  std::vector<std::string> aggregates() const override { return {"score", "accuracy", "f1", "empty", "part:NAME"}; }

 private:
  std::string rule_;
  bool is_faithful_;
};

class Reply final : public Scorer {
 public:
  explicit Reply(const ScorerContext& context) : has_reference_(context.params.flag("reference")) {}

  void judge(const Json& item, const std::vector<std::string>& texts, ItemResult& result) const override {
    OCKHAM_CHECK(!texts.empty());
    const Words words = words_of(texts[0]);
    Json measures = {{"distinct_1", distinct_n(words, 1)},
                     {"distinct_2", distinct_n(words, 2)},
                     {"distinct_3", distinct_n(words, 3)},
                     {"rep_4", 1 - distinct_n(words, 4)},
                     {"words", words.size()},
                     {"repeated_suffix", repeated_suffix(words)}};
    result.score = measures["distinct_2"];
    if (has_reference_) {
      const std::vector<std::string> references = item_texts(item, "answers");
      if (references.empty()) throw_input("{}: key 'answers' is missing, expected a reference", item_name(item));
      std::string joined;
      for (const std::string& line : references) joined += line + "\n";
      const Words wanted = rouge_words(joined), got = rouge_words(texts[0]);
      measures["rouge_1"] = rouge_n(wanted, got, 1);
      measures["rouge_2"] = rouge_n(wanted, got, 2);
      measures["rouge_l"] = rouge_l(wanted, got);
      measures["length_ratio"] =
          static_cast<double>(got.size()) / static_cast<double>(std::max<size_t>(1, wanted.size()));
      result.score = measures["rouge_l"];
    } else if (words.empty()) {
      result.score = 0;  // an empty reply repeats nothing, but is no answer
    }
    result.extra["judge"] = "no judge";
    result.extra["measures"] = std::move(measures);
  }
  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    const auto measures = result.extra.find("measures");
    if (measures == result.extra.end()) return value;
    const std::vector<const char*>& names = columns();
    for (size_t i = 0; i < names.size(); ++i) value.other[i] = measures->value(names[i], 0.0);
    return value;
  }
  Combine combine(const std::string& aggregate) const override {
    static constexpr ItemNumber kNumbers[4] = {
        [](const ItemValue& item) { return item.other[0]; }, [](const ItemValue& item) { return item.other[1]; },
        [](const ItemValue& item) { return item.other[2]; }, [](const ItemValue& item) { return item.other[3]; }};
    const std::vector<const char*>& names = columns();
    for (size_t i = 0; i < names.size(); ++i) {
      if (aggregate != names[i]) continue;
      return [number = kNumbers[i]](const ItemTable& table, std::span<const int32_t> picked) {
        return plain_mean(table, picked, number);
      };
    }
    return Scorer::combine(aggregate);
  }
  std::vector<std::string> aggregates() const override {
    std::vector<std::string> names = {"score", "mean", "empty", "part:NAME"};
    names.insert(names.end(), columns().begin(), columns().end());
    return names;
  }
  std::string unit(const std::string& aggregate) const override {
    return aggregate == "words" || aggregate == "repeated_suffix" ? "words" : Scorer::unit(aggregate);
  }

 private:
  const std::vector<const char*>& columns() const {
    static const std::vector<const char*> summary = {"rouge_1", "rouge_2", "rep_4", "length_ratio"},
                                          plain = {"distinct_1", "distinct_3", "rep_4", "repeated_suffix"};
    return has_reference_ ? summary : plain;
  }
  bool has_reference_;
};

}  // namespace

ScorerEntry factoid_entry() {
  return {"factoid",
          "questions of LLM-KICK: an answer stands in the reply",
          {text_spec("match", "letters without blanks, or either text inside the other", "letters",
                     {"letters", "either_way"}),
           flag_spec("faithful", "look in the prompt too and count empty aliases, as the authors' code", false)},
          [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<Factoid>(context); }};
}

ScorerEntry reply_entry() {
  return {"reply",
          "free replies without a judge: ROUGE against a reference, repetition",
          {flag_spec("reference", "score by ROUGE-L against the item's answers; else by distinct-2", false)},
          [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<Reply>(context); }};
}

}  // namespace ockham
