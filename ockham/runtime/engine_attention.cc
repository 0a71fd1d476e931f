// Attention of a pass: rotations, keys and values into the cache, then queries against its pages.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/kernels/prefetch.h"
#include "ockham/runtime/engine_state.h"

namespace ockham {
namespace {

// A length with the same frequencies, the same one for all that share them.
int64_t decisive_length(const RopeConfig& rope, int64_t length) {
  if (rope.type == "dynamic") return std::max(length, rope.context_length);
  if (rope.type == "longrope")
    return length > rope.original_max_position_embeddings ? rope.original_max_position_embeddings + 1 : 0;
  return 0;
}

}  // namespace

void Engine::State::place_tokens(std::span<const TokenSpan> spans) {
  tokens = generated = 0;
  for (const TokenSpan& span : spans) {
    const auto own = static_cast<int64_t>(span.tokens.size());
    int64_t index = cache.length(span.sequence);
    int32_t position = cache.next_position(span.sequence);
    cache.append(span.sequence, own);
    const auto shift = cache.is_rolling(span.sequence)
                           ? static_cast<int32_t>(position - cache.choice(span.sequence).place(position))
                           : 0;
    if (span.is_generated) {
      OCKHAM_CHECK(generated == tokens);
      generated += own;
    }
    for (int64_t i = 0; i < own; ++i, ++tokens) {
      const auto row = static_cast<size_t>(tokens);
      places[row] = position - shift;
      positions[row] = position++;
      sequences[row] = span.sequence;
      indices[row] = index++;
    }
  }
  plan_stages(spans);
  plan_cuts(spans);
  if (!config.has_rope) return;
  fill_rotation(rotation, config.rope, spans);
  if (config.has_local_rope) fill_rotation(local_rotation, config.local_rope, spans);
}

// With codes the n-th stage has the n-th block of each span: its tokens see those before it in codes.
void Engine::State::plan_stages(std::span<const TokenSpan> spans) {
  const int64_t step = cache.shape().is_coded() ? CodedPages::kTokens : std::numeric_limits<int64_t>::max();
  tasks.clear();
  segments.clear();
  stages.clear();
  for (int64_t stage = 0, left = 1; left > 0; ++stage) {
    const size_t first_segment = segments.size(), first_task = tasks.size();
    int64_t end = tokens;
    left = 0;
    for (size_t i = spans.size(); i-- > 0;) {
      const auto own = static_cast<int64_t>(spans[i].tokens.size());
      if (own == 0) continue;
      const int64_t begin = end - own, before = indices[static_cast<size_t>(begin)];
      end = begin;
      // Tokens of the sequence where the segment begins and ends.
      const int64_t from = stage == 0 ? before : (before / step + stage) * step,
                    to = std::min(before + own, (before / step + stage + 1) * step);
      if (from >= before + own) continue;
      left += before + own - to;
      segments.push_back({begin + from - before, to - from, spans[i].sequence, from, is_counted_at_once(spans[i])});
      plan_tasks(segments.back());
    }
    stages.push_back({first_segment, segments.size() - first_segment, first_task, tasks.size() - first_task});
  }
}

// Whatever a pass looks like: all tokens that are read or none, so that their results do not depend on it.
bool Engine::State::takes_tiles(const Segment& segment) const {
  return tiles && segment.row >= generated;
}

// Later tokens see more, so they are begun first: the tasks that end a pass are short.
void Engine::State::plan_tasks(const Segment& segment) {
  const bool by_tiles = takes_tiles(segment);
  const int64_t rows = by_tiles ? kMostTileRows : kMostRows, begin = segment.row;
  const int64_t shared = config.heads / config.kv_heads, heads = std::min(shared, rows),
                step = std::max<int64_t>(1, rows / heads);
  for (int64_t last = begin + segment.count; last > begin; last -= std::min(step, last - begin)) {
    const int64_t count = std::min(step, last - begin);
    for (int64_t kv_head = 0; kv_head < config.kv_heads; ++kv_head) {
      for (int64_t head = 0; head < shared; head += heads)
        tasks.push_back({last - count, count, segment.sequence, kv_head, kv_head * shared + head,
                         std::min(heads, shared - head), by_tiles, segment.adds_columns, segment.index + last - begin});
    }
  }
}

// Angles are products of float32 numbers, as the reference makes them.
void Engine::State::fill_rotation(Rotation& table, const RopeConfig& rope, std::span<const TokenSpan> spans) {
  const auto factor = static_cast<float>(rope.attention_factor);
  int64_t row = 0;
  for (const TokenSpan& span : spans) {
    const int64_t total = decisive_length(rope, std::max(span.total, cache.length(span.sequence)));
    if (table.frequencies.empty() || table.length != total) {
      table.frequencies = rope_frequencies(rope, config.head_dim, total);
      table.half = static_cast<int64_t>(table.frequencies.size());
      table.length = total;
    }
    for (size_t i = 0; i < span.tokens.size(); ++i, ++row) {
      const auto position = static_cast<float>(places[static_cast<size_t>(row)]);
      float *cos = table.cos.data() + row * table.half, *sin = table.sin.data() + row * table.half;
      for (int64_t j = 0; j < table.half; ++j) {
        const float angle = position * static_cast<float>(table.frequencies[static_cast<size_t>(j)]);
        cos[j] = std::cos(angle) * factor;
        sin[j] = std::sin(angle) * factor;
      }
    }
  }
}

// Norm and rotation of one token's queries and keys.
void Engine::State::finish_heads(int64_t index, int64_t row) {
  const VectorKernels& kernels = vector_kernels();
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  Rotation& table = config.has_local_rope && config.is_sliding(index) ? local_rotation : rotation;
  const bool rotates_keys = !cache.is_rolling(sequences[static_cast<size_t>(row)]);
  const auto finish = [&](float* x, int64_t heads, const EngineNorm& norm, bool rotates) {
    for (int64_t head = 0; head < heads; ++head, x += config.head_dim) {
      if (!norm.gain.empty())
        kernels.rms_norm(x, norm.gain.data(), static_cast<float>(config.norm_eps), config.head_dim, x);
      if (rotates)
        kernels.rotate(x, table.cos.data() + row * table.half, table.sin.data() + row * table.half, table.half);
    }
  };
  float* const k = keys.data() + row * key_width;
  finish(queries.data() + row * query_width, config.heads, block.query_norm, config.has_rope);
  finish(k, config.kv_heads, block.key_norm, config.has_rope && rotates_keys);
}

void Engine::State::store_heads(int64_t index, int64_t row) {
  const auto place = static_cast<size_t>(row);
  cache.store(index, sequences[place], indices[place], keys.data() + row * key_width, values.data() + row * key_width);
}

AttentionTask Engine::State::attention_task(const Task& task, int64_t block, int worker) {
  std::vector<AttentionPage>& list = pages[static_cast<size_t>(worker)];
  const int64_t seen = cache.shape().is_coded() ? task.seen : cache.slots(task.sequence, block);
  const int64_t count = PagedCache::pages_of(seen);
  if (static_cast<int64_t>(list.size()) < count) list.resize(static_cast<size_t>(count));
  cache.view(task.sequence, 0, block, task.kv_head, seen, std::span(list).first(static_cast<size_t>(count)));
  AttentionTask work;
  work.q = queries.data() + task.row * query_width + task.head * config.head_dim;
  work.out = mixed.data() + task.row * query_width + task.head * config.head_dim;
  work.q_token = work.out_token = query_width;
  work.positions = positions.data() + task.row;
  work.tokens = task.count;
  work.group = task.heads;
  work.dim = config.head_dim;
  work.wide = cache.value_width();
  work.pages = list.data();
  work.page_count = count;
  work.scale = static_cast<float>(config.attention_scale > 0 ? config.attention_scale
                                                             : 1 / std::sqrt(static_cast<double>(config.head_dim)));
  work.softcap = static_cast<float>(config.attention_softcap);
  work.window = config.is_sliding(block) ? config.window : 0;
  work.queries = attention_room.data() + worker * attention_floats;
  work.scores = work.queries + task_rows * work.dim;
  work.mixed = work.scores + task_rows * kBlockKeys;
  work.tile_room = work.mixed + task_rows * work.wide;
  work.codes = cache.codes();
  if (work.codes != nullptr) work.expanded = expanded_room.data() + worker * expanded_floats(*work.codes);
  if (cache.is_rolling(task.sequence)) {
    work.turns = {turn_cos.data(), turn_sin.data(), rotation.half, turn_places,
                  turned[static_cast<size_t>(worker)].data()};
  }
  if (cache.counts_attention(task.sequence)) {
    work.row_state = row_state;
    work.token_state = config.heads * row_state;
    work.row_states = row_states.data() + task.row * work.token_state + task.head * row_state;
  }
  return work;
}

void Engine::State::attend(const Task& task, int64_t block, int worker) {
  AttentionTask work = attention_task(task, block, worker);
  if (task.adds_columns) {
    work.scores = column_scores[static_cast<size_t>(worker)].data();
    // Nobody asks for them later, and workers that write side by side would wait for each other's lines.
    work.row_states = work.scores + task.heads * column_slots;
    work.column_sums = cache.choice(task.sequence).head(block, task.kv_head).scores;
  }
  const VectorKernels& kernels = vector_kernels();
  const DType type = options.cache_type;
  const auto of_type = [type](auto f32, auto bf16, auto int8) {
    return type == DType::kF32 ? f32 : type == DType::kBF16 ? bf16 : int8;
  };
  const auto attend_task = task.by_tiles ? of_type(kernels.tile_f32, kernels.tile_bf16, kernels.tile_int8)
                                         : of_type(kernels.attend_f32, kernels.attend_bf16, kernels.attend_int8);
  attend_task(work);
  if (task.adds_columns && cache.drops_by_head(task.sequence)) cache.cut_head(task.sequence, block, task.kv_head);
}

void Engine::State::fetch_first_page(const Task& task, int64_t block) {
  const int64_t seen = cache.shape().is_coded() ? task.seen : cache.slots(task.sequence);
  const AttentionPage page = cache.view(task.sequence, 0, block, task.kv_head, seen);
  if (page.codes != nullptr) return;
  const auto bytes = dtype_size(options.cache_type) * kPageKeys;
  fetch(page.keys, bytes * config.head_dim);
  fetch(page.values, bytes * cache.value_width());
}

void Engine::State::attend(std::span<const Task> all, int64_t block) {
  int64_t work = 0;
  for (const Task& task : all) work += task.count * task.heads * cache.slots(task.sequence, block) * config.head_dim;
  constexpr int64_t kWorth = 50'000;
  const auto attend_one = [&](int64_t number, int worker) {
    // Short tasks wait for memory most: what comes next is asked for early.
    const auto next = static_cast<size_t>(number + pool.threads());
    if (next < all.size() && all[next].count == 1) fetch_first_page(all[next], block);
    attend(all[static_cast<size_t>(number)], block, worker);
  };
  if (work < kWorth) {
    for (size_t number = 0; number < all.size(); ++number) attend_one(static_cast<int64_t>(number), 0);
  } else {
    pool.run(static_cast<int64_t>(all.size()), attend_one);
  }
}

// Blocks of 64 tokens that are full now: nobody reads their floats any more.
void Engine::State::encode(std::span<const Segment> all, int64_t block) {
  full_segments.clear();
  for (size_t i = 0; i < all.size(); ++i)
    if ((all[i].index + all[i].count) % CodedPages::kTokens == 0) full_segments.push_back(static_cast<int64_t>(i));
  if (full_segments.empty()) return;
  const int64_t parts = cache.encoding_parts();
  pool.run(static_cast<int64_t>(full_segments.size()) * parts, [&](int64_t number, int worker) {
    const Segment& segment = all[static_cast<size_t>(full_segments[static_cast<size_t>(number / parts)])];
    // Values of all heads are the longest part.
    cache.encode(block, segment.sequence, segment.index / CodedPages::kTokens, parts - 1 - number % parts,
                 writers[static_cast<size_t>(worker)]);
  });
}

void Engine::State::attention(int64_t index, const float* input, float* out) {
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  const Product heads[] = {{block.query, queries.data()}, {block.key, keys.data()}, {block.value, values.data()}};
  multiply(heads, input, tokens, generated);
  const int64_t cost = 2 * (query_width + 4 * key_width);
  const bool is_single = stages.size() == 1;
  for (const int32_t sequence : early_cuts) cache.prepare_cut(sequence, index);
  for_rows(tokens, cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      finish_heads(index, row);
      if (is_single) store_heads(index, row);
    }
  });
  for (const Stage& stage : stages) {
    const auto own = std::span<const Segment>(segments).subspan(stage.first_segment, stage.segments);
    for (const Segment& segment : own) {
      if (is_single) break;
      for_rows(segment.count, cost, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) store_heads(index, segment.row + row);
      });
    }
    attend(std::span<const Task>(tasks).subspan(stage.first_task, stage.tasks), index);
    if (cache.shape().is_coded()) encode(own, index);
  }
  if (!counted.empty()) add_columns(index);
  if (!cuts.empty()) cut(index);
  const Product product(block.output, out);
  multiply({&product, 1}, mixed.data(), tokens, generated);
}

}  // namespace ockham
