// A pass: places in the cache, embeddings, blocks; then logits of the rows that are asked for.
#include "ockham/runtime/engine.h"

#include <algorithm>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/runtime/engine_state.h"

namespace ockham {
namespace {

constexpr int64_t kLargestContext = int64_t{8} << 30;  // bytes of keys and values that a single sequence may claim

KvShape cache_shape(const ModelConfig& config, const EngineOptions& options) {
  KvShape shape = {config.blocks, config.kv_heads, config.head_dim, options.cache_type, options.kv};
  if (options.kv.is_quantized() && options.cache_type == DType::kI8)
    throw_error(ErrorKind::kUsage,
                "a cache of int8 and the KV-cache policy '{}' both round keys and values; choose float32 or bfloat16 "
                "beside the policy",
                options.kv.text());
  return shape;
}

int64_t cache_pages(const ModelConfig& config, const EngineOptions& options) {
  const KvShape shape = cache_shape(config, options);
  const int64_t bytes = PagedCache::page_bytes(shape);
  const int64_t longest = options.longest_context > 0 ? options.longest_context : config.context_length;
  const int64_t context = PagedCache::needed_pages(shape, longest) + 1;
  return std::max(options.cache_bytes / bytes, std::min(context, kLargestContext / bytes));
}

int64_t widest_mlp(const ModelConfig& config) {
  return std::max({config.intermediate_size, config.expert_size, config.shared_expert_size});
}

}  // namespace

Engine::State::State(EngineModel weights, const EngineOptions& chosen)
    : model(std::move(weights)),
      config(model.config()),
      options(chosen),
      pool(chosen.threads),
      cache(cache_shape(config, chosen), cache_pages(config, chosen), config.context_length),
      hidden_size(config.hidden_size),
      query_width(config.heads * config.head_dim),
      key_width(config.kv_heads * config.head_dim) {
  constexpr int64_t kLogitBytes = int64_t{16} << 20;
  const int64_t most = options.pass_tokens + kMostFiller,
                width = config.embedding_size > 0 ? config.embedding_size : hidden_size;
  OCKHAM_CHECK(options.pass_tokens > 0);
  check(options.kv);
  logit_rows = std::clamp<int64_t>(kLogitBytes / (config.vocabulary * 4), 16, 256);
  for (FloatRoom* room : {&hidden, &normed, &update}) *room = FloatRoom(most * hidden_size);
  if (width != hidden_size) embedded = FloatRoom(std::max(most, logit_rows + kMostFiller) * width);
  logit_inputs = FloatRoom(logit_rows * hidden_size);
  logit_values = FloatRoom((logit_rows + kMostFiller) * config.vocabulary);
  queries = FloatRoom(most * query_width);
  mixed = FloatRoom(most * query_width);
  keys = FloatRoom(most * key_width);
  values = FloatRoom(most * key_width);
  gate = FloatRoom(most * widest_mlp(config));
  up = FloatRoom(most * widest_mlp(config));
  for (std::vector<int32_t>* list : {&positions, &places, &sequences}) list->resize(static_cast<size_t>(most));
  indices.resize(static_cast<size_t>(most));
  for (Rotation* table : {&rotation, &local_rotation}) {
    table->cos = FloatRoom(most * config.head_dim / 2);
    table->sin = FloatRoom(most * config.head_dim / 2);
  }
  const int64_t wide = cache.value_width();
  tiles =
      options.precision != ReadPrecision::kExact && vector_kernels().tile_f32 != nullptr && cache.codes() == nullptr;
  task_rows = tiles ? kMostTileRows : kMostRows;
  attention_floats = task_rows * (config.head_dim + kBlockKeys + wide);
  if (tiles) attention_floats += tile_floats(config.head_dim, wide);
  attention_room = FloatRoom(pool.threads() * attention_floats);
  pages.resize(static_cast<size_t>(pool.threads()));
  for (auto& list : pages)
    list.resize(static_cast<size_t>(PagedCache::pages_of(std::min(cache.capacity(), config.context_length)) + 1));
  if (const KvCodeLayout* codes = cache.codes()) {
    expanded_room = FloatRoom(pool.threads() * expanded_floats(*codes));
    // Not copies of one: they would not have its room.
    for (int i = 0; i < pool.threads() && cache.shape().is_coded(); ++i) writers.emplace_back(*codes);
    full_segments.reserve(static_cast<size_t>(options.pass_tokens));
  }
  column_scores.resize(pages.size());
  turned.resize(pages.size());
  for (std::vector<int32_t>* list : {&cuts, &early_cuts}) list->reserve(static_cast<size_t>(options.pass_tokens));
  if (config.experts > 0) {
    scores = FloatRoom(most * config.experts);
    gathered = FloatRoom(most * hidden_size);
    expert_update = FloatRoom(most * hidden_size);
    choices.resize(static_cast<size_t>(config.experts));
    for (auto& list : choices) list.reserve(static_cast<size_t>(most));
    order.resize(static_cast<size_t>(config.experts));
  }
  reserve_inputs();
}

void Engine::State::check(std::span<const TokenSpan> spans) const {
  int64_t count = 0, missing = 0;
  for (const TokenSpan& span : spans) {
    const auto own = static_cast<int64_t>(span.tokens.size());
    count += own;
    missing += cache.missing_pages(span.sequence, own, cut_behind(span));
    for (const int32_t id : span.tokens) {
      if (id < 0 || id >= config.vocabulary)
        throw_input("a token id is {}, the model's vocabulary has {}; it belongs to another tokenizer", id,
                    config.vocabulary);
    }
    const int64_t end = cache.next_position(span.sequence) + own;
    if (!config.has_rope && end > config.context_length)
      throw_input("a sequence reaches position {}, the model has {} learned positions; shorten it", end - 1,
                  config.context_length);
  }
  OCKHAM_CHECK(count <= options.pass_tokens);
  if (missing > cache.free_pages()) {
    throw_error(ErrorKind::kResource, "the KV cache of {} tokens is full; allow it more memory or ask for less at once",
                cache.capacity());
  }
}

void Engine::State::forward(std::span<const TokenSpan> spans) {
  check(spans);
  place_tokens(spans);
  embed(spans);
  for (int64_t block = 0; block < config.blocks; ++block) run_block(block);
  for (const std::vector<int32_t>* list : {&cuts, &early_cuts})
    for (const int32_t sequence : *list) cache.end_cut(sequence);
}

void Engine::State::embed(std::span<const TokenSpan> spans) {
  const bool is_projected = model.project_in.rows() > 0;
  const int64_t width = is_projected ? config.embedding_size : hidden_size;
  float* const to = is_projected ? embedded.data() : hidden.data();
  int64_t row = 0;
  for (const TokenSpan& span : spans) {
    for (const int32_t id : span.tokens) model.files->read_row(FrameTensorRole::kEmbedding, id, to + row++ * width);
  }
  const auto scale = static_cast<float>(config.embedding_scale);
  if (scale != 1) std::for_each(to, to + tokens * width, [scale](float& value) { value *= scale; });
  if (is_projected) {
    const Product product(model.project_in, hidden.data());
    multiply({&product, 1}, to, tokens, generated);
  }
  if (config.has_rope) return;
  for (row = 0; row < tokens; ++row) {
    model.files->read_row(FrameTensorRole::kPositions, positions[static_cast<size_t>(row)] + config.position_offset,
                          update.data());
    vector_kernels().add_scaled(hidden.data() + row * hidden_size, update.data(), 1, hidden_size);
  }
}

void Engine::State::run_block(int64_t index) {
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  float *const x = hidden.data(), *const inner = normed.data(), *const change = update.data();
  if (!config.is_norm_first) {
    attention(index, x, change);
    add(x, change, tokens);
    normalize(block.input_norm, x, tokens, x);
    mlp(index, x, change);
    add(x, change, tokens);
    return normalize(block.post_attention_norm, x, tokens, x);
  }
  normalize(block.input_norm, x, tokens, inner);
  attention(index, inner, change);
  if (config.is_parallel) {
    normalize(block.post_attention_norm, x, tokens, inner);
    add(x, change, tokens);
    mlp(index, inner, change);
    return add(x, change, tokens);
  }
  if (config.has_output_norms) normalize(block.attention_output_norm, change, tokens, change);
  add(x, change, tokens);
  normalize(block.post_attention_norm, x, tokens, inner);
  mlp(index, inner, change);
  if (config.has_output_norms) normalize(block.mlp_output_norm, change, tokens, change);
  add(x, change, tokens);
}

void Engine::State::normalize(const EngineNorm& norm, const float* x, int64_t rows, float* out) {
  const VectorKernels& kernels = vector_kernels();
  const auto eps = static_cast<float>(config.norm_eps);
  const float *gain = norm.gain.data(), *bias = norm.bias.empty() ? nullptr : norm.bias.data();
  for_rows(rows, hidden_size, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * hidden_size;
      float* to = out + row * hidden_size;
      if (norm.gain.empty()) {
        if (to != from) std::copy_n(from, hidden_size, to);
      } else if (config.is_layer_norm) {
        kernels.layer_norm(from, gain, bias, eps, hidden_size, to);
      } else {
        kernels.rms_norm(from, gain, eps, hidden_size, to);
      }
    }
  });
}

void Engine::State::add(float* x, const float* y, int64_t rows) {
  for_rows(rows, hidden_size, [&](int64_t begin, int64_t end) {
    vector_kernels().add_scaled(x + begin * hidden_size, y + begin * hidden_size, 1, (end - begin) * hidden_size);
  });
}

float* Engine::State::logits(std::span<const float* const> rows, bool is_generating) {
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t exact = is_generating ? count : 0;
  OCKHAM_CHECK(count <= logit_rows);
  float* last = logit_inputs.data();
  for (int64_t row = 0; row < count; ++row)
    normalize(model.final_norm, rows[static_cast<size_t>(row)], 1, last + row * hidden_size);
  if (model.project_out.rows() > 0) {
    const Product product(model.project_out, embedded.data());
    multiply({&product, 1}, last, count, exact);
    last = embedded.data();
  }
  const Product product(model.head, logit_values.data());
  multiply({&product, 1}, last, count, exact);
  if (config.logit_softcap > 0) {
    for_rows(count, 4 * config.vocabulary, [&](int64_t begin, int64_t end) {
      vector_kernels().softcap(logit_values.data() + begin * config.vocabulary,
                               static_cast<float>(config.logit_softcap), (end - begin) * config.vocabulary);
    });
  }
  return logit_values.data();
}

Engine::Engine(EngineModel model, const EngineOptions& options)
    : state_(std::make_unique<State>(std::move(model), options)) {}
Engine::~Engine() = default;

const ModelConfig& Engine::config() const {
  return state_->config;
}
const EngineModel& Engine::model() const {
  return state_->model;
}
PagedCache& Engine::cache() {
  return state_->cache;
}
ThreadPool& Engine::threads() {
  return state_->pool;
}
int64_t Engine::pass_tokens() const {
  return state_->options.pass_tokens;
}
int64_t Engine::width() const {
  return state_->hidden_size;
}
void Engine::forward(std::span<const TokenSpan> spans) {
  state_->forward(spans);
}
const KvPolicy& Engine::kv() const {
  return state_->options.kv;
}
int32_t Engine::open(const KvPolicy& policy, int64_t prompt, int64_t longest) {
  return state_->open(policy, prompt, longest);
}
void Engine::check(const KvPolicy& policy) const {
  state_->check(policy);
}
bool Engine::fits(const KvPolicy& policy, int64_t prompt, int64_t longest) const {
  const bool is_rolling = policy.evicts() && policy.positions == KvPolicy::Positions::kRolling;
  return (is_rolling ? most_kv_slots(policy, prompt, longest) : longest) <= config().context_length;
}
const float* Engine::hidden(int64_t row) const {
  return state_->hidden.data() + row * state_->hidden_size;
}
int64_t Engine::logit_rows() const {
  return state_->logit_rows;
}
float* Engine::logits(std::span<const float* const> hidden, bool is_generating) {
  return state_->logits(hidden, is_generating);
}

}  // namespace ockham
