// Attention of a pass: rotations, keys and values into the cache, then queries against its pages.
#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
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
    if (span.is_generated) {
      OCKHAM_CHECK(generated == tokens);
      generated += own;
    }
    for (int64_t i = 0; i < own; ++i, ++tokens) {
      const auto row = static_cast<size_t>(tokens);
      positions[row] = position++;
      sequences[row] = span.sequence;
      indices[row] = index++;
    }
  }
  plan_tasks(spans);
  if (!config.has_rope) return;
  fill_rotation(rotation, config.rope, spans);
  if (config.has_local_rope) fill_rotation(local_rotation, config.local_rope, spans);
}

// Later tokens see more, so they are begun first: the tasks that end a pass are short.
void Engine::State::plan_tasks(std::span<const TokenSpan> spans) {
  const int64_t shared = config.heads / config.kv_heads, heads = std::min(shared, kMostRows);
  const int64_t step = std::max<int64_t>(1, kMostRows / heads);
  tasks.clear();
  int64_t end = tokens;
  for (size_t i = spans.size(); i-- > 0;) {
    const int64_t begin = end - static_cast<int64_t>(spans[i].tokens.size());
    for (int64_t last = end; last > begin; last -= std::min(step, last - begin)) {
      const int64_t count = std::min(step, last - begin);
      for (int64_t kv_head = 0; kv_head < config.kv_heads; ++kv_head) {
        for (int64_t head = 0; head < shared; head += heads)
          tasks.push_back({last - count, count, spans[i].sequence, kv_head, kv_head * shared + head,
                           std::min(heads, shared - head)});
      }
    }
    end = begin;
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
      const auto position = static_cast<float>(positions[static_cast<size_t>(row)]);
      float *cos = table.cos.data() + row * table.half, *sin = table.sin.data() + row * table.half;
      for (int64_t j = 0; j < table.half; ++j) {
        const float angle = position * static_cast<float>(table.frequencies[static_cast<size_t>(j)]);
        cos[j] = std::cos(angle) * factor;
        sin[j] = std::sin(angle) * factor;
      }
    }
  }
}

// Norm and rotation of one token's queries and keys; keys and values into the cache.
void Engine::State::finish_heads(int64_t index, int64_t row) {
  const VectorKernels& kernels = vector_kernels();
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  Rotation& table = config.has_local_rope && config.is_sliding(index) ? local_rotation : rotation;
  const auto finish = [&](float* x, int64_t heads, const EngineNorm& norm) {
    for (int64_t head = 0; head < heads; ++head, x += config.head_dim) {
      if (!norm.gain.empty())
        kernels.rms_norm(x, norm.gain.data(), static_cast<float>(config.norm_eps), config.head_dim, x);
      if (config.has_rope)
        kernels.rotate(x, table.cos.data() + row * table.half, table.sin.data() + row * table.half, table.half);
    }
  };
  float* const k = keys.data() + row * key_width;
  finish(queries.data() + row * query_width, config.heads, block.query_norm);
  finish(k, config.kv_heads, block.key_norm);
  const auto place = static_cast<size_t>(row);
  cache.store(index, sequences[place], indices[place], k, values.data() + row * key_width);
}

void Engine::State::attend(const Task& task, int64_t block, int worker) {
  std::vector<AttentionPage>& list = pages[static_cast<size_t>(worker)];
  const int64_t count = cache.views(task.sequence);
  if (static_cast<int64_t>(list.size()) < count) list.resize(static_cast<size_t>(count));
  for (int64_t page = 0; page < count; ++page)
    list[static_cast<size_t>(page)] = cache.view(task.sequence, page, block, task.kv_head);
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
  work.scores = work.queries + kMostRows * work.dim;
  work.mixed = work.scores + kMostRows * kBlockKeys;
  const VectorKernels& kernels = vector_kernels();
  const DType type = options.cache_type;
  (type == DType::kF32 ? kernels.attend_f32 : type == DType::kBF16 ? kernels.attend_bf16 : kernels.attend_int8)(work);
}

void Engine::State::attention(int64_t index, const float* input, float* out) {
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  const Product heads[] = {{block.query, queries.data()}, {block.key, keys.data()}, {block.value, values.data()}};
  multiply(heads, input, tokens, generated);
  for_rows(tokens, 2 * (query_width + 4 * key_width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) finish_heads(index, row);
  });
  int64_t work = 0;
  for (const Task& task : tasks) work += task.count * task.heads * cache.length(task.sequence) * config.head_dim;
  constexpr int64_t kWorth = 50'000;
  const auto attend_all = [&](int64_t number, int worker) {
    attend(tasks[static_cast<size_t>(number)], index, worker);
  };
  if (work < kWorth) {
    for (size_t number = 0; number < tasks.size(); ++number) attend_all(static_cast<int64_t>(number), 0);
  } else {
    pool.run(static_cast<int64_t>(tasks.size()), attend_all);
  }
  const Product product(block.output, out);
  multiply({&product, 1}, mixed.data(), tokens, generated);
}

}  // namespace ockham
