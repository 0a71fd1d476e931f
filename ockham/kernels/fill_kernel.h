// Inputs rounded for integer weights, or put in order for floating-point ones. Plain loops that the compiler turns into
// the vectors of each target.

constexpr int64_t kMostGroup = 512;  // columns of one step size, so that sums of a group fit 32 bits

// The bits of numbers without sign are in the order of the numbers, and compilers turn the largest of integers into
// vectors, that of floats not.
OCKHAM_INLINE float largest_of(const float* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t size = std::bit_cast<int32_t>(x[i]) & 0x7fffffff;
    largest = largest < size ? size : largest;
  }
  return std::bit_cast<float>(largest);
}

// Nearest whole number of a float below 2^22 in size, ties to even.
OCKHAM_INLINE int32_t nearest(float value) {
  constexpr float kShift = 12582912;  // 1.5 * 2^23
  return std::bit_cast<int32_t>(value + kShift) - std::bit_cast<int32_t>(kShift);
}

// Codes of one group; their sum. `low` is null for 8 bits.
inline int32_t round_group(const float* x, int64_t count, float steps_per_one, int8_t* high, int8_t* low) {
  int32_t sum = 0;
  if (low == nullptr) {
    for (int64_t i = 0; i < count; ++i) {
      const int32_t n = nearest(x[i] * steps_per_one);
      high[i] = static_cast<int8_t>(n);
      sum += n;
    }
    return sum;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int32_t n = nearest(x[i] * steps_per_one), upper = (n + 64) >> 7;
    high[i] = static_cast<int8_t>(upper);
    low[i] = static_cast<int8_t>(n - upper * 128);
    sum += n;
  }
  return sum;
}

// The inputs of stored columns [first, first + count): where they lie, or gathered in `space`.
inline const float* gather(const InputForm& form, const float* x, int64_t columns, int64_t first, int64_t count,
                           float* space) {
  if (form.order == nullptr && first + count <= columns) return x + first;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from = form.order != nullptr ? form.order[first + i] : first + i;
    space[i] = from >= 0 && from < columns ? x[from] : 0;
  }
  return space;
}

inline void fill_rounded(const PreparedInput& input, const float* x, int64_t columns, int64_t token,
                         float one_largest) {
  const InputForm& form = input.form;
  const float steps = input.low != nullptr ? 16256 : 127;
  float space[kMostGroup];
  for (int64_t g = 0; g < input.groups; ++g) {
    const int64_t first = g * form.group, count = std::min(form.group, form.columns - first),
                  at = token * input.stride + first;
    const float* group = gather(form, x, columns, first, count, space);
    const float largest = one_largest >= 0 ? one_largest : largest_of(group, count);
    // Below that the steps of one would be infinite: such inputs are rounded to zero.
    const bool is_zero = largest < 1e-33F;
    const float scale = is_zero ? 0 : largest / steps;
    const int32_t sum = round_group(group, count, is_zero ? 0 : steps / largest, input.high + at,
                                    input.low != nullptr ? input.low + at : nullptr);
    input.scales[token * input.groups + g] = scale;
    input.sums[token * input.groups + g] = scale * static_cast<float>(sum);
    input.code_sums[token * input.groups + g] = sum;
  }
}

inline void fill_values(const PreparedInput& input, const float* x, int64_t columns, int64_t token) {
  float* to = input.values + token * input.stride;
  float space[32];
  for (int64_t first = 0; first < input.form.columns; first += 32) {
    const float* from = gather(input.form, x, columns, first, 32, space);
    if (!input.form.is_paired) {
      std::memcpy(to + first, from, sizeof space);
      continue;
    }
    for (int64_t i = 0; i < 16; ++i) {
      to[first + i] = from[2 * i];
      to[first + 16 + i] = from[2 * i + 1];
    }
  }
}

// 16 columns of all tokens after one another, so that lines are written while they are in the first cache.
inline void fill_turned(const PreparedInput& input, const FillRange& range) {
  float space[16];
  for (int64_t first = 0; first < input.form.columns; first += 16) {
    for (int64_t token = range.begin; token < range.end; ++token) {
      const float* from = gather(input.form, range.x + token * range.stride, range.columns, first, 16, space);
      float* to = input.values + token / 16 * 16 * input.stride + first * 16 + token % 16;
      for (int64_t i = 0; i < 16; ++i) to[16 * i] = from[i];
    }
  }
}

inline void fill_input(const PreparedInput& input, const FillRange& range, bool one_step) {
  if (input.is_turned) return fill_turned(input, range);
  for (int64_t token = range.begin; token < range.end; ++token) {
    const float* x = range.x + token * range.stride;
    if (!input.form.is_rounded) {
      fill_values(input, x, range.columns, token);
    } else {
      fill_rounded(input, x, range.columns, token, one_step ? largest_of(x, range.columns) : -1);
    }
  }
}
