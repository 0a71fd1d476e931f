#include "ockham/runtime/scheduler.h"

#include <algorithm>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/runtime/vectors.h"

namespace ockham {
namespace {

constexpr size_t kMostActive = 256, kMostRetained = 32;
constexpr int64_t kShortestPrefix = 16;  // tokens worth sharing
// Where so many sequences fill the passes, waiting a pass for a few tokens more costs nothing.
constexpr size_t kBusy = 32;
constexpr int64_t kShortestOfBusy = 2;

int64_t common_tokens(const std::vector<int32_t>& a, const std::vector<int32_t>& b, int64_t most) {
  const auto count = static_cast<std::ptrdiff_t>(
      std::min<int64_t>({most, static_cast<int64_t>(a.size()), static_cast<int64_t>(b.size())}));
  return std::mismatch(a.begin(), a.begin() + count, b.begin()).first - a.begin();
}

}  // namespace

Scheduler::Scheduler(Engine& engine, bool shares_answers) : engine_(engine), shares_answers_(shares_answers) {
  for (int i = 0; i < engine.threads().threads(); ++i) samplers_.emplace_back(engine.config().vocabulary);
  active_.reserve(kMostActive);
  spans_.reserve(kMostActive);
  ready_.reserve(kMostActive);
  hidden_.reserve(kMostActive);
  sampled_.resize(kMostActive);
}

Scheduler::~Scheduler() {
  clear();
}

void Scheduler::clear() {
  for (const auto& active : active_) engine_.cache().close(active->sequence);
  active_.clear();
  waiting_.clear();
  forget_finished();
}

void Scheduler::forget_finished() {
  for (const Retained& retained : retained_) engine_.cache().close(retained.sequence);
  retained_.clear();
}

int64_t Scheduler::capacity() const {
  return std::min(engine_.config().context_length, engine_.cache().capacity());
}

uint64_t Scheduler::add(GenerationRequest request) {
  OCKHAM_CHECK(!request.prompt.empty() && request.max_tokens > 0);
  const int64_t longest = static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
  const KvPolicy& policy = policy_of(request);
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  engine_.check(policy);
  if (!engine_.fits(policy, prompt, longest))
    throw_error(ErrorKind::kUsage,
                "{} prompt tokens and {} new ones do not fit the model's context of {}; ask for fewer",
                request.prompt.size(), request.max_tokens, engine_.config().context_length);
  if (PagedCache::claimed_pages(engine_.cache().shape(), policy, prompt, longest) > engine_.cache().pages())
    throw_error(ErrorKind::kResource, "{} tokens do not fit the KV cache of {}; allow it more memory", longest,
                engine_.cache().capacity());
  waiting_.push_back({next_number_, std::move(request)});
  return next_number_++;
}

bool Scheduler::cancel(uint64_t number) {
  if (std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.number == number; }) > 0) return true;
  const auto active =
      std::find_if(active_.begin(), active_.end(), [&](const auto& one) { return one->number == number; });
  if (active == active_.end()) return false;
  engine_.cache().close((*active)->sequence);
  active_.erase(active);
  return true;
}

// Pages that running requests may still take.
int64_t Scheduler::claimed_pages() const {
  int64_t pages = 0;
  for (const auto& active : active_)
    pages += engine_.cache().claimed_pages(active->sequence, static_cast<int64_t>(active->request.prompt.size()),
                                           active->longest());
  return pages;
}

Scheduler::Prefix Scheduler::find_prefix(const GenerationRequest& request) {
  Prefix best;
  const RopeConfig& rope = engine_.config().rope;
  const PagedCache& cache = engine_.cache();
  const auto length = static_cast<int64_t>(request.prompt.size());
  // Rotations of a long text are other ones.
  if (engine_.config().has_rope && rope.depends_on_length() &&
      length + request.max_tokens > rope.original_max_position_embeddings)
    return best;
  if (policy_of(request).evicts()) return find_evicted_prefix(request);
  // The last token is computed in any case: its logits are wanted.
  for (auto retained = retained_.begin(); retained != retained_.end(); ++retained) {
    const int64_t common = cache.shareable(common_tokens(retained->tokens, request.prompt, length - 1));
    if (common < kShortestPrefix || common <= best.tokens) continue;
    best = {retained->sequence, common, false, retained, common == static_cast<int64_t>(retained->tokens.size())};
  }
  int64_t coming = 0;
  for (const auto& active : active_) {
    if (engine_.cache().evicts(active->sequence)) continue;
    int64_t common = common_tokens(active->tokens, request.prompt, length - 1);
    if (!shares_answers_) common = std::min(common, static_cast<int64_t>(active->request.prompt.size()));
    const int64_t computed = cache.shareable(std::min(common, active->computed));
    coming = std::max(coming, cache.shareable(common));
    if (computed < kShortestPrefix || computed <= best.tokens) continue;
    best = {active->sequence, computed, false, {}, false};
  }
  best.is_waiting = coming >= best.tokens + (active_.size() < kBusy ? kShortestPrefix : kShortestOfBusy);
  return best;
}

// Only what is in the very state that this request would be in: prompts that are being read.
Scheduler::Prefix Scheduler::find_evicted_prefix(const GenerationRequest& request) {
  Prefix best;
  PagedCache& cache = engine_.cache();
  const std::string policy = policy_of(request).text();
  const auto length = static_cast<int64_t>(request.prompt.size());
  for (const auto& active : active_) {
    if (active->is_generating() || !cache.evicts(active->sequence)) continue;
    if (cache.choice(active->sequence).policy().text() != policy) continue;
    const int64_t common = std::min(common_tokens(active->tokens, request.prompt, length - 1), active->computed);
    if (common < kShortestPrefix || common <= best.tokens || !cache.can_fork(active->sequence, common)) continue;
    best = {active->sequence, common, false, {}, false};
  }
  return best;
}

Scheduler::Start Scheduler::start(Waiting& waiting) {
  GenerationRequest& request = waiting.request;
  PagedCache& cache = engine_.cache();
  const int64_t longest = static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const KvPolicy& policy = policy_of(request);
  const int64_t alone = PagedCache::claimed_pages(cache.shape(), policy, prompt, longest);
  Prefix prefix = find_prefix(request);
  if (prefix.is_waiting) return Start::kWaitsForPrefix;
  const auto missing = [&] {
    const int64_t own = policy.evicts() ? alone : cache.needed_pages(longest, prefix.tokens);
    return own + claimed_pages() - cache.free_pages();
  };
  // What finished requests have left gives way, the prefix itself last.
  while (missing() > 0 && !retained_.empty()) {
    if (retained_.back().sequence == prefix.sequence) {
      if (retained_.size() > 1) {
        retained_.splice(retained_.begin(), retained_, std::prev(retained_.end()));
        continue;
      }
      prefix = {};
    }
    cache.close(retained_.back().sequence);
    retained_.pop_back();
  }
  if (missing() > 0) return Start::kWaitsForMemory;
  auto active = std::make_unique<Active>(
      Active{.request = {}, .tokens = {}, .rng = Rng(request.seed), .constraint = {}, .likely = {}});
  if (request.grammar != nullptr) active->constraint.emplace(request.grammar);
  active->number = waiting.number;
  active->sequence =
      prefix.sequence < 0 ? engine_.open(policy, prompt, longest) : cache.fork(prefix.sequence, prefix.tokens);
  if (policy.evicts())
    cache.choice(active->sequence).reserve(most_kv_slots(policy, prompt, longest, 0, cache.shape().blocks));
  active->computed = active->shared = prefix.tokens;
  active->request = std::move(request);
  active->tokens.reserve(static_cast<size_t>(longest));
  active->tokens = active->request.prompt;
  active->tokens.reserve(static_cast<size_t>(longest));
  if (prefix.is_whole) {
    cache.close(prefix.retained->sequence);
    retained_.erase(prefix.retained);
  }
  active_.push_back(std::move(active));
  return Start::kStarted;
}

// In the order of their coming; only those that wait for a prefix let others pass.
void Scheduler::admit() {
  for (auto request = waiting_.begin(); request != waiting_.end() && active_.size() < kMostActive;) {
    const Start result = start(*request);
    if (result == Start::kWaitsForMemory) return;
    request = result == Start::kStarted ? waiting_.erase(request) : request + 1;
  }
}

// Tokens of those that are being generated first, then prompts in the order of their coming.
void Scheduler::plan_pass() {
  int64_t room = engine_.pass_tokens(), row = 0;
  spans_.clear();
  ready_.clear();
  hidden_.clear();
  const auto take = [&](Active& active) {
    int64_t count = std::min(active.pending(), room);
    if (count == 0) return;
    KvCut cut = KvCut::kNone;
    if (!active.is_generating() && engine_.cache().evicts(active.sequence)) {
      const int64_t next =
          next_kv_cut(policy_of(active.request), active.computed, static_cast<int64_t>(active.request.prompt.size()));
      count = std::min(count, next - active.computed);
      if (active.computed + count == next) cut = KvCut::kPrompt;
    }
    const auto begin = static_cast<size_t>(active.computed);
    spans_.push_back({active.sequence, std::span(active.tokens).subspan(begin, static_cast<size_t>(count)),
                      static_cast<int64_t>(active.tokens.size()), active.is_generating(), cut});
    room -= count;
    row += count;
    active.computed += count;
    if (active.pending() > 0) return;
    ready_.push_back(&active);
    hidden_.push_back(engine_.hidden(row - 1));
  };
  for (const auto& active : active_)
    if (active->is_generating()) take(*active);
  for (const auto& active : active_)
    if (!active->is_generating()) take(*active);
}

void Scheduler::sample() {
  const auto most = static_cast<size_t>(engine_.logit_rows());
  const int64_t vocabulary = engine_.config().vocabulary;
  for (size_t first = 0; first < ready_.size(); first += most) {
    const size_t count = std::min(most, ready_.size() - first);
    const float* logits = engine_.logits(std::span(hidden_).subspan(first, count), true);
    engine_.threads().run(static_cast<int64_t>(count), [&](int64_t number, int worker) {
      const size_t place = first + static_cast<size_t>(number);
      Active& active = *ready_[place];
      const float* row = logits + number * vocabulary;
      sampled_[place] = sample(active, samplers_[static_cast<size_t>(worker)], row);
      if (active.request.likely_tokens == 0) return;
      find_likely(row, vocabulary, vector_kernels().log_sum_exp(row, vocabulary), active.request.likely_tokens,
                  active.likely);
      sampled_[place].likely = active.likely;
    });
  }
}

SampledToken Scheduler::sample(Active& active, Sampler& sampler, const float* logits) {
  AllowedTokens allowed;
  if (active.constraint)
    allowed = {active.constraint->mask(), active.request.stop_ids, active.constraint->is_accepting()};
  return sampler.sample(logits, active.request.sampler, active.tokens, active.rng, active.request.wants_logprobs,
                        allowed);
}

// Whether the sequence goes on behind this token.
bool Scheduler::accept(Active& active, const SampledToken& token) {
  const std::vector<int32_t>& stops = active.request.stop_ids;
  if (std::find(stops.begin(), stops.end(), token.id) != stops.end()) {
    if (active.request.reports_stop_ids && active.request.on_token) active.request.on_token(token);
    retire(active, FinishReason::kEndToken);
    return false;
  }
  if (active.constraint && !active.constraint->advance(token.id)) refuse_nan();
  active.tokens.push_back(token.id);
  const bool is_full = static_cast<int64_t>(active.tokens.size()) == active.longest();
  const bool is_complete = active.constraint && active.constraint->is_complete();
  const bool goes_on = !active.request.on_token || active.request.on_token(token);
  if (goes_on && !is_full && !is_complete) return true;
  const FinishReason reason = !goes_on      ? FinishReason::kStopped
                              : is_complete ? FinishReason::kEndToken
                                            : FinishReason::kLimit;
  retire(active, reason);
  return false;
}

void Scheduler::retire(Active& active, FinishReason reason) {
  if (engine_.cache().evicts(active.sequence)) {
    engine_.cache().close(active.sequence);
    active.sequence = -1;
    if (active.request.on_finish) active.request.on_finish(reason, active.shared);
    return;
  }
  // The last one was never computed.
  const auto shared =
      shares_answers_ ? active.computed : std::min(active.computed, static_cast<int64_t>(active.request.prompt.size()));
  active.tokens.resize(static_cast<size_t>(shared));
  retained_.push_front({active.sequence, std::move(active.tokens)});
  active.sequence = -1;
  if (retained_.size() > kMostRetained) {
    engine_.cache().close(retained_.back().sequence);
    retained_.pop_back();
  }
  if (active.request.on_finish) active.request.on_finish(reason, active.shared);
}

bool Scheduler::step() {
  if (!waiting_.empty()) admit();
  if (active_.empty() && !waiting_.empty())
    throw_error(ErrorKind::kResource, "the KV cache is held by others; close their sequences first");
  if (active_.empty()) return false;
  try {
    plan_pass();
    engine_.forward(spans_);
    sample();
    bool has_finished = false;
    for (size_t i = 0; i < ready_.size(); ++i) has_finished |= !accept(*ready_[i], sampled_[i]);
    if (has_finished) std::erase_if(active_, [](const auto& active) { return active->sequence < 0; });
  } catch (...) {
    std::erase_if(active_, [](const auto& active) { return active->sequence < 0; });
    clear();
    throw;
  }
  return !active_.empty() || !waiting_.empty();
}

}  // namespace ockham
