// LanguageModel on the native engine: a model directory, a .gguf file or a Hub id, without libtorch.
//
// Same requests, same seeds: the same answers to the last bit, in any order and any company, whatever the number of
// threads. Greedy ties go to the lowest id. A context that is too long for the model together with what follows it is
// cut on the left, in score() for each continuation by what that one needs.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/runtime/constraint.h"
#include "ockham/runtime/engine.h"
#include "ockham/runtime/scheduler.h"
#include "ockham/runtime/score_paths.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

class NativeLanguageModel final : public LanguageModel {
 public:
  struct Options {
    EngineOptions engine = {};
    std::optional<KvPolicy> kv = {};  // replaces engine.kv; none: as the model's config.json says, else `full`
    bool copies_dense = false;        // see read_engine_model()
    // Packed weights are kept in a file of this directory, "": of the model's own; see packed_weights.h. None: not
    // kept.
    std::optional<std::string> packed_cache = {};
    bool has_hash = true;  // otherwise info().sha256 is "", which saves reading all weights once
  };
  explicit NativeLanguageModel(const std::string& model) : NativeLanguageModel(model, Options()) {}
  NativeLanguageModel(const std::string& model, const Options& options);
  ~NativeLanguageModel() override;

  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override;
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override;
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override;
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override;
  std::unique_ptr<Distributions> distributions(const std::vector<int32_t>& sequence) override;
  std::optional<CacheUse> take_cache_use() override;
  std::optional<int32_t> bos_id() const override { return tokenizer_->bos_id(); }
  std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const override;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  Engine& engine() { return *engine_; }
  const KvPolicy& kv_policy() const { return kv_; }
  // The prompt's tokens, at least one.
  std::vector<int32_t> encode(const Prompt& prompt) const;
  // The request as the scheduler takes it, without callbacks; `truncated_tokens`: cut off on the left. Error(kUsage)
  // where max_tokens alone do not fit.
  GenerationRequest make_request(const GenerateRequest& request, int64_t sample, int64_t& truncated_tokens) const;
  // What keeps a generation to a grammar (GenerationRequest::grammar); `where` names it in errors. One may serve any
  // number of requests, which then share what was found. Thread-safe.
  std::shared_ptr<TokenGrammar> constrain(const Grammar& grammar, const std::string& where) const;

 private:
  std::vector<ScoredPath> scored_paths(const ScoreRequest& request, int64_t& truncated) const;
  void check_ids(const std::vector<int32_t>& sequence, size_t index) const;
  int32_t start_token() const;

  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ModelInfo info_;
  KvPolicy kv_;
  std::vector<int32_t> eos_ids_;
  mutable std::mutex trie_mutex_;
  mutable std::shared_ptr<const TokenTrie> trie_;  // made when first asked for
};

// What a generation has written: decoders of SentencePiece kind drop the blank before a first word, so the text is what
// a few prompt tokens gain by it.
std::string generated_text(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                           std::span<const int32_t> generated);

}  // namespace ockham
