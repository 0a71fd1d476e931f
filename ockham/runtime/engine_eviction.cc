// What policies of the KV cache need of a pass: room, the attention that keys receive, and the evictions behind it.
#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/runtime/engine_state.h"

namespace ockham {
namespace {

bool stores_alike(const KvPolicy& a, const KvPolicy& b) {
  return a.bits == b.bits && a.group == b.group && a.outliers == b.outliers && a.rank == b.rank;
}

}  // namespace

void Engine::State::check(const KvPolicy& policy) const {
  const KvPolicy& own = cache.shape().policy;
  // What a policy keeps is a sequence's own matter, how it is stored is not: one that is about storing alone would do
  // nothing.
  if (policy.keep == KvPolicy::Keep::kAll && policy.is_quantized() && !stores_alike(policy, own)) {
    throw_error(ErrorKind::kUsage,
                "the KV-cache policy '{}' keeps tokens in codes of its own, and the engine was made for '{}'; how they "
                "are stored is chosen when the model is opened",
                policy.text(), own.text());
  }
  if (policy.evicts() && cache.shape().is_coded()) {
    throw_error(ErrorKind::kUsage,
                "the KV-cache policy '{}' drops tokens, and the engine was made for '{}', which keeps blocks of 64 in "
                "codes; leave one out",
                policy.name, cache.shape().policy.text());
  }
  if (!policy.evicts() || policy.positions != KvPolicy::Positions::kRolling) return;
  const char* reason = nullptr;
  if (!config.has_rope) reason = "learned positions";
  if (config.window > 0 && !config.sliding.empty()) reason = "blocks that see a window of positions";
  if (config.has_rope && config.rope.depends_on_length()) reason = "rotations that depend on the text's length";
  if (reason == nullptr) return;
  throw_error(ErrorKind::kUsage,
              "the KV-cache policy '{}' gives kept tokens rolling positions, and the model has {}; add "
              "positions=absolute",
              policy.name, reason);
}

int32_t Engine::State::open(const KvPolicy& policy, int64_t prompt, int64_t longest) {
  check(policy);
  const int64_t slots = most_kv_slots(policy, prompt, longest, 0, config.blocks);
  const int32_t sequence = cache.open(policy, slots);
  if (cache.is_rolling(sequence)) reserve_turns(slots);
  if (cache.counts_attention(sequence)) reserve_columns(options.pass_tokens, slots);
  return sequence;
}

void Engine::State::reserve_columns(int64_t rows, int64_t slots) {
  if (rows <= state_rows && slots <= column_slots) return;
  column_slots = std::max(column_slots, ceil_div(slots, kBlockKeys) * kBlockKeys);
  state_rows = std::max(state_rows, rows);
  row_state = 2 + column_slots / kBlockKeys;
  row_states = FloatRoom(state_rows * config.heads * row_state);
  const int64_t shared = std::min(config.heads / config.kv_heads, kMostRows);
  for (FloatRoom& room : column_scores)
    room = FloatRoom(std::max(shared * (column_slots + row_state), kMostRows * kBlockKeys));
}

// As fill_rotation() has it.
void Engine::State::reserve_turns(int64_t slots) {
  if (slots + kPageKeys <= turn_places) return;
  turn_places = ceil_div(std::max(slots + kPageKeys, turn_places + turn_places / 2), kPageKeys) * kPageKeys;
  const std::vector<double> frequencies = rope_frequencies(config.rope, config.head_dim, 0);
  const auto half = static_cast<int64_t>(frequencies.size());
  const auto factor = static_cast<float>(config.rope.attention_factor);
  turn_cos = FloatRoom(half * turn_places);
  turn_sin = FloatRoom(half * turn_places);
  pool.run(half, [&](int64_t d, int) {
    for (int64_t place = 0; place < turn_places; ++place) {
      const float angle = static_cast<float>(place) * static_cast<float>(frequencies[static_cast<size_t>(d)]);
      turn_cos.data()[d * turn_places + place] = std::cos(angle) * factor;
      turn_sin.data()[d * turn_places + place] = std::sin(angle) * factor;
    }
  });
  for (FloatRoom& room : turned) room = FloatRoom(config.head_dim * kPageKeys);
}

bool Engine::State::is_counted_at_once(const TokenSpan& span) const {
  // By tiles scores have other bits than those that add_columns() computes again.
  const bool is_by_tiles = tiles && !span.is_generated;
  return span.tokens.size() == 1 && !is_by_tiles && cache.counts_attention(span.sequence) &&
         config.heads / config.kv_heads <= kMostRows;
}

void Engine::State::plan_cuts(std::span<const TokenSpan> spans) {
  cuts.clear();
  early_cuts.clear();
  counted.clear();
  const int64_t shared = config.heads / config.kv_heads;
  int64_t row = 0;
  for (const TokenSpan& span : spans) {
    const auto count = static_cast<int64_t>(span.tokens.size());
    if (cache.is_rolling(span.sequence)) reserve_turns(cache.slots(span.sequence));
    if (cache.counts_attention(span.sequence)) reserve_columns(options.pass_tokens, cache.slots(span.sequence));
    if (cache.counts_attention(span.sequence) && !is_counted_at_once(span)) {
      for (int64_t head = 0; head < config.kv_heads; ++head)
        counted.push_back({row, count, span.sequence, head, head * shared, shared});
    }
    if (cache.begin_cut(span.sequence, cut_behind(span))) {
      const bool is_early = is_counted_at_once(span) && cache.drops_by_head(span.sequence);
      (is_early ? early_cuts : cuts).push_back(span.sequence);
    }
    row += count;
  }
}

// Attention that keys receive from several tokens of one sequence: sums go on token by token for each key, so they do
// not depend on passes or threads.
void Engine::State::add_columns(int64_t block) {
  int64_t most = 0;
  for (const Task& task : counted) most = std::max(most, cache.views(task.sequence, block));
  const int64_t stretches = (most + kBlockPages - 1) / kBlockPages;
  const VectorKernels& kernels = vector_kernels();
  const DType type = options.cache_type;
  const auto add = type == DType::kF32    ? kernels.add_columns_f32
                   : type == DType::kBF16 ? kernels.add_columns_bf16
                                          : kernels.add_columns_int8;
  pool.run(static_cast<int64_t>(counted.size()) * stretches, [&](int64_t part, int worker) {
    const Task& task = counted[static_cast<size_t>(part / stretches)];
    const int64_t first = part % stretches * kBlockPages;
    if (first >= cache.views(task.sequence, block)) return;
    AttentionTask work = attention_task(task, block, worker);
    work.column_sums = cache.choice(task.sequence).head(block, task.kv_head).scores;
    add(work, first, std::min(first + kBlockPages, work.page_count));
  });
}

void Engine::State::cut(int64_t block) {
  constexpr int64_t kWorth = 20'000;  // slots to look through that outweigh waking a thread
  int64_t slots = 0;
  for (const int32_t sequence : cuts) {
    cache.prepare_cut(sequence, block);
    slots += cache.slots(sequence, block) * config.kv_heads;
  }
  const auto cut_one = [&](int64_t part, int) {
    cache.cut_head(cuts[static_cast<size_t>(part / config.kv_heads)], block, part % config.kv_heads);
  };
  const auto parts = static_cast<int64_t>(cuts.size()) * config.kv_heads;
  if (slots >= kWorth) return pool.run(parts, cut_one);
  for (int64_t part = 0; part < parts; ++part) cut_one(part, 0);
}

}  // namespace ockham
