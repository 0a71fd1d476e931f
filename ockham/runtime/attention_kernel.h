// Attention of a few queries over pages of keys and values, and the attention that keys receive; part of
// vector_kernel.h, which has the registers and the products.

// One row's scores of a block of keys become weights; what the row has so far is scaled where a higher score came.
// Unseen keys weigh exactly nothing, so that it does not matter which blocks a neighbour looks at.
struct RowState {
  float highest = kLowest, sum = 0;
};
OCKHAM_INLINE void raise(const AttentionTask& task, float top, RowState& state, float* mixed) {
  if (top <= state.highest) return;
  const float factor = std::exp2(state.highest - top);
  state.sum *= factor;
  for (int64_t d = 0; d < task.wide; d += kLanes) store(mixed + d, load<Vector>(mixed + d) * factor);
  state.highest = top;
}
// Where the row sees all kBlockKeys keys.
OCKHAM_INLINE void weigh_all(const AttentionTask& task, float* scores, RowState& state, float* mixed) {
  Vector most = Vector{} + state.highest;
  for (int64_t at = 0; at < kBlockKeys; at += kLanes) most = larger_of(most, load<Vector>(scores + at));
  const float top = largest_of(most);
  Vector total = {};
  for (int64_t at = 0; at < kBlockKeys; at += kLanes) {
    const Vector weight = power_of_two(load<Vector>(scores + at) - top);
    store(scores + at, weight);
    total += weight;
  }
  raise(task, top, state, mixed);
  state.sum += sum_of(total);
}
OCKHAM_INLINE void weigh(const AttentionTask& task, float* scores, const int32_t* positions, int64_t count,
                         int32_t position, RowState& state, float* mixed) {
  const int32_t oldest = task.window > 0 ? position - static_cast<int32_t>(task.window) : -1;
  Vector most = Vector{} + state.highest;
  for (int64_t at = 0; at < count; at += kLanes) {
    const Integers place = load<Integers>(positions + at);
    const Vector score = ((place <= position) & (place > oldest)) ? load<Vector>(scores + at) : Vector{} + kUnseen;
    store(scores + at, score);
    most = score > most ? score : most;
  }
  const float top = largest_of(most);
  Vector total = {};
  for (int64_t at = 0; at < count; at += kLanes) {
    const Vector score = load<Vector>(scores + at);
    const Vector power = power_of_two(score - top);
    const Vector weight = score == kUnseen ? Vector{} : power;
    store(scores + at, weight);
    total += weight;
  }
  raise(task, top, state, mixed);
  state.sum += sum_of(total);
}

// scores [kPageKeys of each row] times a factor for each key.
OCKHAM_INLINE void scale_keys(float* scores, int64_t rows, const float* factors) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kBlockKeys;
    for (int64_t at = 0; at < kPageKeys; at += kLanes)
      store(row + at, load<Vector>(row + at) * load<Vector>(factors + at));
  }
}

// Keys [D, 32] of one page rotated by their places.
template <typename Element>
OCKHAM_INLINE const float* turn_keys(const AttentionTask& task, const AttentionPage& page, const Element* keys) {
  const KeyTurns& turns = task.turns;
  bool follows = true;  // place after place
  for (int64_t k = 1; k < page.count; ++k) follows &= page.places[k] == page.places[0] + k;
  alignas(64) float cos[kPageKeys] = {}, sin[kPageKeys] = {};
  for (int64_t d = 0; d < turns.half; ++d) {
    const float *c = turns.cos + d * turns.stride, *s = turns.sin + d * turns.stride;
    if (follows) {
      c += page.places[0];
      s += page.places[0];
    } else {
      for (int64_t k = 0; k < page.count; ++k) {
        cos[k] = c[page.places[k]];
        sin[k] = s[page.places[k]];
      }
      c = cos;
      s = sin;
    }
    for (int64_t at = 0; at < kPageKeys; at += kLanes) {
      const Vector low = load_floats(keys + d * kPageKeys + at),
                   high = load_floats(keys + (turns.half + d) * kPageKeys + at);
      const Vector own_cos = load<Vector>(c + at), own_sin = load<Vector>(s + at);
      store(turns.room + d * kPageKeys + at, low * own_cos - high * own_sin);
      store(turns.room + (turns.half + d) * kPageKeys + at, high * own_cos + low * own_sin);
    }
  }
  for (int64_t at = 2 * turns.half * kPageKeys; at < task.dim * kPageKeys; at += kLanes)
    store(turns.room + at, load_floats(keys + at));
  return turns.room;
}

// scores [rows of kBlockKeys, 32] of keys [D, 32], from row `first` on.
template <typename Element>
OCKHAM_INLINE void score_keys(const AttentionTask& task, const AttentionPage& page, const Element* keys, int64_t first,
                              int64_t rows, float* scores, const Ahead& ahead) {
  const float* queries = task.queries + first * task.dim;
  float* to = scores + first * kBlockKeys;
  if (page.places != nullptr) {
    product(rows - first, queries, task.dim, turn_keys(task, page, keys), kPageKeys, task.dim, kPageKeys, to,
            kBlockKeys, false, ahead);
  } else {
    product(rows - first, queries, task.dim, keys, kPageKeys, task.dim, kPageKeys, to, kBlockKeys, false, ahead);
  }
}

#include "ockham/runtime/code_kernel.h"

// Products of some queries with pages. Pages lie anywhere, so the processor does not see coming what is read next:
// scores ask for the page's values, sums of values for the keys of the next block's page.
template <typename Element>
class PageProducts {
 public:
  // `rows` of the task's from `begin` on, for which queries were scaled.
  PageProducts(const AttentionTask& task, int64_t begin, int64_t rows) : task_(task), begin_(begin), rows_(rows) {}
  // scores [rows, kBlockKeys]
  OCKHAM_INLINE void score(const AttentionPage* pages, int64_t count, float* scores) {
    for (int64_t p = 0; p < count; ++p) {
      if constexpr (sizeof(Element) > 1) {
        if (pages[p].codes != nullptr) {
          const bool follows = p > 0 && pages[p].codes == pages[p - 1].codes;
          score_codes<Element>(task_, pages[p], rows_, scores + p * kPageKeys, follows);
          continue;
        }
      }
      score_page(pages[p], scores + p * kPageKeys);
    }
  }
  // What the pages' values come to is added to the task's rows.
  OCKHAM_INLINE void mix(const AttentionPage* pages, int64_t count, const float* weights) {
    [[maybe_unused]] alignas(64) float scaled[sizeof(Element) == 1 ? kMostRows * kBlockKeys : 1];
    const AttentionPage* const end = task_.pages + task_.page_count;
    for (int64_t p = 0; p < count; ++p) {
      const AttentionPage* next = pages + kBlockPages + p;
      const bool fetches = next < end && next->codes == nullptr;
      const Ahead ahead = fetches ? of_page(next->keys) : Ahead{};
      const float* own = weights + p * kPageKeys;
      if constexpr (sizeof(Element) > 1) {
        if (pages[p].codes != nullptr) {
          const bool follows = p > 0 && pages[p].codes == pages[p - 1].codes,
                     is_followed = p + 1 < count && pages[p].codes == pages[p + 1].codes;
          mix_codes<Element>(task_, pages[p], rows_, own, follows, is_followed);
          continue;
        }
      }
      if constexpr (sizeof(Element) == 1) {
        for (int64_t r = 0; r < rows_; ++r) std::copy_n(own + r * kBlockKeys, kPageKeys, scaled + r * kBlockKeys);
        scale_keys(scaled, rows_, pages[p].value_scales);
        own = scaled;
      }
      const int64_t first = first_row(pages[p]);
      product(rows_ - first, own + first * kBlockKeys, kBlockKeys, static_cast<const Element*>(pages[p].values),
              task_.wide, pages[p].count, task_.wide, task_.mixed + first * task_.wide, task_.wide, true, ahead);
    }
  }

 private:
  // Rows before it see nothing of the page, and their scores are never read.
  OCKHAM_INLINE int64_t first_row(const AttentionPage& page) const {
    int64_t row = 0;
    while (row + kHeight < rows_ && task_.positions[(begin_ + row + kHeight - 1) / task_.group] < page.first)
      row += kHeight;
    return row;
  }
  // Keys or values of a page: as many bytes as of the others go into each step of a product.
  OCKHAM_INLINE static Ahead of_page(const void* numbers) {
    return {static_cast<const char*>(numbers), kPageKeys * static_cast<int64_t>(sizeof(Element))};
  }
  OCKHAM_INLINE void score_page(const AttentionPage& page, float* scores) {
    score_keys(task_, page, static_cast<const Element*>(page.keys), first_row(page), rows_, scores,
               of_page(page.values));
    if constexpr (sizeof(Element) == 1) scale_keys(scores, rows_, page.key_scales);
  }

  const AttentionTask& task_;
  int64_t begin_, rows_;
};

// Scores of `rows` queries and up to kBlockPages pages, as exponents of 2; positions of the keys.
template <typename Products>
OCKHAM_INLINE void score_block(const AttentionTask& task, Products& products, const AttentionPage* pages, int64_t count,
                               int64_t rows, float* scores, int32_t* positions) {
  const int32_t unused = std::numeric_limits<int32_t>::max();
  products.score(pages, count, scores);
  for (int64_t p = 0; p < count; ++p) {
    float* own = scores + p * kPageKeys;
    for (int64_t r = 0; r < rows && (task.softcap > 0 || pages[p].logs != nullptr); ++r) {
      for (int64_t at = r * kBlockKeys; at < r * kBlockKeys + kPageKeys; at += kLanes) {
        Vector score = load<Vector>(own + at);
        if (task.softcap > 0) score = tanh_of(score / task.softcap) * (task.softcap * kLog2E);
        if (pages[p].logs != nullptr) score += load<Vector>(pages[p].logs + at - r * kBlockKeys);
        store(own + at, score);
      }
    }
    std::memcpy(positions + p * kPageKeys, pages[p].positions, sizeof(int32_t) * kPageKeys);
    std::fill(positions + p * kPageKeys + pages[p].count, positions + (p + 1) * kPageKeys, unused);
  }
}

// Scores of up to kBlockPages pages, weights, and their sum of values.
template <typename Products>
OCKHAM_INLINE void attend_block(const AttentionTask& task, Products& products, const AttentionPage* pages,
                                int64_t count, int64_t rows, RowState* states, float* block_scores) {
  alignas(64) int32_t positions[kBlockKeys];
  score_block(task, products, pages, count, rows, block_scores, positions);
  const bool is_whole = count == kBlockPages && pages[count - 1].count == kPageKeys;
  int32_t oldest = pages[0].first, newest = pages[0].last;
  for (int64_t p = 1; p < count; ++p) {
    oldest = std::min(oldest, pages[p].first);
    newest = std::max(newest, pages[p].last);
  }
  for (int64_t r = 0; r < rows; ++r) {
    float *scores = block_scores + r * kBlockKeys, *mixed = task.mixed + r * task.wide;
    const int32_t position = task.positions[r / task.group];
    const bool sees_all =
        is_whole && newest <= position && (task.window == 0 || oldest > position - static_cast<int32_t>(task.window));
    if (sees_all) {
      weigh_all(task, scores, states[r], mixed);
    } else {
      weigh(task, scores, positions, count * kPageKeys, position, states[r], mixed);
    }
  }
  products.mix(pages, count, block_scores);
}

struct PageSpan {
  int64_t begin, end;
};
// What of a block's pages some of the task's tokens may see.
OCKHAM_INLINE PageSpan seen_pages(const AttentionTask& task, int64_t first, int64_t tokens_end) {
  const int32_t newest = task.positions[tokens_end - 1];
  const int32_t oldest = task.window > 0 ? task.positions[0] - static_cast<int32_t>(task.window) : -1;
  PageSpan span = {first, std::min(first + kBlockPages, task.page_count)};
  while (span.begin < span.end && task.pages[span.end - 1].first > newest) --span.end;
  while (span.begin < span.end && task.pages[span.begin].last <= oldest) ++span.begin;
  return span;
}
// Rows [first, first + rows) of the task, scaled for scores that are exponents of 2 (or, capped, plain).
OCKHAM_INLINE void scale_queries(const AttentionTask& task, int64_t first, int64_t rows) {
  const float factor = task.softcap > 0 ? task.scale : task.scale * kLog2E;
  for (int64_t r = first; r < first + rows; ++r) {
    const float* query = task.q + r / task.group * task.q_token + r % task.group * task.dim;
    for (int64_t d = 0; d < task.dim; ++d) task.queries[(r - first) * task.dim + d] = query[d] * factor;
  }
}
// sums [count] += probabilities: weights of `rows` rows, each times its factor.
OCKHAM_INLINE void add_probabilities(const float* weights, const float* factors, int64_t rows, int64_t count,
                                     float* sums) {
  for (int64_t at = 0; at < count; at += kLanes) {
    Vector sum = {};
    for (int64_t r = 0; r < rows; ++r) sum += load<Vector>(weights + r * kBlockKeys + at) * factors[r];
    store(sums + at, load<Vector>(sums + at) + sum);
  }
}
OCKHAM_INLINE float* state_of(const AttentionTask& task, int64_t row) {
  return task.row_states + row / task.group * task.token_state + row % task.group * task.row_state;
}
// What weights of a block are multiplied by to be probabilities.
OCKHAM_INLINE float probability_factor(const float* state, int64_t first_page) {
  const float top = state[2 + first_page / kBlockPages];
  return top == state[0] ? state[1] : std::exp2(top - state[0]) * state[1];
}

template <typename Element>
void attend(const AttentionTask& task) {
  const int64_t rows = task.tokens * task.group;
  RowState states[kMostRows];
  scale_queries(task, 0, rows);
  PageProducts<Element> products(task, 0, rows);
  std::fill_n(task.mixed, rows * task.wide, 0.0F);
  float* scores = task.scores;
  for (int64_t first = 0; first < task.page_count; first += kBlockPages) {
    const auto [begin, end] = seen_pages(task, first, task.tokens);
    if (begin < end) attend_block(task, products, task.pages + begin, end - begin, rows, states, scores);
    if (task.column_sums != nullptr) scores += rows * kBlockKeys;
    for (int64_t r = 0; r < rows && task.row_states != nullptr; ++r)
      state_of(task, r)[2 + first / kBlockPages] = states[r].highest;
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* result = task.out + r / task.group * task.out_token + r % task.group * task.dim;
    const float inverse = 1.0F / states[r].sum;
    for (int64_t d = 0; d < task.dim; ++d) result[d] = task.mixed[r * task.wide + d] * inverse;
    if (task.row_states == nullptr) continue;
    state_of(task, r)[0] = states[r].highest;
    state_of(task, r)[1] = inverse;
  }
  if (task.column_sums == nullptr) return;
  scores = task.scores;
  for (int64_t first = 0; first < task.page_count; first += kBlockPages, scores += rows * kBlockKeys) {
    const auto [begin, end] = seen_pages(task, first, 1);
    float factors[kMostRows];
    for (int64_t r = 0; r < rows; ++r) factors[r] = probability_factor(state_of(task, r), first);
    add_probabilities(scores, factors, rows, (end - begin) * kPageKeys, task.column_sums + begin * kPageKeys);
  }
}

// Weights of one row of scores below `top`; unseen keys weigh nothing.
OCKHAM_INLINE void weigh_again(const AttentionTask& task, float* scores, const int32_t* positions, int64_t count,
                               int32_t position, float top) {
  const int32_t oldest = task.window > 0 ? position - static_cast<int32_t>(task.window) : -1;
  for (int64_t at = 0; at < count; at += kLanes) {
    const Integers place = load<Integers>(positions + at);
    const Vector power = power_of_two(load<Vector>(scores + at) - top);
    store(scores + at, ((place <= position) & (place > oldest)) ? power : Vector{});
  }
}

template <typename Element>
void add_columns(const AttentionTask& task, int64_t first_page, int64_t end_page) {
  const int64_t rows = task.tokens * task.group, part = std::min(task.group, kMostRows);
  const int64_t step = kMostRows / part * part;  // whole tokens, or the part of one
  alignas(64) int32_t positions[kBlockKeys];
  for (int64_t row = 0, count = 0; row < rows; row += count) {
    count = std::min(step, task.group > kMostRows ? task.group - row % task.group : rows - row);
    scale_queries(task, row, count);
    PageProducts<Element> products(task, row, count);
    for (int64_t first = first_page; first < end_page; first += kBlockPages) {
      const auto [begin, end] = seen_pages(task, first, (row + count - 1) / task.group + 1);
      if (begin == end) continue;
      score_block(task, products, task.pages + begin, end - begin, count, task.scores, positions);
      const int64_t keys = (end - begin) * kPageKeys;
      for (int64_t r = 0, own = 0; r < count; r += own) {
        own = std::min(part, count - r);
        float factors[kMostRows];
        for (int64_t i = 0; i < own; ++i) {
          const float* state = state_of(task, row + r + i);
          weigh_again(task, task.scores + (r + i) * kBlockKeys, positions, keys, task.positions[(row + r) / task.group],
                      state[2 + first / kBlockPages]);
          factors[i] = probability_factor(state, first);
        }
        add_probabilities(task.scores + r * kBlockKeys, factors, own, keys, task.column_sums + begin * kPageKeys);
      }
    }
  }
}

int64_t lowest(const float* scores, const int32_t* positions, int64_t count, int32_t first, int32_t end) {
  constexpr int32_t kNone = std::numeric_limits<int32_t>::max();
  constexpr float kMost = std::numeric_limits<float>::infinity();
  float best = kMost;
  int32_t best_position = kNone;
  int64_t result = -1;
  const auto take = [&](float score, int32_t position, int64_t at) {
    if (position < first || position >= end || score > best) return;
    if (score == best && position >= best_position) return;
    best = score;
    best_position = position;
    result = at;
  };
  Vector lowest_scores = Vector{} + kMost;
  Integers at_positions = Integers{} + kNone, places = {};
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    const Vector score = load<Vector>(scores + at);
    const Integers position = load<Integers>(positions + at);
    const Integers is_lower = (position >= first) & (position < end) &
                              ((score < lowest_scores) | ((score == lowest_scores) & (position < at_positions)));
    lowest_scores = is_lower ? score : lowest_scores;
    at_positions = is_lower ? position : at_positions;
    places = is_lower ? Integers{} + static_cast<int32_t>(at) : places;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) take(lowest_scores[lane], at_positions[lane], places[lane] + lane);
  for (; at < count; ++at) take(scores[at], positions[at], at);
  return result;
}
