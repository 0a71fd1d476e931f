// The transformer itself: tokens of any number of sequences go through the model together, one behind another without
// filler, their keys and values into the cache's pages.
//
// Arithmetic is float32; products, and attention of tokens that are read, may round their inputs (ReadPrecision). A
// token's results do not depend on what else is in the pass, on how its sequence was cut into passes, or on the number
// of threads; only on whether it was read or generated. All room is taken when the engine is made: a pass allocates
// nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ockham/core/kv_policy.h"
#include "ockham/runtime/engine_model.h"
#include "ockham/runtime/paged_cache.h"
#include "ockham/runtime/thread_pool.h"

namespace ockham {

// What inputs of products and of attention lose for tokens that are read; for tokens that are generated they lose no
// more than kExact.
enum class ReadPrecision : uint8_t {
  kExact,  // nothing, beside integer weights what InputRounding::kFine loses
  // Where the processor has tiles, beside bf16 weights all but bf16's 8 bits, and in attention all but 16 bits.
  kRounded,
  kFast,  // that, and beside integer weights all but 127 steps of the largest of each group
};

struct EngineOptions {
  int threads = 0;                 // 0: thread_count()
  DType cache_type = DType::kF32;  // or kBF16, kI8: see KvShape
  // For keys and values, at most; more where a single sequence of the longest context needs it.
  int64_t cache_bytes = int64_t{1} << 30;
  int64_t longest_context = 0;  // tokens of one sequence; 0: the model's context, within 8 GiB
  int64_t pass_tokens = 512;    // at most, per pass
  ReadPrecision precision = ReadPrecision::kRounded;
  // What scoring and requests without a policy of their own keep of a sequence, and how all keys and values are stored.
  KvPolicy kv;
};

// Tokens that follow what the cache holds of a sequence.
struct TokenSpan {
  int32_t sequence = 0;
  std::span<const int32_t> tokens;
  // Tokens that the sequence will have in all, where rotations depend on that (RopeConfig::depends_on_length); 0: those
  // it has with these.
  int64_t total = 0;
  // The token was chosen by the model just now. Such spans stand before all others in a pass.
  bool is_generated = false;
  // Of a sequence under a policy that evicts: what happens behind these tokens. Generated ones are steps in any case.
  // Such a sequence has one span in a pass at most.
  KvCut cut = KvCut::kNone;
};

class Engine {
 public:
  Engine(EngineModel model, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const ModelConfig& config() const;
  const EngineModel& model() const;
  PagedCache& cache();
  ThreadPool& threads();
  int64_t pass_tokens() const;
  int64_t width() const;       // H, of a hidden state
  const KvPolicy& kv() const;  // EngineOptions::kv
  // A new sequence of the cache that reads `prompt` tokens and goes on to `longest` in all, for which nothing grows any
  // more. Error(kUsage) for a policy that the model cannot have: rolling positions need rotations that are the same in
  // every block and at every length.
  int32_t open(const KvPolicy& policy, int64_t prompt, int64_t longest);
  void check(const KvPolicy& policy) const;
  // Whether a text of `longest` tokens, `prompt` of them read, keeps to the positions that the model knows: rolling
  // ones count what is kept, others the text.
  bool fits(const KvPolicy& policy, int64_t prompt, int64_t longest) const;

  // At most pass_tokens() in all. Error(kInput) for ids beyond the vocabulary and positions that the model has not
  // learned, Error(kResource) where the cache is full; then the cache is as it was.
  void forward(std::span<const TokenSpan> spans);
  // The last block's output [H] for the pass's token `row`, until the next pass.
  const float* hidden(int64_t row) const;
  // Rows of logits that fit one call of logits().
  int64_t logit_rows() const;
  // [count, vocabulary] for hidden states [H] each, until the next call; `is_generating`: a token is chosen by them,
  // otherwise the text is given.
  float* logits(std::span<const float* const> hidden, bool is_generating);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ockham
