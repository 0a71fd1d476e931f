// Attention of a few queries over pages of keys and values, and the attention that keys receive; part of
// vector_kernel.h, which has the registers and the products.

#include "ockham/runtime/attention_weights_kernel.h"
#include "ockham/runtime/page_products_kernel.h"

// Meanwhile results below the least normal number are zero, which a processor takes a hundred cycles each for
// otherwise. Where attention is peaked, most probabilities are as small.
class TinyIsZero {
#if defined(__x86_64__)
 public:
  TinyIsZero() : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON);
  }
  ~TinyIsZero() {
    _mm_setcsr(before_);
  }
  TinyIsZero(const TinyIsZero&) = delete;
  TinyIsZero& operator=(const TinyIsZero&) = delete;

 private:
  unsigned before_;
#endif
};

// Positions of the keys of up to kBlockPages pages; of what is not in use one that nobody sees.
OCKHAM_INLINE void copy_positions(const AttentionPage* pages, int64_t count, int32_t* positions) {
  constexpr int32_t kUnused = std::numeric_limits<int32_t>::max();
  for (int64_t p = 0; p < count; ++p) {
    std::memcpy(positions + p * kPageKeys, pages[p].positions, sizeof(int32_t) * kPageKeys);
    std::fill(positions + p * kPageKeys + pages[p].count, positions + (p + 1) * kPageKeys, kUnused);
  }
}
// Scores of `rows` queries and up to kBlockPages pages, as exponents of 2.
template <typename Products>
OCKHAM_INLINE void score_block(const AttentionTask& task, Products& products, const AttentionPage* pages, int64_t count,
                               int64_t rows, float* scores) {
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
  }
}

// Scores of up to kBlockPages pages, weights, and their sum of values.
template <typename Products>
OCKHAM_INLINE void attend_block(const AttentionTask& task, Products& products, const AttentionPage* pages,
                                int64_t count, int64_t rows, RowState* states, float* block_scores) {
  alignas(64) int32_t positions[kBlockKeys];
  bool has_positions = false;  // most rows see all keys: positions would come from memory for nothing
  score_block(task, products, pages, count, rows, block_scores);
  const bool is_whole = count == kBlockPages && pages[count - 1].count == kPageKeys;
  int32_t oldest = pages[0].first, newest = pages[0].last;
  for (int64_t p = 1; p < count; ++p) {
    oldest = std::min(oldest, pages[p].first);
    newest = std::max(newest, pages[p].last);
  }
  for (int64_t r = 0; r < rows; ++r) {
    float *scores = block_scores + r * kBlockKeys, *mixed = task.mixed + r * task.wide;
    const int32_t position = task.positions[r / task.group];
    if (task.column_sums != nullptr) fetch_to_write(scores + rows * kBlockKeys, kBlockKeys * sizeof(float));
    const bool sees_all =
        is_whole && newest <= position && (task.window == 0 || oldest > position - static_cast<int32_t>(task.window));
    if (sees_all) {
      weigh_all(task, scores, states[r], mixed);
    } else {
      if (!has_positions) copy_positions(pages, count, positions);
      has_positions = true;
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
OCKHAM_INLINE float* state_of(const AttentionTask& task, int64_t row) {
  return task.row_states + row / task.group * task.token_state + row % task.group * task.row_state;
}
// What weights of a block and of `rows` of the task's from `begin` on are multiplied by to be probabilities.
OCKHAM_INLINE void probability_factors(const AttentionTask& task, int64_t begin, int64_t rows, int64_t first_page,
                                       float* factors) {
  alignas(64) float below[kMostRows] = {}, inverse[kMostRows] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const float* state = state_of(task, begin + r);
    below[r] = state[2 + first_page / kBlockPages] - state[0];
    inverse[r] = state[1];
  }
  for (int64_t r = 0; r < rows; r += kLanes)
    store(factors + r, power_of_two(load<Vector>(below + r)) * load<Vector>(inverse + r));
}

template <typename Products>
void attend_with(const AttentionTask& task) {
  [[maybe_unused]] const TinyIsZero mode;
  const int64_t rows = task.tokens * task.group;
  RowState states[kMostTileRows];
  scale_queries(task, 0, rows);
  Products products(task, 0, rows);
  std::fill_n(task.mixed, rows * task.wide, 0.0F);
  float* scores = task.scores;
  for (int64_t first = 0; first < task.page_count; first += kBlockPages) {
    const auto [begin, end] = seen_pages(task, first, task.tokens);
    if (begin < end) attend_block(task, products, task.pages + begin, end - begin, rows, states, scores);
    if (task.column_sums != nullptr) {
      // Where the sums go, and what a choice by them reads beside.
      constexpr int64_t kBytes = kBlockKeys * static_cast<int64_t>(sizeof(float));
      fetch(task.column_sums + first * kPageKeys, kBytes);
      fetch(task.pages[first].positions, kBytes);
      scores += rows * kBlockKeys;
    }
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
    probability_factors(task, 0, rows, first, factors);
    add_probabilities(scores, factors, rows, (end - begin) * kPageKeys, task.column_sums + begin * kPageKeys);
  }
}

template <typename Element>
void attend(const AttentionTask& task) {
  attend_with<PageProducts<Element>>(task);
}

template <typename Element>
void add_columns(const AttentionTask& task, int64_t first_page, int64_t end_page) {
  [[maybe_unused]] const TinyIsZero mode;
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
      score_block(task, products, task.pages + begin, end - begin, count, task.scores);
      copy_positions(task.pages + begin, end - begin, positions);
      const int64_t keys = (end - begin) * kPageKeys;
      for (int64_t r = 0, own = 0; r < count; r += own) {
        own = std::min(part, count - r);
        float factors[kMostRows];
        for (int64_t i = 0; i < own; ++i) {
          const float* state = state_of(task, row + r + i);
          weigh_again(task, task.scores + (r + i) * kBlockKeys, positions, keys, task.positions[(row + r) / task.group],
                      state[2 + first / kBlockPages]);
        }
        probability_factors(task, row + r, own, first, factors);
        add_probabilities(task.scores + r * kBlockKeys, factors, own, keys, task.column_sums + begin * kPageKeys);
      }
    }
  }
}
