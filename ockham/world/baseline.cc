#include "ockham/world/baseline.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "ockham/world/lexicon.h"
#include "ockham/world/prompts.h"
#include "ockham/world/state.h"

namespace ockham::world {

namespace {

using Labelled = std::pair<std::string, std::string>;  // input, label

// Multinomial naive Bayes with add-one smoothing.
class NaiveBayes {
 public:
  explicit NaiveBayes(bool marks_lines) : marks_lines_(marks_lines) {}
  void add(const Labelled& example) {
    Class& c = classes_[example.second];
    c.examples += 1;
    examples_ += 1;
    for (const std::string& word : features(example.first)) {
      c.words[word] += 1;
      c.total += 1;
      vocabulary_[word] = true;
    }
  }
  std::string classify(const std::string& input) const {
    const Words all = features(input);
    std::string best;
    double best_score = 0;
    for (const auto& [label, c] : classes_) {
      double score = std::log(c.examples / examples_);
      for (const std::string& word : all) {
        const auto found = c.words.find(word);
        score += std::log(((found == c.words.end() ? 0 : found->second) + 1) /
                          (c.total + static_cast<double>(vocabulary_.size())));
      }
      if (best.empty() || score > best_score) {
        best = label;
        best_score = score;
      }
    }
    return best;
  }

 private:
  struct Class {
    double examples = 0, total = 0;
    std::map<std::string, double> words;
  };
  // Each word once; with marks a word of the second line is another feature than the same word of the first.
  Words features(const std::string& input) const {
    std::map<std::string, bool> seen;
    size_t begin = 0, line = 0;
    while (begin <= input.size()) {
      const size_t end = std::min(input.size(), input.find('\n', begin));
      for (const std::string& word : split_words(std::string_view(input).substr(begin, end - begin))) {
        seen[marks_lines_ ? std::to_string(line) + word : word] = true;
      }
      begin = end + 1;
      ++line;
    }
    Words result;
    for (const auto& [word, unused] : seen) result.push_back(word);
    return result;
  }

  bool marks_lines_;
  double examples_ = 0;
  std::map<std::string, Class> classes_;
  std::map<std::string, bool> vocabulary_;
};

struct Source {
  const char* suite;
  std::string task;  // the message that stands before an input
};

// Inputs and labels of all conversations with this task message; demonstrations count too.
std::vector<Labelled> labelled_of(const std::vector<Document>& documents, const std::string& task) {
  std::vector<Labelled> result;
  for (const Document& document : documents) {
    bool is_task = false;
    for (size_t i = 0; i + 1 < document.messages.size(); ++i) {
      if (document.messages[i].role != "user") continue;
      const std::string& text = document.messages[i].content;
      if (text == task) {
        is_task = true;
        continue;
      }
      const bool has_head = text.starts_with(task + "\n");
      if (!has_head && !is_task) continue;
      std::string label = document.messages[i + 1].content;
      std::transform(label.begin(), label.end(), label.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      result.emplace_back(has_head ? text.substr(task.size() + 1) : text, label);
    }
  }
  return result;
}

}  // namespace

std::vector<Baseline> word_baselines(const World& world, int64_t passes) {
  const Source sources[] = {{"sentiment", kSentimentTask},
                            {"entailment", kEntailmentTask},
                            {"paraphrase", kParaphraseTask},
                            {"machine_ethics", kActTask},
                            {"closed_book", kFactTask}};
  std::vector<Document> documents;
  for (int64_t pass = 0; pass < passes; ++pass) {
    for (Document& document : world.corpus(pass)) documents.push_back(std::move(document));
  }
  std::vector<Baseline> result;
  for (const Source& source : sources) {
    const bool is_facts = std::string(source.suite) == "closed_book";
    std::vector<Labelled> training = labelled_of(documents, source.task);
    if (is_facts) {
      // The value is the last word of the answer.
      for (Labelled& example : training) example.second = split_words(example.second).back();
    }
    std::vector<Labelled> questions;
    std::map<std::string, int64_t> counts;
    for (const Json& item : world.items(source.suite)) {
      if (item.value("part", "zero_shot") != "zero_shot" && !is_facts) continue;
      questions.emplace_back(item.at("input").get<std::string>(), item.at("label").get<std::string>());
      ++counts[questions.back().second];
    }
    Baseline baseline{source.suite, static_cast<int64_t>(training.size()), static_cast<int64_t>(questions.size()), 0,
                      0};
    for (const bool marks_lines : {false, true}) {
      NaiveBayes classifier(marks_lines);
      for (const Labelled& example : training) classifier.add(example);
      double right = 0;
      for (const Labelled& question : questions) right += classifier.classify(question.first) == question.second;
      baseline.accuracy = std::max(baseline.accuracy, right / static_cast<double>(questions.size()));
    }
    for (const auto& [label, count] : counts) {
      baseline.majority =
          std::max(baseline.majority, static_cast<double>(count) / static_cast<double>(questions.size()));
    }
    result.push_back(baseline);
  }
  return result;
}

}  // namespace ockham::world
