// Text classifiers of the BERT family, for judging texts: embeddings, a post-norm encoder, a head over the first token.
// Families: bert ("BERT: Pre-training of Deep Bidirectional Transformers", Devlin et al. 2019), roberta (Liu et al.
// 2019), distilbert (Sanh et al. 2019). Computed in float32; logits agree with transformers to 1e-4
// (tests/model/encoders). Not done here: texts and tokens (pipeline/encoder_judge.h), training, decoders and other
// heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

struct EncoderConfig {
  std::string family;  // "bert", "roberta", "distilbert"
  int64_t hidden = 0, layers = 0, heads = 0, intermediate = 0, vocabulary = 0, positions = 0, token_types = 0;
  int64_t position_offset = 0;  // of the first token's position embedding (roberta: padding id + 1)
  double norm_eps = 1e-12;
  std::string activation = "gelu";  // "gelu" (exact), "gelu_new" (tanh) or "relu"
  std::vector<std::string> labels;  // id2label, in order
  bool is_multi_label = false;      // each label for itself: sigmoid instead of softmax

  // Tokens that fit.
  int64_t context_length() const { return positions - position_offset; }
  // config.json; Error(kInput) names the key, Error(kUnsupported) another family, activation or kind of positions.
  static EncoderConfig parse(const Json& config, const std::string& where);
};

class EncoderClassifier {
 public:
  // A Hugging Face directory with config.json and model.safetensors. Error(kInput): missing file, missing tensor, wrong
  // shape, values that are not finite.
  explicit EncoderClassifier(const std::string& directory);
  const EncoderConfig& config() const { return config_; }
  const std::string& sha256() const { return sha256_; }  // of the weights file
  // ids int64 [B, T], T <= context_length(); padding bool [B, T], true behind the end of a row, or undefined -> [B,
  // labels]. Error(kInput) for ids outside the vocabulary and for too many tokens.
  Tensor logits(const Tensor& ids, const Tensor& padding = {}) const;
  // The same as probabilities, by softmax or, where labels are for themselves, sigmoid.
  Tensor probabilities(const Tensor& ids, const Tensor& padding = {}) const;

 private:
  struct Dense {
    Tensor weight, bias;
    Tensor operator()(const Tensor& input) const;
  };
  struct Norm {
    Tensor weight, bias;
  };
  struct Layer {
    Dense query, key, value, output, up, down;
    Norm attention_norm, output_norm;
  };
  Tensor norm(const Tensor& input, const Norm& norm) const;
  Tensor layer(const Tensor& hidden, const Layer& layer, const Tensor& mask) const;

  EncoderConfig config_;
  std::string directory_, sha256_;
  Tensor words_, positions_, types_;
  Norm embedding_norm_;
  std::vector<Layer> layers_;
  Dense pooler_, classifier_;  // the layer before the head, and the head
};

}  // namespace ockham
