#include "ockham/runtime/native_language_model.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/score_paths.h"
#include "ockham/runtime/text_stream.h"
#include "ockham/runtime/vectors.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

std::string arithmetic_of(const EngineOptions& options, const ModelFiles& files) {
  const bool has_tiles = options.precision != ReadPrecision::kExact && current_target() == Target::kAmx;
  const bool rounds = has_tiles && files.config().dtype == DType::kBF16;
  std::string text = fmt::format("native {}, {} weights", rounds ? "bfloat16 products" : "float32", files.layout());
  if (has_tiles) text += ", attention of prompts in 16 bits";
  if (options.precision == ReadPrecision::kFast) text += ", prompts in 8 bits beside integers";
  if (options.cache_type != DType::kF32) text += options.cache_type == DType::kI8 ? ", int8 cache" : ", bfloat16 cache";
  if (options.kv.name != "full") text += ", KV cache " + options.kv.text();
  return text;
}

// Every token's hidden state, and the logits of those that are read.
class NativeDistributions final : public Distributions {
 public:
  NativeDistributions(Engine& engine, const std::vector<int32_t>& sequence)
      : engine_(engine), positions_(static_cast<int64_t>(sequence.size()) - 1) {
    hidden_.resize(static_cast<size_t>(positions_ * engine.width()));
    const KvPolicy policy = kv_policy_of_text(engine.kv());
    const int32_t cached = engine.open(policy, positions_, positions_);
    try {
      for (int64_t at = 0; at < positions_;) at += compute(sequence, cached, policy, at);
    } catch (...) {
      engine.cache().close(cached);
      throw;
    }
    engine.cache().close(cached);
  }
  int64_t positions() const override { return positions_; }
  void read(int64_t first, int64_t count, float* logprobs) const override {
    OCKHAM_CHECK(first >= 0 && count > 0 && first + count <= positions_);
    const int64_t vocabulary = engine_.config().vocabulary;
    std::vector<const float*> rows;
    for (int64_t done = 0; done < count; done += static_cast<int64_t>(rows.size())) {
      rows.clear();
      for (int64_t row = done; row < std::min(count, done + engine_.logit_rows()); ++row)
        rows.push_back(hidden_.data() + (first + row) * engine_.width());
      const float* logits = engine_.logits(rows, false);
      engine_.threads().run(static_cast<int64_t>(rows.size()), [&](int64_t row, int) {
        const float* line = logits + row * vocabulary;
        const auto all = static_cast<float>(vector_kernels().log_sum_exp(line, vocabulary));
        std::transform(line, line + vocabulary, logprobs + (done + row) * vocabulary,
                       [all](float logit) { return logit - all; });
      });
    }
  }

 private:
  // Tokens that were computed, from `at` on.
  int64_t compute(const std::vector<int32_t>& sequence, int32_t cached, const KvPolicy& policy, int64_t at) {
    const int64_t next = policy.evicts() ? next_kv_cut(policy, at, positions_) : positions_;
    const int64_t count = std::min(engine_.pass_tokens(), next - at);
    const TokenSpan span{cached, std::span(sequence).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
                         positions_, false, at + count == next ? KvCut::kPrompt : KvCut::kNone};
    engine_.forward({&span, 1});
    std::copy_n(engine_.hidden(0), count * engine_.width(), hidden_.data() + at * engine_.width());
    return count;
  }
  Engine& engine_;
  int64_t positions_;
  std::vector<float> hidden_;  // [positions, H]
};

}  // namespace

NativeLanguageModel::NativeLanguageModel(const std::string& model, const Options& options) {
  auto files = std::make_shared<const ModelFiles>(model);
  EngineOptions engine = options.engine;
  if (const auto& kv = options.kv ? options.kv : files->config().kv_cache) engine.kv = *kv;
  kv_ = engine.kv;
  const std::string directory = files->tokenizer_directory();
  tokenizer_ = std::make_shared<const Tokenizer>(directory);
  eos_ids_ = tokenizer_->eos_ids();
  info_.name = std::filesystem::path(directory).filename().string();
  info_.path = directory;
  if (options.has_hash) info_.sha256 = files->sha256();
  info_.arithmetic = arithmetic_of(engine, *files);
  info_.parameters = files->parameters();
  info_.bytes = files->bytes();
  info_.context_length = files->config().context_length;
  info_.vocabulary = files->config().vocabulary;
  std::shared_ptr<const PackedWeights> packed;
  if (options.packed_cache) packed = PackedWeights::open(*files, *options.packed_cache);
  engine_ =
      std::make_unique<Engine>(read_engine_model(std::move(files), options.copies_dense, std::move(packed)), engine);
}

NativeLanguageModel::~NativeLanguageModel() = default;

std::optional<CacheUse> NativeLanguageModel::take_cache_use() {
  PagedCache& cache = engine_->cache();
  const KvUse use = cache.use();
  cache.reset_use();
  if (kv_.name == KvPolicy().name || use.tokens_read == 0) return std::nullopt;
  CacheUse result{use.bytes_per_token(), use.kept_share(), {}};
  if (kv_.needs_scores()) result.attention_mass = use.kept_mass();
  return result;
}

Prompt NativeLanguageModel::render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  return render_chat(*tokenizer_, messages, add_generation_prompt, info_.name);
}

std::vector<int32_t> NativeLanguageModel::tokenize(const std::string& text, bool add_special_tokens) const {
  return tokenizer_->encode(text, add_special_tokens, false);
}

int32_t NativeLanguageModel::start_token() const {
  return tokenizer_->bos_id().value_or(eos_ids_.empty() ? 0 : eos_ids_[0]);
}

std::vector<int32_t> NativeLanguageModel::encode(const Prompt& prompt) const {
  std::vector<int32_t> ids = encode_prompt(*tokenizer_, prompt, info_.name);
  if (ids.empty()) ids.push_back(start_token());
  return ids;
}

void NativeLanguageModel::check_ids(const std::vector<int32_t>& sequence, size_t index) const {
  for (const int32_t id : sequence) {
    if (id >= 0 && id < info_.vocabulary) continue;
    throw_input("sequence {} holds the token id {}, the model's vocabulary has {}; it belongs to another tokenizer",
                index, id, info_.vocabulary);
  }
}

std::vector<ScoreAnswer> NativeLanguageModel::score(std::span<const ScoreRequest> requests) {
  std::vector<ScoreAnswer> answers(requests.size());
  std::vector<std::vector<ScoredPath>> by_request(requests.size());
  parallel_for(static_cast<int64_t>(requests.size()), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      by_request[i] = scored_paths(requests[i], answers[i].truncated_tokens);
  });
  std::vector<ScoredPath> paths;
  for (std::vector<ScoredPath>& own : by_request) std::move(own.begin(), own.end(), std::back_inserter(paths));
  const std::vector<std::vector<TokenScore>> scores = score_paths(*engine_, paths);
  auto next = scores.begin();
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t c = 0; c < requests[i].continuations.size(); ++c, ++next) {
      ContinuationScore score{0, static_cast<int64_t>(next->size()), true};
      for (const TokenScore& token : *next) {
        score.logprob += token.logprob;
        score.is_greedy = score.is_greedy && token.is_best;
      }
      answers[i].scores.push_back(score);
    }
  }
  return answers;
}

// One path for each continuation: what of the context fits before it, and the continuation.
std::vector<ScoredPath> NativeLanguageModel::scored_paths(const ScoreRequest& request, int64_t& truncated) const {
  Prompt context = request.context;
  const std::string blanks = take_trailing_blanks(context);
  const std::vector<int32_t> ids = encode_prompt(*tokenizer_, context, info_.name);
  std::vector<ScoredPath> paths;
  for (const std::string& text : request.continuations) {
    const std::vector<int32_t> own = continuation_tokens(*tokenizer_, context, ids, blanks + text, info_.name);
    // The last token is only predicted, never read.
    const int64_t room = info_.context_length + 1 - static_cast<int64_t>(own.size());
    if (room < 1)
      throw_input("a continuation has {} tokens, the model reads {}; shorten it", own.size(), info_.context_length);
    const auto length = static_cast<int64_t>(ids.size() + own.size()) - 1;
    const bool fits = engine_->fits(engine_->kv(), static_cast<int64_t>(ids.size()), length);
    const int64_t over = fits ? 0 : std::max<int64_t>(0, static_cast<int64_t>(ids.size()) - room);
    truncated = std::max(truncated, over);
    ScoredPath& path = paths.emplace_back();
    path.tokens.assign(ids.begin() + over, ids.end());
    if (path.tokens.empty()) path.tokens.push_back(start_token());
    path.first_target = static_cast<int64_t>(path.tokens.size());
    path.tokens.insert(path.tokens.end(), own.begin(), own.end());
  }
  return paths;
}

std::vector<SequenceScore> NativeLanguageModel::score_sequences(std::span<const std::vector<int32_t>> sequences) {
  std::vector<SequenceScore> result(sequences.size());
  std::vector<ScoredPath> paths;
  for (size_t i = 0; i < sequences.size(); ++i) {
    check_ids(sequences[i], i);
    if (sequences[i].size() > 1) paths.push_back({sequences[i], 1});
  }
  const std::vector<std::vector<TokenScore>> scores = score_paths(*engine_, paths);
  auto next = scores.begin();
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].size() < 2) continue;
    for (const TokenScore& token : *next) result[i].logprobs.push_back(token.logprob);
    ++next;
  }
  return result;
}

std::unique_ptr<Distributions> NativeLanguageModel::distributions(const std::vector<int32_t>& sequence) {
  if (sequence.size() < 2)
    throw_input("a sequence of {} tokens predicts nothing, expected at least 2", sequence.size());
  check_ids(sequence, 0);
  return std::make_unique<NativeDistributions>(*engine_, sequence);
}

GenerationRequest NativeLanguageModel::make_request(const GenerateRequest& request, int64_t sample,
                                                    int64_t& truncated_tokens) const {
  GenerationRequest result;
  result.prompt = encode(request.prompt);
  const int64_t room = info_.context_length - request.max_tokens;
  if (room < 1)
    throw_error(ErrorKind::kUsage, "{} new tokens do not fit the model's context of {}; ask for fewer",
                request.max_tokens, info_.context_length);
  const auto prompt = static_cast<int64_t>(result.prompt.size());
  const bool fits = engine_->fits(engine_->kv(), prompt, prompt + request.max_tokens);
  truncated_tokens = fits ? 0 : std::max<int64_t>(0, prompt - room);
  result.prompt.erase(result.prompt.begin(), result.prompt.begin() + truncated_tokens);
  result.max_tokens = request.max_tokens;
  result.sampler.temperature = request.temperature;
  result.sampler.top_p = request.top_p;
  result.seed = mix_seed(request.seed, static_cast<uint64_t>(sample));
  result.stop_ids = eos_ids_;
  return result;
}

std::shared_ptr<TokenGrammar> NativeLanguageModel::constrain(const Grammar& grammar, const std::string& where) const {
  std::shared_ptr<const TokenTrie> trie;
  {
    const std::lock_guard lock(trie_mutex_);
    if (trie_ == nullptr) trie_ = std::make_shared<const TokenTrie>(tokenizer_->all_token_bytes(), info_.vocabulary);
    trie = trie_;
  }
  return std::make_shared<TokenGrammar>(grammar, std::move(trie), where);
}

std::vector<GenerateAnswer> NativeLanguageModel::generate(std::span<const GenerateRequest> requests) {
  std::vector<GenerateAnswer> answers(requests.size());
  Scheduler scheduler(*engine_);
  // One sample of a request: its prompt and what came behind it.
  struct Row {
    std::vector<int32_t> prompt, ids;
    std::unique_ptr<TextStream> stream;  // where there are stop strings to watch for
  };
  std::vector<std::vector<Row>> rows(requests.size());
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t i = 0; i < requests.size(); ++i) {
    OCKHAM_CHECK(requests[i].samples > 0 && requests[i].max_tokens > 0);
    rows[i].resize(static_cast<size_t>(requests[i].samples));
    answers[i].texts.resize(rows[i].size());
    answers[i].hit_limit.resize(rows[i].size());
    for (size_t sample = 0; sample < rows[i].size(); ++sample) order.emplace_back(i, sample);
  }
  std::vector<std::vector<GenerationRequest>> made(requests.size());
  parallel_for(static_cast<int64_t>(requests.size()), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      made[i].push_back(make_request(requests[i], 0, answers[i].truncated_tokens));
      for (size_t sample = 1; sample < rows[i].size(); ++sample) {
        made[i].push_back(made[i][0]);
        made[i].back().seed = mix_seed(requests[i].seed, sample);
      }
    }
  });
  // Prompts that begin alike one after another.
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return made[a.first][a.second].prompt < made[b.first][b.second].prompt;
  });
  for (const auto& [i, sample] : order) {
    Row& row = rows[i][sample];
    GenerationRequest request = std::move(made[i][sample]);
    row.prompt = request.prompt;
    row.ids.reserve(static_cast<size_t>(request.max_tokens));
    const std::vector<std::string>& stops = requests[i].stop;
    if (!stops.empty()) row.stream = std::make_unique<TextStream>(*tokenizer_, row.prompt, stops);
    request.on_token = [&row](const SampledToken& token) {
      row.ids.push_back(token.id);
      if (row.stream != nullptr) row.stream->push(token.id);
      return row.stream == nullptr || !row.stream->has_stopped();
    };
    request.on_finish = [&answer = answers[i], &row, &stops, place = sample, this](FinishReason reason, int64_t) {
      answer.texts[place] = cut_at_stop(generated_text(*tokenizer_, row.prompt, row.ids), stops);
      answer.hit_limit[place] = reason == FinishReason::kLimit;
    };
    scheduler.add(std::move(request));
  }
  while (scheduler.step()) check_interrupt();
  return answers;
}

std::string generated_text(const Tokenizer& tokenizer, std::span<const int32_t> prompt,
                           std::span<const int32_t> generated) {
  constexpr size_t kTail = 4;
  const std::span<const int32_t> last = prompt.last(std::min(kTail, prompt.size()));
  std::vector<int32_t> tail(last.begin(), last.end());
  const std::string before = tokenizer.decode(tail, true);
  tail.insert(tail.end(), generated.begin(), generated.end());
  const std::string whole = tokenizer.decode(tail, true);
  return whole.starts_with(before) ? whole.substr(before.size()) : tokenizer.decode(generated, true);
}

}  // namespace ockham
