#include "ockham/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "ockham/core/draw.h"
#include "ockham/core/error.h"
#include "ockham/runtime/vectors.h"

namespace ockham {
namespace {

// In place. Softmax in double precision where it is added up.
void make_probabilities(float* logits, int64_t count, double temperature) {
  const auto inverse = static_cast<float>(1 / temperature);
  for (int64_t i = 0; i < count; ++i) logits[i] *= inverse;
  const double all = vector_kernels().log_sum_exp(logits, count);
  if (std::isnan(all)) refuse_nan();
  for (int64_t i = 0; i < count; ++i) logits[i] = std::exp(static_cast<float>(logits[i] - all));
}

int32_t draw_from_all(const float* probabilities, int64_t count, double uniform) {
  const int32_t id = draw_index(probabilities, count, uniform);
  if (id < 0) refuse_nan();
  return id;
}

}  // namespace

void refuse_nan() {
  throw_input("the model's logits are not numbers; its weights are damaged, or its activations overflow");
}

int32_t first_maximum(const float* values, int64_t count) {
  const float best = vector_kernels().maximum(values, count);
  const float* place = std::find(values, values + count, best);
  if (place == values + count) refuse_nan();
  return static_cast<int32_t>(place - values);
}

void find_likely(const float* logits, int64_t vocabulary, double all, size_t count, std::vector<LikelyToken>& likely) {
  likely.clear();
  count = std::min(count, static_cast<size_t>(vocabulary));
  if (count == 0) return;
  for (int64_t id = 0; id < vocabulary; ++id) {
    if (likely.size() == count && !(logits[id] > likely.back().logprob)) continue;
    if (likely.size() == count) likely.pop_back();
    const auto place = std::find_if(likely.begin(), likely.end(),
                                    [&](const LikelyToken& other) { return logits[id] > other.logprob; });
    likely.insert(place, {static_cast<int32_t>(id), logits[id]});
  }
  for (LikelyToken& token : likely) token.logprob = static_cast<float>(token.logprob - all);
}

Sampler::Sampler(int64_t vocabulary)
    : vocabulary_(vocabulary),
      order_(static_cast<size_t>(vocabulary)),
      marks_(static_cast<size_t>(vocabulary)),
      work_(static_cast<size_t>(vocabulary)) {}

SampledToken Sampler::sample(const float* logits, const SamplerSettings& settings, std::span<const int32_t> history,
                             Rng& rng, bool wants_logprob, const AllowedTokens& allowed) {
  SampledToken result;
  if (settings.temperature == 0 && settings.repetition_penalty == 1 && allowed.bits.empty()) {
    result.id = first_maximum(logits, vocabulary_);
  } else {
    std::copy_n(logits, vocabulary_, work_.data());
    forbid(allowed);
    penalize(settings.repetition_penalty, history);
    result.id = settings.temperature == 0 ? first_maximum(work_.data(), vocabulary_) : draw(settings, rng);
  }
  if (wants_logprob) result.logprob = logits[result.id] - vector_kernels().log_sum_exp(logits, vocabulary_);
  return result;
}

void Sampler::forbid(const AllowedTokens& allowed) {
  if (allowed.bits.empty()) return;
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const auto is_known = [this](int32_t id) { return id >= 0 && id < vocabulary_; };
  // Kept while the others are passed over: the end may come where its bytes could not.
  float best_end = kNever;
  int32_t end = -1;
  for (const int32_t id : allowed.ends) {
    if (!is_known(id)) continue;
    float& logit = work_[static_cast<size_t>(id)];
    if (allowed.may_end && (end < 0 || logit > best_end)) {
      best_end = logit;
      end = id;
    }
    logit = kNever;
  }
  for (int64_t first = 0; first < vocabulary_; first += 64) {
    const uint64_t bits = allowed.bits[static_cast<size_t>(first / 64)];
    if (bits == ~uint64_t{0}) continue;
    const int64_t count = std::min<int64_t>(64, vocabulary_ - first);
    for (int64_t i = 0; i < count; ++i)
      if ((bits >> i & 1) == 0) work_[static_cast<size_t>(first + i)] = kNever;
  }
  if (end >= 0) work_[static_cast<size_t>(end)] = best_end;
}

void Sampler::penalize(double penalty, std::span<const int32_t> history) {
  if (penalty == 1) return;
  ++call_;
  const auto factor = static_cast<float>(penalty);
  for (const int32_t id : history) {
    const auto place = static_cast<size_t>(id);
    if (std::exchange(marks_[place], call_) == call_) continue;  // once, however often it stands there
    float& logit = work_[place];
    logit = logit > 0 ? logit / factor : logit * factor;
  }
}

int32_t Sampler::draw(const SamplerSettings& settings, Rng& rng) {
  make_probabilities(work_.data(), vocabulary_, settings.temperature);
  const double uniform = rng.uniform();
  const bool is_cut = settings.top_k > 0 || settings.top_p < 1 || settings.min_p > 0;
  if (!is_cut) return draw_from_all(work_.data(), vocabulary_, uniform);
  const size_t kept = sort_likely(settings);
  double mass = 0, sum = 0;
  for (size_t i = 0; i < kept; ++i) mass += probability(i);
  if (!(mass > 0)) refuse_nan();
  for (size_t i = 0; i < kept; ++i) {
    sum += probability(i);
    if (sum > uniform * mass) return order_[i];
  }
  return order_[kept - 1];
}

// Sorts the likely ids to the front, equal ones by id, and says how many of them may be drawn. Few are sorted where few
// are enough.
size_t Sampler::sort_likely(const SamplerSettings& settings) {
  constexpr size_t kFirst = 256;
  std::iota(order_.begin(), order_.end(), 0);
  const auto is_before = [this](int32_t a, int32_t b) {
    const float x = work_[static_cast<size_t>(a)], y = work_[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const size_t all = order_.size(),
               most = settings.top_k > 0 ? std::min(all, static_cast<size_t>(settings.top_k)) : all;
  size_t sorted = 0, kept = 0;
  for (double mass = 0; kept < most && mass < settings.top_p; ++kept) {
    if (kept == sorted) {
      const size_t next = std::min(all, std::max(kFirst, 4 * sorted));
      std::partial_sort(order_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        order_.begin() + static_cast<std::ptrdiff_t>(next), order_.end(), is_before);
      sorted = next;
    }
    if (kept > 0 && (probability(kept) == 0 || probability(kept) < settings.min_p * probability(0))) break;
    mass += probability(kept);
  }
  return std::max<size_t>(kept, 1);
}

}  // namespace ockham
