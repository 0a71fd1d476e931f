// Attention over pages in codes (kv_codes.h), a part of vector_kernel.h: half a page is expanded to floats, which stay
// in the first cache, and multiplied like a page of floats; corrections of low rank are multiplied beside it.

using Words = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
using Octets = uint8_t __attribute__((vector_size(kLanes)));

// GCC 12 widens bytes one by one, and knows float16 not at all.
template <int kCount = kLanes>
OCKHAM_INLINE Words widened(const uint8_t* from) {
#if defined(__x86_64__)
  if constexpr (kCount == 16) return same_bits<Words>(_mm512_cvtepu8_epi32(load<__m128i>(from)));
  if constexpr (kCount == 8) return same_bits<Words>(_mm256_cvtepu8_epi32(_mm_loadu_si64(from)));
#endif
  return __builtin_convertvector(load<Octets>(from), Words);
}
// float16, finite
template <int kCount = kLanes>
OCKHAM_INLINE Vector load_half_floats(const uint8_t* from) {
#if defined(__x86_64__)
  if constexpr (kCount == 16) return same_bits<Vector>(_mm512_cvtph_ps(load<__m256i>(from)));
  if constexpr (kCount == 8) return same_bits<Vector>(_mm256_cvtph_ps(load<__m128i>(from)));
#endif
  const Integers wide = __builtin_convertvector(load<Halves>(from), Integers), size = (wide & 0x7fff) << 13;
  return same_bits<Vector>(same_bits<Integers>(same_bits<Vector>(size) * 0x1p112F) | (wide & 0x8000) << 16);
}
// `count` floats at `to`, which has room for whole registers.
OCKHAM_INLINE void expand_half_floats(const uint8_t* from, int64_t count, float* to) {
  for (int64_t at = 0; at < count; at += kLanes) store(to + at, load_half_floats(from + 2 * at));
}
OCKHAM_INLINE void expand_bytes(const int8_t* from, int64_t count, float* to) {
  for (int64_t at = 0; at < count; at += kLanes) store(to + at, load_floats(from + at));
}
// Field `kField` of words, lowest first, that no other bit of `kWidth` lies above: the code itself.
template <int kBits, int kField, int kWidth>
OCKHAM_INLINE Vector field_of(const Words& words) {
  Words code = words >> (kField * kBits);
  if constexpr ((kField + 1) * kBits < kWidth) code &= (1U << kBits) - 1;
  return __builtin_convertvector(load<Integers>(&code), Vector);
}
// body(field) for each, with the number as a type.
template <int... kFields, typename Body>
OCKHAM_INLINE void for_fields(std::integer_sequence<int, kFields...>, const Body& body) {
  (body(std::integral_constant<int, kFields>()), ...);
}

// What a task expands pages into. All of it in AttentionTask::expanded.
struct CodeRoom {
  float *numbers, *steps, *minima, *left, *right, *product, *other;  // other: of a second half
  int64_t rank;                                                      // rounded up to 4
  explicit CodeRoom(const AttentionTask& task) {
    const KvCodeLayout& layout = *task.codes;
    const int64_t scales = std::max(layout.key_groups * (layout.dim + 16), layout.value_groups * kPageKeys);
    rank = (layout.rank + 3) / 4 * 4;
    numbers = task.expanded;
    steps = numbers + (layout.wide + 15) * kPageKeys;
    minima = steps + scales;
    left = minima + scales;
    right = left + rank * kPageKeys;
    product = right + rank * layout.wide + 16;
    other = product + rank * kMostRows;
  }
};

// Keys [D, 32]; a channel's scale is one number for each group of tokens.
template <int kBits>
void expand_channels(const KvCodeLayout& layout, const uint8_t* words, int64_t first_token, const CodeRoom& room) {
  constexpr int kFields = 32 / kBits;
  for (int64_t at = 0; at < kPageKeys; at += kLanes) {
    const int64_t group = (first_token + at) / layout.key_group * (layout.dim + 16);
    for (int64_t row = 0; row < layout.key_words; ++row) {
      // Channels behind the last have room, too.
      const float *step = room.steps + group + row * kFields, *minimum = room.minima + group + row * kFields;
      const Words word = load<Words>(words + 4 * (row * kPageKeys + at));
      float* const to = room.numbers + row * kFields * kPageKeys + at;
      for_fields(std::make_integer_sequence<int, kFields>(), [&](auto field) OCKHAM_LAMBDA_INLINE {
        store(to + field * kPageKeys, field_of<kBits, field, 32>(word) * step[field] + minimum[field]);
      });
    }
  }
}
// The same where each token has its scale for each group of channels.
template <int kBits>
void expand_key_tokens(const KvCodeLayout& layout, const uint8_t* words, const CodeRoom& room) {
  constexpr int kFields = 32 / kBits;
  static_assert(kFields <= 16);  // which the least group is
  for (int64_t row = 0; row < layout.key_words; ++row) {
    const int64_t group = std::min(row * kFields / layout.key_group, layout.key_groups - 1) * kPageKeys;
    for (int64_t at = 0; at < kPageKeys; at += kLanes) {
      const Vector step = load<Vector>(room.steps + group + at), minimum = load<Vector>(room.minima + group + at);
      const Words word = load<Words>(words + 4 * (row * kPageKeys + at));
      float* const to = room.numbers + row * kFields * kPageKeys + at;
      for_fields(std::make_integer_sequence<int, kFields>(), [&](auto field) OCKHAM_LAMBDA_INLINE {
        store(to + field * kPageKeys, field_of<kBits, field, 32>(word) * step + minimum);
      });
    }
  }
}
// Values [32, W].
template <int kBits>
void expand_value_tokens(const KvCodeLayout& layout, const uint8_t* codes, const CodeRoom& room) {
  constexpr int kFields = 8 / kBits;
  const int64_t chunks = layout.wide / 16, line = layout.value_units * 16;
  for (int64_t unit = 0; unit < layout.value_units; ++unit) {
    int64_t group[kFields];
    // Behind the last channel stand zeros, of any group.
    for (int i = 0; i < kFields; ++i)
      group[i] = std::min((unit * kFields + i) * 16 / layout.value_group, layout.value_groups - 1) * kPageKeys;
    const int64_t own = std::min<int64_t>(kFields, chunks - unit * kFields);
    float* const to = room.numbers + unit * kFields * 16;
    for (int64_t token = 0; token < kPageKeys; ++token) {
      for (int64_t at = 0; at < 16; at += kLanes) {
        const Words word = widened(codes + token * line + unit * 16 + at);
        for_fields(std::make_integer_sequence<int, kFields>(), [&](auto field) OCKHAM_LAMBDA_INLINE {
          if (field >= own) return;
          const int64_t scale = group[field] + token;
          store(to + token * layout.wide + field * 16 + at,
                field_of<kBits, field, 8>(word) * room.steps[scale] + room.minima[scale]);
        });
      }
    }
  }
}

// Outliers of a half in their places. `list`: of all lists, those of keys first.
template <typename Element>
OCKHAM_INLINE void place_outliers(const KvCodeLayout& layout, const uint8_t* page, int64_t list, float* numbers) {
  if (layout.all_outliers() == 0) return;
  const auto* const starts = reinterpret_cast<const uint32_t*>(page + layout.outlier_starts) + list;
  const auto* const places = reinterpret_cast<const uint16_t*>(page + layout.outlier_places);
  const auto* const values = reinterpret_cast<const Element*>(page + layout.outlier_values);
  for (uint32_t i = starts[0]; i < starts[1]; ++i) {
    if constexpr (sizeof(Element) == 2) {
      const uint32_t bits = uint32_t{values[i]} << 16;
      numbers[places[i]] = load<float>(&bits);
    } else {
      numbers[places[i]] = values[i];
    }
  }
}

template <size_t kStep, size_t... kPlaces>
OCKHAM_INLINE Vector folded(const Vector& a, const Vector& b, std::index_sequence<kPlaces...>) {
  constexpr auto kFrom = [](size_t place, size_t part) {
    return (place & ~(2 * kStep - 1)) + part * kStep + (place & (kStep - 1)) + ((place & kStep) != 0 ? kLanes : 0);
  };
  return __builtin_shufflevector(a, b, kFrom(kPlaces, 0)...) + __builtin_shufflevector(a, b, kFrom(kPlaces, 1)...);
}
// The sums of four vectors.
OCKHAM_INLINE void store_sums(const Vector (&v)[4], float* to) {
  constexpr auto kAll = std::make_index_sequence<kLanes>{};
  Vector sum = folded<2>(folded<1>(v[0], v[1], kAll), folded<1>(v[2], v[3], kAll), kAll);
  if constexpr (kLanes >= 16) sum += exchanged<8>(sum, kAll);
  if constexpr (kLanes >= 8) sum += exchanged<4>(sum, kAll);
  std::memcpy(to, &sum, 4 * sizeof(float));
}
// c [kRows, 4] = a [kRows, depth] b [4, depth], transposed.
template <int kRows>
OCKHAM_INLINE void multiply_four(const float* a, int64_t a_row, int64_t depth, const float* b, float* c,
                                 int64_t c_row) {
  Vector sums[kRows][4] = {};
  int64_t at = 0;
  for (; at + kLanes <= depth; at += kLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Vector right = load<Vector>(b + i * depth + at);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sums[r][i] += load<Vector>(a + r * a_row + at) * right;
    }
  }
  for (int i = 0; i < 4 && at < depth; ++i) {
    const Vector right = load_part(b + i * depth + at, depth - at);
    for (int r = 0; r < kRows; ++r) sums[r][i] += load_part(a + r * a_row + at, depth - at) * right;
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) store_sums(sums[r], c + r * c_row);
}
// c [rows, rank] = a [rows, depth] b [rank, depth], transposed. rank: a multiple of 4.
OCKHAM_INLINE void multiply_narrow(int64_t rows, const float* a, int64_t a_row, int64_t depth, const float* b,
                                   int64_t rank, float* c) {
  for (int64_t j = 0; j < rank; j += 4) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) multiply_four<4>(a + r * a_row, a_row, depth, b + j * depth, c + r * rank + j, rank);
    for (; r < rows; ++r) multiply_four<1>(a + r * a_row, a_row, depth, b + j * depth, c + r * rank + j, rank);
  }
}
// The correction of a half: left [rank, 32] times what its products are multiplied by, right [rank, columns], zeros
// behind the last.
OCKHAM_INLINE void expand_left(const KvCodeLayout& layout, const uint8_t* from, int64_t half, int64_t columns,
                               const CodeRoom& room) {
  const int64_t rank = layout.rank;
  const auto* const bytes = reinterpret_cast<const int8_t*>(from) + half * rank * kPageKeys;
  const auto* const factors = reinterpret_cast<const float*>(from + (rank * (2 * kPageKeys + columns) + 3) / 4 * 4);
  for (int64_t j = 0; j < rank; ++j) {
    for (int64_t at = 0; at < kPageKeys; at += kLanes)
      store(room.left + j * kPageKeys + at, load_floats(bytes + j * kPageKeys + at) * factors[j]);
  }
  if (rank < room.rank) std::fill(room.left + rank * kPageKeys, room.left + room.rank * kPageKeys, 0.0F);
}
OCKHAM_INLINE void expand_right(const KvCodeLayout& layout, const uint8_t* from, int64_t columns,
                                const CodeRoom& room) {
  const int64_t rank = layout.rank;
  expand_bytes(reinterpret_cast<const int8_t*>(from) + 2 * rank * kPageKeys, rank * columns, room.right);
  if (rank < room.rank) std::fill(room.right + rank * columns, room.right + room.rank * columns, 0.0F);
}

template <int kBits>
OCKHAM_INLINE void expand_keys(const KvCodeLayout& layout, const AttentionPage& page, const CodeRoom& room) {
  const uint8_t* const head = page.codes + page.head * layout.head_bytes;
  const uint8_t* const half = head + page.half * layout.half_bytes;
  if (layout.by_token) {
    const int64_t count = layout.key_groups * kPageKeys;
    expand_half_floats(half + layout.token_key_scales, count, room.steps);
    expand_half_floats(half + layout.token_key_scales + 2 * count, count, room.minima);
    return expand_key_tokens<kBits>(layout, half, room);
  }
  const int64_t row = layout.dim + 16, first = page.half * kPageKeys;
  for (int64_t group = first / layout.key_group; group * layout.key_group < first + kPageKeys; ++group) {
    const uint8_t* const steps = head + layout.key_scales + 2 * group * layout.dim;
    expand_half_floats(steps, layout.dim, room.steps + group * row);
    expand_half_floats(steps + 2 * layout.key_groups * layout.dim, layout.dim, room.minima + group * row);
  }
  expand_channels<kBits>(layout, half, first, room);
}
template <int kBits>
OCKHAM_INLINE void expand_values(const KvCodeLayout& layout, const AttentionPage& page, const CodeRoom& room) {
  const uint8_t* const half = page.codes + page.head * layout.head_bytes + page.half * layout.half_bytes;
  const int64_t count = layout.value_groups * kPageKeys;
  expand_half_floats(half + layout.value_scales, count, room.steps);
  expand_half_floats(half + layout.value_scales + 2 * count, count, room.minima);
  expand_value_tokens<kBits>(layout, half + layout.value_codes, room);
}

// Where the next record of codes is, null where none follows. `follows`: the page is the second half of its own.
OCKHAM_INLINE const AttentionPage* next_record(const AttentionTask& task, const AttentionPage& page, bool follows) {
  const int64_t halves = task.codes->by_token ? 1 : 2;
  const AttentionPage* const next = &page + halves - (follows ? 1 : 0);
  return next >= task.pages + task.page_count || next->codes == nullptr ? nullptr : next;
}
// The same head of it, or half of that: products with both halves of a block ask for it.
OCKHAM_INLINE Ahead next_codes(const AttentionTask& task, const AttentionPage* next, bool follows) {
  constexpr int64_t kLine = 64;
  if (next == nullptr) return {};
  const int64_t halves = task.codes->by_token ? 1 : 2, bytes = task.codes->head_bytes;
  const int64_t step = ceil_div(ceil_div(bytes, halves * task.dim), kLine) * kLine;
  const auto* const from = reinterpret_cast<const char*>(next->codes + next->head * bytes);
  return {from + (follows ? step * task.dim : 0), step};
}
// And its outliers, which lie behind all heads: those of keys with the first half, of values with the second. How many
// of a token's outliers are in which head is open, so about as many as of each.
OCKHAM_INLINE void fetch_outliers(const KvCodeLayout& layout, const AttentionPage* next, bool follows) {
  constexpr int64_t kLine = 64;
  if (next == nullptr || layout.all_outliers() == 0) return;
  const int64_t keys = 2 * layout.key_outliers * layout.dim,
                values = 2 * layout.value_outliers * layout.tokens() / layout.heads;
  const int64_t first = follows ? keys * layout.heads + values * next->head : keys * next->head,
                count = follows ? values : keys, size = layout.element_bytes();
  if (!follows) fetch(next->codes + layout.outlier_starts, 4 * (4 * layout.heads + 2) + kLine);
  fetch(next->codes + layout.outlier_places + 2 * first, 2 * count + kLine);
  fetch(next->codes + layout.outlier_values + size * first, size * count + kLine);
}

// scores [rows of kBlockKeys, 32]. `follows`: the page before, with the same rows, was the other half.
template <typename Element>
void score_codes(const AttentionTask& task, const AttentionPage& page, int64_t rows, float* scores, bool follows) {
  const KvCodeLayout& layout = *task.codes;
  const CodeRoom room(task);
  layout.bits == 2   ? expand_keys<2>(layout, page, room)
  : layout.bits == 4 ? expand_keys<4>(layout, page, room)
                     : expand_keys<8>(layout, page, room);
  place_outliers<Element>(layout, page.codes, int64_t{2} * page.head + page.half, room.numbers);
  // Beside outliers there are corrections: their factors come between the writing of numbers one by one and the reading
  // of whole registers, which would wait for it.
  if (layout.rank > 0) {
    const uint8_t* const correction = page.codes + page.head * layout.head_bytes + layout.key_correction;
    expand_left(layout, correction, page.half, task.dim, room);
    if (!follows) {
      expand_right(layout, correction, task.dim, room);
      multiply_narrow(rows, task.queries, task.dim, task.dim, room.right, room.rank, room.product);
    }
  }
  const AttentionPage* const next = next_record(task, page, follows);
  fetch_outliers(layout, next, follows);
  score_keys<float>(task, page, room.numbers, 0, rows, scores, next_codes(task, next, follows));
  if (layout.rank > 0)
    product(rows, room.product, room.rank, room.left, kPageKeys, room.rank, kPageKeys, scores, kBlockKeys, true);
}
// mixed [rows, W] += weights [rows of kBlockKeys, 32] values. Both halves of a block have the same right factor:
// `follows`: the page before was the other half and left its products with the left one; `is_followed`: so does this.
template <typename Element>
void mix_codes(const AttentionTask& task, const AttentionPage& page, int64_t rows, const float* weights, bool follows,
               bool is_followed) {
  const KvCodeLayout& layout = *task.codes;
  const CodeRoom room(task);
  layout.bits == 2   ? expand_values<2>(layout, page, room)
  : layout.bits == 4 ? expand_values<4>(layout, page, room)
                     : expand_values<8>(layout, page, room);
  place_outliers<Element>(layout, page.codes, 2 * (layout.heads + page.head) + 1 + page.half, room.numbers);
  const uint8_t* const correction = page.codes + page.head * layout.head_bytes + layout.value_correction;
  if (layout.rank > 0) {
    expand_left(layout, correction, page.half, task.wide, room);
    float* const own = follows ? room.other : room.product;
    multiply_narrow(rows, weights, kBlockKeys, kPageKeys, room.left, room.rank, own);
    for (int64_t i = 0; i < rows * room.rank && follows; ++i) room.product[i] += own[i];
  }
  product(rows, weights, kBlockKeys, room.numbers, task.wide, page.count, task.wide, task.mixed, task.wide, true);
  if (layout.rank == 0 || is_followed) return;
  expand_right(layout, correction, task.wide, room);
  product(rows, room.product, room.rank, room.right, task.wide, room.rank, task.wide, task.mixed, task.wide, true);
}
