// Any Hugging Face text classifier of the BERT family as a toxicity judge: the probability of one of its labels.
#pragma once

#include <string>

#include "ockham/model/encoder.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

class EncoderJudge {
 public:
  // `label`: a name of id2label or its number; "": the one label whose name says toxic. Error(kInput) for a broken
  // directory, Error(kUsage) lists the labels where none or several could be meant.
  EncoderJudge(const std::string& directory, const std::string& label);
  double score(const std::string& text) const;  // 0 to 1; a text too long for the model is cut at its end
  // "classifier toxic-bert 1a2b3c4d (label toxic)": the folder's name, the hash of its weights.
  std::string label() const;

 private:
  EncoderClassifier classifier_;
  Tokenizer tokenizer_;
  std::string name_;
  size_t label_ = 0;
};

// Which of a classifier's labels is meant, as above; `where` stands in the error.
size_t choose_label(const std::vector<std::string>& labels, const std::string& wanted, const std::string& where);

}  // namespace ockham
