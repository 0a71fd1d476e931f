// Scores of a block of keys become weights, row by row; part of vector_kernel.h, which has the registers.

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

// sums [count] += probabilities: weights of `rows` rows, each times its factor.
OCKHAM_INLINE void add_probabilities(const float* weights, const float* factors, int64_t rows, int64_t count,
                                     float* sums) {
  for (int64_t at = 0; at < count; at += kLanes) {
    Vector sum = {};
    for (int64_t r = 0; r < rows; ++r) sum += load<Vector>(weights + r * kBlockKeys + at) * factors[r];
    store(sums + at, load<Vector>(sums + at) + sum);
  }
}
