// The engine's arithmetic beside matrix products, included once for each instruction set, inside a namespace and a
// target of its own. Before it stand kLanes, the floats of a register, and kHeight, the rows of a tile.
//
// What one row of values becomes depends on that row alone: sums run in one order whatever stands beside it.

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));
using Halves = uint16_t __attribute__((vector_size(kLanes * sizeof(uint16_t))));
using Bytes = int8_t __attribute__((vector_size(kLanes)));

template <typename V>
OCKHAM_INLINE V load(const void* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename To, typename From>
OCKHAM_INLINE To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  return load<To>(&from);
}
OCKHAM_INLINE Vector load_floats(const float* from) {
  return load<Vector>(from);
}
// GCC 12 widens halves in four steps and bytes one by one: instructions by name where there are some.
// bfloat16
template <int kCount = kLanes>
OCKHAM_INLINE Vector load_floats(const uint16_t* from) {
#if defined(__x86_64__)
  if constexpr (kCount == 16)
    return same_bits<Vector>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load<__m256i>(from)), 16));
  if constexpr (kCount == 8)
    return same_bits<Vector>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load<__m128i>(from)), 16));
#endif
  return same_bits<Vector>(__builtin_convertvector(load<Halves>(from), Integers) << 16);
}
template <int kCount = kLanes>
OCKHAM_INLINE Vector load_floats(const int8_t* from) {
#if defined(__x86_64__)
  if constexpr (kCount == 16) return same_bits<Vector>(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load<__m128i>(from))));
  if constexpr (kCount == 8) return same_bits<Vector>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(from))));
#endif
  return __builtin_convertvector(load<Bytes>(from), Vector);
}
OCKHAM_INLINE void store(float* to, const Vector& value) {
  std::memcpy(to, &value, sizeof value);
}
// Lanes kStep apart in each other's place.
template <size_t kStep, size_t... kPlaces>
OCKHAM_INLINE Vector exchanged(const Vector& v, std::index_sequence<kPlaces...>) {
  return __builtin_shufflevector(v, v, (kPlaces ^ kStep)...);
}
// All lanes joined in pairs: a sum of sixteen waits for four additions, not for fifteen.
template <int kStep = kLanes / 2, typename Join>
OCKHAM_INLINE float reduce(const Vector& v, const Join& join) {
  const Vector joined = join(v, exchanged<kStep>(v, std::make_index_sequence<kLanes>{}));
  if constexpr (kStep == 1) {
    return joined[0];
  } else {
    return reduce<kStep / 2>(joined, join);
  }
}
OCKHAM_INLINE Vector larger_of(const Vector& a, const Vector& b) {
  return a > b ? a : b;
}
OCKHAM_INLINE float sum_of(const Vector& v) {
  return reduce(v, [](const Vector& a, const Vector& b) { return a + b; });
}
OCKHAM_INLINE float largest_of(const Vector& v) {
  return reduce(v, larger_of);
}

// 2^x for x <= 0 within 2e-7 of itself; what is below 2^-100 is taken for that, since products with denormal numbers
// are slow.
OCKHAM_INLINE Vector power_of_two(Vector x) {
  constexpr float kSmallest = -100.0F, kRoundOff = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Vector smallest = Vector{} + kSmallest;
  x = smallest > x ? smallest : x;  // NaN stays
  const Vector shifted = x + kRoundOff;
  const Vector rest = x - (shifted - kRoundOff);  // -1/2 .. 1/2
  // The polynomial of fifth degree with the smallest relative error there, 7.5e-8.
  Vector p = 1.327647203e-3F * rest + 9.675541480e-3F;
  p = p * rest + 5.550713275e-2F;
  p = p * rest + 2.402211972e-1F;
  p = p * rest + 6.931469671e-1F;
  p = p * rest + 1.0F;
  const Integers power = load<Integers>(&p) + (load<Integers>(&shifted) << 23);
  return load<Vector>(&power);
}

OCKHAM_INLINE Vector size_of(const Vector& x) {
  return x < 0 ? -x : x;
}
// 1 / (1 + e^-x)
OCKHAM_INLINE Vector sigmoid(const Vector& x) {
  const Vector power = power_of_two(size_of(x) * -kLog2E);
  const Vector inverse = 1.0F / (1.0F + power);
  return x < 0 ? power * inverse : inverse;
}
OCKHAM_INLINE Vector tanh_of(const Vector& x) {
  const Vector power = power_of_two(size_of(x) * (-2 * kLog2E));
  const Vector size = (1.0F - power) / (1.0F + power);
  return x < 0 ? -size : size;
}
// x times the normal distribution's share below x: Abramowitz and Stegun 7.1.26, off by at most 7.5e-8 |x|.
OCKHAM_INLINE Vector gelu(const Vector& x) {
  const Vector size = size_of(x) * 0.70710678F;
  const Vector t = 1.0F / (1.0F + 0.3275911F * size);
  Vector p = 1.061405429F * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const Vector tail = 0.5F * p * t * power_of_two(size * size * -kLog2E);  // beyond |x|, on one side
  return x < 0 ? x * tail : x * (1.0F - tail);
}
template <Activation kKind>
OCKHAM_INLINE Vector activated(const Vector& x) {
  if constexpr (kKind == Activation::kSilu) return x * sigmoid(x);
  if constexpr (kKind == Activation::kGelu) return gelu(x);
  if constexpr (kKind == Activation::kGeluTanh) return x * sigmoid(1.5957691216F * (x + 0.044715F * x * x * x));
  const Vector positive = x < 0 ? Vector{} : x;
  return kKind == Activation::kSquaredRelu ? positive * positive : positive;
}

// Whole registers, then one that holds the rest, zeros behind it.
template <typename Body>
OCKHAM_INLINE void for_registers(int64_t count, const Body& body) {
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) body(at, int64_t{kLanes});
  if (at < count) body(at, count - at);
}
OCKHAM_INLINE Vector load_part(const float* from, int64_t count) {
  if (count == kLanes) return load<Vector>(from);
  Vector value = {};
  std::memcpy(&value, from, static_cast<size_t>(count) * sizeof(float));
  return value;
}
OCKHAM_INLINE void store_part(float* to, const Vector& value, int64_t count) {
  std::memcpy(to, &value, static_cast<size_t>(count == kLanes ? kLanes : count) * sizeof(float));
}

template <Activation kKind>
OCKHAM_INLINE void activate_row(float* x, const float* factor, int64_t count) {
  for_registers(count, [&](int64_t at, int64_t part) {
    Vector value = activated<kKind>(load_part(x + at, part));
    if (factor != nullptr) value *= load_part(factor + at, part);
    store_part(x + at, value, part);
  });
}
void activate(Activation kind, float* x, const float* factor, int64_t count) {
  switch (kind) {
    case Activation::kSilu:
      return activate_row<Activation::kSilu>(x, factor, count);
    case Activation::kGelu:
      return activate_row<Activation::kGelu>(x, factor, count);
    case Activation::kGeluTanh:
      return activate_row<Activation::kGeluTanh>(x, factor, count);
    case Activation::kRelu:
      return activate_row<Activation::kRelu>(x, factor, count);
    case Activation::kSquaredRelu:
      return activate_row<Activation::kSquaredRelu>(x, factor, count);
  }
}

// Sum over a row of (x - mean)^2.
OCKHAM_INLINE float square_sum(const float* x, float mean, int64_t count) {
  Vector sums[2] = {};
  int64_t at = 0;
  for (; at + 2 * kLanes <= count; at += 2 * kLanes) {
    const Vector a = load<Vector>(x + at) - mean, b = load<Vector>(x + at + kLanes) - mean;
    sums[0] += a * a;
    sums[1] += b * b;
  }
  float sum = sum_of(sums[0] + sums[1]);
  for (; at < count; ++at) sum += (x[at] - mean) * (x[at] - mean);
  return sum;
}
void rms_norm(const float* x, const float* gain, float eps, int64_t count, float* out) {
  const float inverse = 1.0F / std::sqrt(square_sum(x, 0, count) / static_cast<float>(count) + eps);
  for_registers(count, [&](int64_t at, int64_t part) {
    store_part(out + at, load_part(x + at, part) * inverse * load_part(gain + at, part), part);
  });
}
void layer_norm(const float* x, const float* gain, const float* bias, float eps, int64_t count, float* out) {
  Vector sums = {};
  for_registers(count, [&](int64_t at, int64_t part) { sums += load_part(x + at, part); });
  const float mean = sum_of(sums) / static_cast<float>(count);
  const float inverse = 1.0F / std::sqrt(square_sum(x, mean, count) / static_cast<float>(count) + eps);
  for_registers(count, [&](int64_t at, int64_t part) {
    const Vector value = (load_part(x + at, part) - mean) * inverse * load_part(gain + at, part);
    store_part(out + at, bias == nullptr ? value : value + load_part(bias + at, part), part);
  });
}

void add_scaled(float* x, const float* y, float factor, int64_t count) {
  for_registers(count, [&](int64_t at, int64_t part) {
    store_part(x + at, load_part(x + at, part) + factor * load_part(y + at, part), part);
  });
}
void rotate(float* x, const float* cos, const float* sin, int64_t half) {
  for_registers(half, [&](int64_t at, int64_t part) {
    const Vector low = load_part(x + at, part), high = load_part(x + half + at, part);
    const Vector c = load_part(cos + at, part), s = load_part(sin + at, part);
    store_part(x + at, low * c - high * s, part);
    store_part(x + half + at, high * c + low * s, part);
  });
}
void softcap(float* x, float cap, int64_t count) {
  for_registers(
      count, [&](int64_t at, int64_t part) { store_part(x + at, tanh_of(load_part(x + at, part) / cap) * cap, part); });
}

float maximum(const float* x, int64_t count) {
  Vector most = Vector{} + x[0];
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    const Vector value = load<Vector>(x + at);
    most = value > most ? value : most;
  }
  float result = largest_of(most);
  for (; at < count; ++at) result = std::max(result, x[at]);
  return result;
}
// log of the sum of e^x over a row.
double log_sum_exp(const float* x, int64_t count) {
  constexpr int64_t kRun = 64 * kLanes;  // then sums go on in double precision
  const float most = maximum(x, count);
  double total = 0;
  for (int64_t first = 0; first < count; first += kRun) {
    const int64_t end = std::min(first + kRun, count);
    Vector sums = {};
    int64_t at = first;
    for (; at + kLanes <= end; at += kLanes) sums += power_of_two((load<Vector>(x + at) - most) * kLog2E);
    total += sum_of(sums);
    for (; at < end; ++at) total += std::exp(static_cast<double>(x[at]) - most);
  }
  return most + std::log(total);
}

#include "ockham/runtime/product_kernel.h"

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

#include "ockham/runtime/attention_kernel.h"

// A constant: a function that made it would itself be code for this target, and might run where there is no such
// processor.
constexpr VectorKernels kVectorKernels = {rms_norm,
                                          layer_norm,
                                          activate,
                                          add_scaled,
                                          rotate,
                                          softcap,
                                          log_sum_exp,
                                          maximum,
                                          multiply,
                                          attend<float>,
                                          attend<uint16_t>,
                                          attend<int8_t>,
                                          nullptr,
                                          nullptr,
                                          nullptr,
                                          add_columns<float>,
                                          add_columns<uint16_t>,
                                          add_columns<int8_t>,
                                          lowest};
