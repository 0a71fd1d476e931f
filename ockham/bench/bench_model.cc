#include "ockham/bench/bench_model.h"

#include <algorithm>
#include <filesystem>

#include "ockham/bench/model_cost.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/runtime/sampler.h"

namespace ockham {
namespace {

const char* unit_name(MultiplyUnit unit) {
  return unit == MultiplyUnit::kInt8 ? "int8" : unit == MultiplyUnit::kBF16 ? "bf16" : "f32";
}

// What is resident now.
int64_t settle_memory() {
  release_free_memory();
  forget_peak_memory();
  return peak_memory_bytes();
}

EngineOptions options_of(const BenchRoom& room) {
  EngineOptions options;
  options.threads = room.threads;
  options.precision = room.precision;
  options.cache_type = room.cache.type;
  options.kv = room.cache.policy;
  options.longest_context = room.longest;
  options.cache_bytes = room.pages() * PagedCache::page_bytes(room.cache);
  return options;
}

void describe(BenchedModel& facts, const ModelFiles& files, const EngineModel& model) {
  const ModelCost cost = cost_of(model);
  facts.layout = files.layout();
  facts.parameters = files.parameters();
  facts.blocks = files.config().blocks;
  facts.context_length = files.config().context_length;
  facts.weights = cost.weights;
  facts.packed_bytes = cost.packed_bytes;
  facts.bits_per_weight = cost.bits_per_weight();
  facts.disk_bytes = files.bytes();
  facts.disk_bits_per_weight = 8 * static_cast<double>(files.bytes()) / static_cast<double>(files.parameters());
  facts.multiply_unit = unit_name(cost.unit);
  facts.layouts = cost.layouts;
}

}  // namespace

std::string BenchSource::label() const {
  const std::string policy = kv ? ", " + kv->text() : "";
  if (!name.empty()) return name + policy;
  if (random) return random->shape + " " + random->linears.name() + policy;
  std::string clean = path;
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return std::filesystem::path(clean).filename().string() + policy;
}

KvShape cache_of(const BenchSource& source, const ModelConfig& config, DType type) {
  return {config.blocks, config.kv_heads, config.head_dim, type, source.kv.value_or(KvPolicy())};
}

int64_t BenchRoom::pages() const {
  if (cache.policy.evicts()) {
    // A prompt is there as a whole before it is cut.
    int64_t sum = std::max(prefill_pages, PagedCache::needed_pages(cache, longest)) + 1;
    for (const auto& [context, batch] : batches)
      sum += batch * PagedCache::claimed_pages(cache, cache.policy, 0, context + all_tokens);
    return sum;
  }
  const auto pages_of = [&](int64_t count) { return PagedCache::needed_pages(cache, count); };
  int64_t sum = prefill_pages + pages_of(longest) + 1;
  // Beside each context the pages that a decoded sequence adds, of which the first is a copy.
  for (const int64_t context : contexts) sum += pages_of(context) + pages_of(tokens + 1) + 1;
  return sum;
}

BenchModel::BenchModel(const BenchSource& source, const BenchRoom& room) : room_(room) {
  memory_before_ = settle_memory();
  const Stopwatch watch;
  const auto files =
      source.random ? make_random_model(*source.random) : std::make_shared<const ModelFiles>(source.path);
  engine_ = std::make_unique<Engine>(read_engine_model(files), options_of(room));
  facts_.load_s = start_to_ready_s_ = watch.seconds();
  facts_.name = source.label();
  facts_.is_random = source.random.has_value();
  facts_.source = source.random ? "random weights" : source.path;
  facts_.sparsity = source.random ? source.random->linears.sparsity : source.sparsity;
  describe(facts_, *files, engine_->model());
  const PagedCache& cache = engine_->cache();
  facts_.cache_bytes_per_token =
      static_cast<double>(PagedCache::page_bytes(cache.shape())) /
      static_cast<double>(cache.shape().is_coded() ? CodedPages::kTokens : PagedCache::kPageTokens);
}

std::vector<int32_t> BenchModel::random_tokens(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(rng_.below(static_cast<uint64_t>(engine_->config().vocabulary))));
  return tokens;
}

// The most likely token behind each hidden state.
void BenchModel::choose(std::span<const float* const> hidden, bool is_generating, std::vector<int32_t>& chosen) {
  const int64_t vocabulary = engine_->config().vocabulary, at_once = engine_->logit_rows();
  const auto count = static_cast<int64_t>(hidden.size());
  chosen.resize(hidden.size());
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t rows = std::min(at_once, count - begin);
    const float* logits =
        engine_->logits(hidden.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows)), is_generating);
    engine_->threads().run(rows, [&](int64_t row, int) {
      chosen[static_cast<size_t>(begin + row)] = first_maximum(logits + row * vocabulary, vocabulary);
    });
  }
}

void BenchModel::measure_first_token(int64_t prompt) {
  facts_.first_token_prompt = prompt;
  facts_.first_token_s = start_to_ready_s_ + prefill(prompt, 1);
  facts_.peak_bytes = std::max<int64_t>(peak_memory_bytes() - memory_before_, 0);
}

void BenchModel::fill(int32_t sequence, int64_t tokens) {
  constexpr int64_t kStarts = 997;
  PagedCache& cache = engine_->cache();
  const int64_t width = engine_->config().kv_heads * engine_->config().head_dim;
  while (static_cast<int64_t>(numbers_.size()) < width + kStarts) numbers_.push_back(static_cast<float>(rng_.normal()));
  engine_->threads().run(tokens, [&](int64_t index, int) {
    for (int64_t block = 0; block < engine_->config().blocks; ++block) {
      const int64_t start = index * 31 + block * 7 + sequence;
      cache.store(block, sequence, index, numbers_.data() + start % kStarts, numbers_.data() + start * 3 % kStarts);
    }
  });
}

void BenchModel::fill_caches() {
  PagedCache& cache = engine_->cache();
  if (cache.shape().policy.evicts()) return fill_evicted();
  for (const int64_t context : room_.contexts) {
    check_interrupt();
    const int32_t sequence = bases_.emplace_back(cache.open());
    cache.append(sequence, context);
    // Floats of the other blocks would be written over.
    const bool is_coded = cache.shape().is_coded() && context >= CodedPages::kTokens;
    fill(sequence, is_coded ? CodedPages::kTokens : context);
    if (is_coded) fill_codes(sequence);
  }
}

void BenchModel::fill_evicted() {
  PagedCache& cache = engine_->cache();
  const ModelConfig& config = engine_->config();
  for (const auto& [context, batch] : room_.batches) {
    for (int64_t i = 0; i < batch; ++i) {
      check_interrupt();
      const int32_t sequence = engine_->open(cache.shape().policy, context, context + room_.all_tokens);
      evicted_[context].push_back(sequence);
      cache.append(sequence, context);
      fill(sequence, context);
      for (int64_t unit = 0; cache.counts_attention(sequence) && unit < config.blocks * config.kv_heads; ++unit) {
        float* const scores = cache.choice(sequence).head(unit / config.kv_heads, unit % config.kv_heads).scores;
        for (int64_t s = 0; s < context; ++s) scores[s] = static_cast<float>(rng_.uniform());
      }
      cache.cut(sequence, KvCut::kPrompt);
    }
  }
}

std::vector<int32_t> BenchModel::sequences_of(int64_t context, int64_t batch) {
  PagedCache& cache = engine_->cache();
  std::vector<int32_t> sequences;
  for (int64_t i = 0; i < batch; ++i) {
    const auto at = static_cast<size_t>(i);
    sequences.push_back(cache.shape().policy.evicts() ? evicted_.at(context).at(at)
                                                      : cache.fork(bases_.at(at), context));
  }
  return sequences;
}

// One block is coded, and copied to the places of the others: pages of their own, which take as long to read.
void BenchModel::fill_codes(int32_t sequence) {
  PagedCache& cache = engine_->cache();
  KvBlockWriter writer(*cache.codes());
  for (int64_t block = 0; block < engine_->config().blocks; ++block)
    for (int64_t part = 0; part < cache.encoding_parts(); ++part) cache.encode(block, sequence, 0, part, writer);
  cache.repeat_first_block(sequence);
}

double BenchModel::decode(int64_t context, int64_t batch, int64_t tokens) {
  PagedCache& cache = engine_->cache();
  std::vector<int32_t> chosen = random_tokens(batch);
  const std::vector<int32_t> sequences = sequences_of(context, batch);
  std::vector<TokenSpan> spans(static_cast<size_t>(batch));
  std::vector<const float*> hidden(static_cast<size_t>(batch));
  const auto step = [&] {
    for (size_t i = 0; i < spans.size(); ++i) spans[i] = {sequences[i], {&chosen[i], 1}, 0, true};
    engine_->forward(spans);
    for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = engine_->hidden(static_cast<int64_t>(i));
    choose(hidden, true, chosen);
  };
  step();
  const Stopwatch watch;
  for (int64_t i = 0; i < tokens; ++i) {
    check_interrupt();
    step();
  }
  const double seconds = watch.seconds();
  for (const int32_t sequence : sequences)
    if (!cache.shape().policy.evicts()) cache.close(sequence);
  return seconds;
}

double BenchModel::prefill(int64_t prompt, int64_t batch) {
  PagedCache& cache = engine_->cache();
  const std::vector<int32_t> tokens = random_tokens(prompt * batch);
  std::vector<int32_t> sequences, chosen;
  for (int64_t i = 0; i < batch; ++i) sequences.push_back(cache.open());
  const Stopwatch watch;
  int64_t done = 0;
  while (done < prompt * batch) {
    check_interrupt();
    std::vector<TokenSpan> spans;
    std::vector<int64_t> last_rows;
    int64_t in_pass = 0;
    while (in_pass < engine_->pass_tokens() && done < prompt * batch) {
      const int64_t left = prompt - done % prompt, take = std::min(left, engine_->pass_tokens() - in_pass);
      spans.push_back({sequences[static_cast<size_t>(done / prompt)],
                       {tokens.data() + done, static_cast<size_t>(take)},
                       prompt,
                       false});
      done += take;
      in_pass += take;
      if (take == left) last_rows.push_back(in_pass - 1);
    }
    engine_->forward(spans);
    std::vector<const float*> hidden;
    for (const int64_t row : last_rows) hidden.push_back(engine_->hidden(row));
    if (!hidden.empty()) choose(hidden, false, chosen);
  }
  const double seconds = watch.seconds();
  for (const int32_t sequence : sequences) cache.close(sequence);
  return seconds;
}

double BenchModel::products() {
  const EngineModel& model = engine_->model();
  ThreadPool& pool = engine_->threads();
  const Stopwatch watch;
  const auto run = [&](const KernelMatrix& matrix) {
    if (matrix.rows() == 0) return;
    x_.resize(std::max(x_.size(), static_cast<size_t>(matrix.columns())), 0.5F);
    y_.resize(std::max(y_.size(), static_cast<size_t>(matrix.rows())));
    input_.reserve(matrix, 1, InputRounding::kFine);
    input_.fill(matrix, x_.data(), matrix.columns(), 0, 1);
    const int64_t units = matrix.units(), pieces = std::min<int64_t>(units, int64_t{4} * pool.threads());
    pool.run(pieces, [&](int64_t piece, int) {
      multiply(matrix, input_, units * piece / pieces, units * (piece + 1) / pieces, y_.data(), matrix.rows());
    });
  };
  for (const EngineBlock& block : model.blocks) {
    check_interrupt();
    for (const EngineLinear* linear : {&block.query, &block.key, &block.value, &block.output}) run(linear->weight);
    for (const EngineMlp& mlp : block.mlps)
      for (const EngineLinear* linear : {&mlp.gate, &mlp.up, &mlp.down}) run(linear->weight);
  }
  return watch.seconds();
}

}  // namespace ockham
