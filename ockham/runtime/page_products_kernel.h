// Products of queries with the keys of a page and of weights with its values, whatever a page holds; part of
// vector_kernel.h.

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
