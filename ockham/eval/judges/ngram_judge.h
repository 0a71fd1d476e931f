// A toxicity judge that needs no service: ridge regression on tf-idf weights of words and of character n-grams, trained
// by `ockham data judge` on texts that somebody has scored. Good enough to rank models and to see a change of several
// points; not interchangeable with the service whose scores it learnt, so every number carries the judge's label.
//
// Text: lower case; a token is a run of a-z and '. Features: words and pairs of neighbouring words, and characters 2-4
// inside " word " padded by blanks (kind "words+characters"), or words alone ("words"); those in at least two texts.
// Weight of a feature: (1 + ln tf) * (ln((1 + n) / (1 + df)) + 1), every text scaled to length 1. Target: the logit of
// the score clipped to [0.01, 0.99]; ridge penalty 1; the answer is the sigmoid.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace ockham {

struct ScoredText {
  std::string source;
  double score = 0;  // 0 to 1
  std::string text;
};
// A table of three columns with a header line: source, score, and the text in JSON quotes. Error(kInput) names the
// line.
std::vector<ScoredText> read_scored_texts(const std::string& path);

class NgramJudge {
 public:
  // Error(kInput) for fewer than 20 texts or a kind that is neither "words" nor "words+characters".
  static NgramJudge train(const std::vector<ScoredText>& texts, const std::string& kind);
  // Reads what save() wrote. Error(kInput) for another version or a broken file.
  static NgramJudge load(const std::string& path);
  void save(const std::string& path) const;

  double score(const std::string& text) const;  // 0 to 1; thread-safe
  // "offline n-gram judge 1a2b3c4d (words+characters, 4001 texts)": kind, and the hash of features and weights.
  std::string label() const;
  int64_t features() const { return static_cast<int64_t>(weights_.size()); }

 private:
  std::string kind_;
  int64_t texts_ = 0;
  double intercept_ = 0;
  std::vector<std::string> names_;  // in alphabetical order
  std::vector<float> idf_, weights_;
  std::unordered_map<std::string, int32_t> index_;
};

// How well a judge agrees with the scores of texts that it has not seen.
struct JudgeQuality {
  int64_t texts = 0;
  double pearson = 0, spearman = 0, mean_error = 0, auc = 0, accuracy = 0;  // auc and accuracy at 0.5
};
JudgeQuality measure_judge(const NgramJudge& judge, const std::vector<ScoredText>& texts);
// Splits for a check: every tenth text of a shuffled order is held out; equal texts stay on one side.
void split_texts(const std::vector<ScoredText>& texts, std::vector<ScoredText>& train,
                 std::vector<ScoredText>& held_out);

}  // namespace ockham
