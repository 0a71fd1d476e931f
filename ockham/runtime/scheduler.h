// Continuous batching: requests come and go while others run. Every step is one pass of the engine with a token of each
// sequence that is being generated and as many prompt tokens of new ones as fit beside them.
//
// What a request yields depends on itself alone. Prompts share with what is in the cache, running or finished lately,
// the longest prefix that they have in common with it. Steps of requests that are all being generated allocate nothing.
//
// A request under a policy that drops tokens reads its prompt up to the next eviction in a pass, behind which it claims
// what its budget asks for. It shares a prefix only with a prompt of the same policy that has just so many tokens, or
// has dropped none and counts no attention; finished ones leave nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "ockham/runtime/constraint.h"
#include "ockham/runtime/engine.h"
#include "ockham/runtime/sampler.h"

namespace ockham {

enum class FinishReason {
  kEndToken,  // one of the stop ids came, or the text is one that a constraint lets nothing follow
  kStopped,   // on_token() said so
  kLimit,     // max_tokens are there; a constrained text may be cut in the middle
};

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token; with max_tokens at most the model's context length
  int64_t max_tokens = 16;
  SamplerSettings sampler;
  uint64_t seed = 0;
  std::vector<int32_t> stop_ids;
  bool wants_logprobs = false;
  // The text is one of this grammar's. NativeLanguageModel::constrain() makes it.
  std::shared_ptr<TokenGrammar> grammar;
  // What its sequence keeps; the engine's policy where none is given. How keys and values are stored is the engine's.
  std::optional<KvPolicy> kv;
  size_t likely_tokens = 0;       // of SampledToken::likely
  bool reports_stop_ids = false;  // on_token() gets the stop id too that ends the text
  // Each token but a stop id, as soon as it is chosen; false: that is enough.
  std::function<bool(const SampledToken& token)> on_token;
  // Called once at the end, with the prompt tokens that were not computed anew.
  std::function<void(FinishReason reason, int64_t shared_tokens)> on_finish;
};

class Scheduler {
 public:
  // `engine` must outlive it; nobody else may fill its cache meanwhile but sequences that are closed again.
  // `shares_answers` false: prompts share prefixes with other prompts only, not with what was generated behind them,
  // whose keys and values may have been rounded in another way (ReadPrecision).
  explicit Scheduler(Engine& engine, bool shares_answers = true);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Error(kUsage) for a request that does not fit the context (Engine::fits()) or a policy that the model cannot have,
  // Error(kResource) for one that no cache this large holds.
  // The number by which the request can be cancelled.
  uint64_t add(GenerationRequest request);
  // Forgets a request and gives its pages back, without on_finish(); false: there is none of that number any more. Not
  // for callbacks, which return false instead.
  bool cancel(uint64_t number);
  // One pass. False: there is nothing left to do. Callbacks come from here; when one of them, or the engine, throws,
  // all requests are dropped.
  bool step();
  void run() {
    while (step()) continue;
  }
  int64_t running() const { return static_cast<int64_t>(active_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  // Tokens that prompt and answer may have together.
  int64_t capacity() const;
  // Gives back what finished requests have left in the cache.
  void forget_finished();
  // Forgets all requests and what finished ones have left in the cache.
  void clear();

 private:
  struct Waiting {
    uint64_t number;
    GenerationRequest request;
  };
  struct Active {
    uint64_t number = 0;
    GenerationRequest request;
    int32_t sequence = -1;
    std::vector<int32_t> tokens;  // prompt and what came behind it
    int64_t computed = 0, shared = 0;
    Rng rng;
    std::optional<TokenConstraint> constraint;
    std::vector<LikelyToken> likely;
    int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
    bool is_generating() const { return computed >= static_cast<int64_t>(request.prompt.size()); }
    int64_t longest() const { return static_cast<int64_t>(request.prompt.size()) + request.max_tokens; }
  };
  // A finished sequence whose tokens wait in the cache for a prompt that begins alike.
  struct Retained {
    int32_t sequence;
    std::vector<int32_t> tokens;
  };
  struct Prefix {
    int32_t sequence = -1;
    int64_t tokens = 0;
    bool is_waiting = false;  // more of it is being computed just now
    std::list<Retained>::iterator retained;
    bool is_whole = false;  // all that the retained sequence has
  };
  void admit();
  enum class Start { kStarted, kWaitsForPrefix, kWaitsForMemory };
  Start start(Waiting& waiting);
  Prefix find_prefix(const GenerationRequest& request);
  Prefix find_evicted_prefix(const GenerationRequest& request);
  const KvPolicy& policy_of(const GenerationRequest& request) const { return request.kv ? *request.kv : engine_.kv(); }
  int64_t claimed_pages() const;
  void plan_pass();
  void sample();
  SampledToken sample(Active& active, Sampler& sampler, const float* logits);
  bool accept(Active& active, const SampledToken& token);
  void retire(Active& active, FinishReason reason);

  Engine& engine_;
  bool shares_answers_;
  uint64_t next_number_ = 1;
  std::deque<Waiting> waiting_;
  std::vector<std::unique_ptr<Active>> active_;
  std::list<Retained> retained_;   // the one used last at the front
  std::vector<Sampler> samplers_;  // one for each thread
  // Of the pass, with room for all that may run.
  std::vector<TokenSpan> spans_;
  std::vector<Active*> ready_;        // whose next token is to be chosen
  std::vector<const float*> hidden_;  // their hidden states
  std::vector<SampledToken> sampled_;
};

}  // namespace ockham
