// LanguageModel on libtorch: the decoder that also serves calibration and training, with its tokenizer.
//
// Same requests, same seeds: the same answers in any order and any company, up to the rounding of matrix products,
// whose blocking depends on the shape of a batch. Greedy ties go to the lowest id. A context that is too long for the
// model together with what follows it is cut on the left, in score() for each continuation by what that one needs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/core/language_model.h"
#include "ockham/model/decoder.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

class TorchLanguageModel final : public LanguageModel {
 public:
  struct Options {
    std::string device = "cpu";  // or "cuda"
    std::optional<DType> dtype;  // default: arithmetic_dtype() of the checkpoint's
    // Seed of noise of rounding size: every weight of the linears, the embedding and the head times 1 + u, u uniform
    // within one unit in the last place of bfloat16 (2^-8). What a score does under it is that score's noise floor.
    std::optional<uint64_t> noise_seed = {};
  };
  // A model directory or Hub id; packed weights are unpacked once.
  explicit TorchLanguageModel(const std::string& model) : TorchLanguageModel(model, Options()) {}
  TorchLanguageModel(const std::string& model, const Options& options);
  // A decoder in memory, which is neither changed nor copied where its weights are dense.
  TorchLanguageModel(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer, ModelInfo info);
  ~TorchLanguageModel() override;

  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override;
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override;
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override;
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override;
  std::unique_ptr<Distributions> distributions(const std::vector<int32_t>& sequence) override;
  // At most `count` whole words near this one (a single token) by cosine of the embeddings, nearest first; none for a
  // word of several tokens.
  std::vector<std::string> neighbors(const std::string& word, int64_t count) const;
  std::optional<int32_t> bos_id() const override { return tokenizer_->bos_id(); }
  std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const override;

  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  struct GeneratedRow;
  struct ScoredRow;
  std::vector<int32_t> encode(const Prompt& prompt) const;
  void check_ids(const std::vector<int32_t>& sequence, size_t index) const;
  std::vector<ScoredRow> scored_rows(const ScoreRequest& request, size_t index, ScoreAnswer& answer) const;
  void score_group(const std::vector<ScoredRow>& rows, std::span<const size_t> group,
                   std::vector<ScoreAnswer>& answers) const;
  void generate_group(std::span<const GenerateRequest> requests, std::span<const size_t> group,
                      const std::vector<std::vector<int32_t>>& prompts, std::vector<GenerateAnswer>& answers) const;
  void score_batch(std::span<const std::vector<int32_t>> sequences, std::span<SequenceScore> result,
                   int64_t width) const;
  std::string text_of(const std::vector<int32_t>& prompt, const std::vector<int32_t>& generated) const;

  std::unique_ptr<Decoder> decoder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ModelInfo info_;
  std::vector<int32_t> eos_ids_;
};

}  // namespace ockham
