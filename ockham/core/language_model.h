// The only sight that evaluation has of a model. Both engines and a remote server implement it; requests are texts, so
// that a model behind an API can answer them too, and every implementation tokenizes in one documented way.
//
// Tokenizing (as lm-evaluation-harness): a context is encoded with the tokenizer's own special tokens (BOS) unless it
// came from render(), which writes them itself; blanks at the end of a context move to the front of the continuation;
// the tokens of a continuation are those of context + continuation behind the tokens of the context. What does not fit
// the model's context length is cut on the left and counted in `truncated_tokens`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ockham {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Whether a plain text starts with the beginning-of-sequence token: as the tokenizer's own files say, always, or never.
enum class BosRule { kTokenizer, kAlways, kNever };

// A text to continue: plain, or rendered from a chat (then special tokens in it are parsed, and no BOS is added).
struct Prompt {
  std::string text;
  bool is_rendered = false;
  BosRule bos = BosRule::kTokenizer;       // of a plain text
  std::vector<ChatMessage> messages = {};  // the chat, where a server renders it; `text` then only shows it
};

struct ScoreRequest {
  Prompt context;
  std::vector<std::string> continuations;  // each at least one token long
};
struct ContinuationScore {
  double logprob = 0;  // sum over tokens of log p, nats
  int64_t tokens = 0;
  bool is_greedy = false;  // every token is the argmax (lowest id wins a tie)
};
struct ScoreAnswer {
  std::vector<ContinuationScore> scores;  // one per continuation, in order
  int64_t truncated_tokens = 0;
  std::string missing = {};  // why a server gave no answer; "" where there is one
};

struct GenerateRequest {
  Prompt prompt;
  int64_t max_tokens = 16;
  double temperature = 0;  // 0: argmax
  double top_p = 1;
  int64_t samples = 1;            // continuations of this one prompt
  uint64_t seed = 0;              // of this request; sample s uses mix_seed(seed, s), whatever the batch
  std::vector<std::string> stop;  // the text is cut before the first of them; end-of-sequence tokens always stop
};
struct GenerateAnswer {
  std::vector<std::string> texts;  // one per sample, special tokens removed
  std::vector<bool> hit_limit;     // stopped by max_tokens
  int64_t truncated_tokens = 0;
  std::string missing = {};  // as in ScoreAnswer
};

struct SequenceScore {
  std::vector<float> logprobs;  // of tokens 1..n-1 given those before; nats
  std::string missing = {};     // as in ScoreAnswer
};

struct ModelInfo {
  std::string name;
  std::string path;
  std::string sha256;      // of weights and config
  std::string arithmetic;  // what decides the last bits of its answers: "float32 on cpu"
  int64_t parameters = 0;
  int64_t bytes = 0;           // on disk, weights only
  int64_t context_length = 0;  // tokens; 0: a server that does not say
  int64_t vocabulary = 0;
  // A server answers each request alone, whatever its company, so only unanswered items are asked again; and it may
  // leave some unanswered.
  bool is_remote = false;
  int64_t batch_items = 0;  // items asked at once, and lost by a kill; 0: as the size says
};

// What a model's compressed KV cache held (core/kv_policy.h).
struct CacheUse {
  double bytes_per_token = 0;  // held behind a prompt or text, by tokens read
  double kept = 1;             // tokens held by tokens read, mean over blocks and heads
  // Share of the attention on the tokens of a prompt that falls on those kept of it; where the policy reckons it.
  std::optional<double> attention_mass = {};
};

// The model's next-token distributions along one sequence, read in chunks: what is held is one hidden state per
// position and the chunk asked for.
class Distributions {
 public:
  virtual ~Distributions() = default;
  // Positions 0..n-2: what the model expects behind each token but the last.
  virtual int64_t positions() const = 0;
  // log p of the whole vocabulary at positions [first, first + count), nats, row by row into `logprobs`
  // [count, vocabulary].
  virtual void read(int64_t first, int64_t count, float* logprobs) const = 0;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual const ModelInfo& info() const = 0;
  // The model's own chat template; models without one write "role: content" lines and say so in the log.
  virtual Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const = 0;
  // Answers in the order of the requests. Shared prefixes are computed once. Interruptible between batches.
  virtual std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) = 0;
  virtual std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) = 0;
  // Token ids as given, nothing added; for perplexity. Error(kUnsupported) where an engine cannot.
  virtual std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) = 0;
  // Whole distributions, for divergences between models. Error(kUnsupported) where an engine cannot.
  virtual std::unique_ptr<Distributions> distributions(const std::vector<int32_t>& sequence);
  // Of the requests since the last call; none where the cache is not compressed, or nothing was read.
  virtual std::optional<CacheUse> take_cache_use() { return std::nullopt; }
  // The beginning-of-sequence token, if the tokenizer has one.
  virtual std::optional<int32_t> bos_id() const { return std::nullopt; }
  // Ids of a plain text, with the tokenizer's special tokens or without.
  virtual std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const = 0;
};

}  // namespace ockham
