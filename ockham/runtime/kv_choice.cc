#include "ockham/runtime/kv_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/runtime/vectors.h"

namespace ockham {
namespace {

// Of the tokens that Q-Hitter keeps of a prompt, those chosen by attention alone: .07 of .2 in the authors' code.
constexpr double kByAttention = 0.35;

template <typename T>
void widen(std::vector<T>& list, int64_t units, int64_t from, int64_t to) {
  std::vector<T> wider(static_cast<size_t>(units * to));
  for (int64_t unit = 0; unit < units && from > 0; ++unit)
    std::copy_n(list.begin() + unit * from, from, wider.begin() + unit * to);
  list = std::move(wider);
}

// Sources ascend, so none is overwritten before it is read.
template <typename T>
void pull(T* list, std::span<const int32_t> from) {
  if (list == nullptr) return;
  for (size_t i = 0; i < from.size(); ++i) list[i] = list[from[i]];
}

float number_of(float score) {
  return std::isnan(score) ? -1 : score;  // an order that sorting can trust
}

// The slot of the oldest token behind the sinks, where that is none of the recent ones; otherwise -1.
int64_t oldest_free(const KvRule& rule, const int32_t* positions, int64_t slots) {
  const auto first = static_cast<int32_t>(rule.sinks);
  auto oldest = static_cast<int32_t>(rule.read - rule.recent);
  int64_t victim = -1;
  for (int64_t s = 0; s < slots; ++s) {
    if (positions[s] < first || positions[s] >= oldest) continue;
    oldest = positions[s];
    victim = s;
  }
  return victim;
}

std::span<int32_t> numbered(int32_t* slots, int64_t count) {
  std::iota(slots, slots + count, 0);
  return {slots, static_cast<size_t>(count)};
}

}  // namespace

KvRule KvRule::of(const KvPolicy& policy, int64_t read, int64_t block, int64_t blocks) {
  using Keep = KvPolicy::Keep;
  KvRule rule;
  rule.read = read;
  rule.kept = policy.evicts() ? policy.budget_of(read, block, blocks) : read;
  rule.sinks = std::min(policy.sinks, rule.kept);
  rule.by_score = policy.needs_scores();
  const int64_t rest = rule.kept - rule.sinks;
  const auto heavy = std::min(static_cast<int64_t>(policy.heavy * static_cast<double>(rule.kept) + 1e-9), rest);
  const int64_t pattern = rest - heavy;
  rule.recent = pattern;
  if (policy.keep == Keep::kStrided && pattern >= 2) {
    for (rule.stride = 1; read / rule.stride > pattern / 2;) rule.stride *= 2;
    rule.recent = pattern - read / rule.stride;
  }
  if (policy.keep == Keep::kFixed && pattern >= 2 && read > 0) {
    rule.stretch = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(pattern / 2)));
    const int64_t earlier = (read - 1) / rule.stretch;
    rule.recent = read - earlier * rule.stretch;
    if (earlier > 0) rule.summary = std::clamp<int64_t>((pattern - rule.stretch) / earlier, 1, rule.stretch);
  }
  return rule;
}

KvRule::Rank KvRule::rank(int64_t position) const {
  if (position < sinks) return kSink;
  if (position >= read - recent) return kRecent;
  if (stride > 0 && position % stride == stride - 1) return kColumn;
  if (stretch > 0 && position % stretch >= stretch - summary) return kColumn;
  return kFree;
}

int64_t most_kv_slots(const KvPolicy& policy, int64_t prompt, int64_t longest, int64_t block, int64_t blocks) {
  if (!policy.evicts()) return longest;
  const int64_t beside = policy.budget_of(longest, block, blocks) + std::max<int64_t>(policy.chunk, 1);
  return std::min(longest, policy.chunk > 0 ? beside : std::max(prompt, beside));
}

int64_t next_kv_cut(const KvPolicy& policy, int64_t read, int64_t prompt) {
  if (read >= prompt) return read + 1;
  return policy.chunk > 0 ? std::min(prompt, (read / policy.chunk + 1) * policy.chunk) : prompt;
}

KvPolicy kv_policy_of_text(const KvPolicy& policy) {
  constexpr int64_t kChunk = 32;
  KvPolicy result = policy;
  if (result.chunk == 0) result.chunk = kChunk;
  return result;
}

void KvChoice::reset(const KvPolicy& policy, int64_t blocks, int64_t heads, int64_t slots) {
  const bool is_other = policy.text() != policy_.text() || blocks != blocks_ || heads != heads_;
  policy_ = policy;
  if (!policy.needs_scores()) policy_.attention_weight = 1;  // errors have nothing to be weighed against
  blocks_ = blocks;
  heads_ = heads;
  read_ = 0;
  parts_.assign(static_cast<size_t>(blocks), {});
  if (is_other) {
    stride_ = 0;
    for (std::vector<float>* list : {&scores_, &weights_, &logs_, &key_errors_, &value_errors_}) list->clear();
    places_.clear();
  }
  const auto units = static_cast<size_t>(blocks * heads);
  free_.assign(units, 0);
  mass_.assign(units, 0);
  kept_mass_.assign(units, 0);
  key_ranges_.assign(static_cast<size_t>(blocks), {});
  value_ranges_.assign(static_cast<size_t>(blocks), {});
  reserve(slots);
}

void KvChoice::reserve(int64_t slots) {
  if (slots <= stride_) return;
  const int64_t units = blocks_ * heads_, from = stride_;
  stride_ = (slots + kPageKeys - 1) / kPageKeys * kPageKeys;
  widen(positions_, units, from, stride_);
  if (policy_.needs_scores()) widen(scores_, units, from, stride_);
  if (policy_.merges) {
    widen(weights_, units, from, stride_);
    widen(logs_, units, from, stride_);
  }
  if (weighs_errors()) {
    widen(key_errors_, units, from, stride_);
    widen(value_errors_, units, from, stride_);
    mixed_.resize(static_cast<size_t>(heads_ * stride_));
  }
  if (policy_.positions == KvPolicy::Positions::kRolling) widen(places_, units, from, stride_);
  order_.resize(static_cast<size_t>(heads_ * stride_));
}

KvHead KvChoice::head(int64_t block, int64_t head) const {
  const auto at = static_cast<int64_t>(unit(block, head)) * stride_;
  const auto of = [at](auto& list) { return list.empty() ? nullptr : list.data() + at; };
  return {positions_.data() + at, of(scores_),       of(weights_), of(logs_),
          of(key_errors_),        of(value_errors_), of(places_)};
}

bool KvChoice::is_complete() const {
  return std::all_of(parts_.begin(), parts_.end(),
                     [&](const Part& one) { return one.slots == read_ && !one.has_free; });
}

void KvChoice::truncate(int64_t tokens) {
  if (tokens == read_) return;
  OCKHAM_CHECK(tokens < read_ && is_complete() && !policy_.needs_scores());
  read_ = tokens;
  for (Part& one : parts_) one.slots = tokens;
}

void KvChoice::append(int64_t tokens) {
  OCKHAM_CHECK(tokens > 0);
  for (int64_t block = 0; block < blocks_; ++block) append(tokens, block);
  read_ += tokens;
}

void KvChoice::append(int64_t tokens, int64_t block) {
  Part& own = parts_[static_cast<size_t>(block)];
  const int64_t free = own.has_free ? 1 : 0, begin = own.slots - free;
  if (begin + tokens > stride_) reserve(std::max(begin + tokens, stride_ + stride_ / 2));
  for (int64_t one = 0; one < heads_; ++one) {
    const KvHead to = head(block, one);
    for (int64_t i = 0; i < tokens; ++i) {
      const int64_t at = i < free ? free_[unit(block, one)] : begin + i;
      to.positions[at] = static_cast<int32_t>(read_ + i);
      if (to.scores != nullptr) to.scores[at] = 0;
      if (to.weights != nullptr) to.weights[at] = 1;
      if (to.logs != nullptr) to.logs[at] = 0;
      if (to.places != nullptr) to.places[at] = static_cast<int32_t>(begin + i);
    }
  }
  if (own.has_free) own.filled = read_;
  own.has_free = false;
  own.slots = begin + tokens;
}

KvChoice::Bounds KvChoice::bounds(int64_t block, int64_t begin, int64_t end) const {
  const Part& own = part(block);
  const auto shift = static_cast<int32_t>(read_ - own.slots);
  const auto first = begin < own.cut_slots ? 0 : static_cast<int32_t>(begin) + shift;
  if (end > own.cut_slots) return {first, static_cast<int32_t>(end - 1) + shift};
  return {first, static_cast<int32_t>(own.filled >= 0 ? own.filled : own.cut_read - 1)};
}

int64_t KvChoice::excess(int64_t block) const {
  return slots(block) - KvRule::of(policy_, read_, block, blocks_).kept;
}

int64_t KvChoice::excess() const {
  int64_t most = 0;
  for (int64_t block = 0; block < (policy_.is_even() ? 1 : blocks_); ++block) most = std::max(most, excess(block));
  return most;
}

void KvChoice::prepare(int64_t block, bool is_prompt) {
  rule_ = KvRule::of(policy_, read_, block, blocks_);
  if (!weighs_errors()) return;
  const auto cover = [&](std::vector<float>& list, Range& range) {
    float lowest = range.is_set ? range.lowest : std::numeric_limits<float>::infinity();
    float largest = range.is_set ? range.lowest + range.width : -lowest;
    for (int64_t own = 0; own < heads_; ++own) {
      const float* values = list.data() + static_cast<int64_t>(unit(block, own)) * stride_;
      const auto [least, most] = std::minmax_element(values, values + slots(block));
      lowest = std::min(lowest, *least);
      largest = std::max(largest, *most);
    }
    range = {lowest, largest - lowest, true};
  };
  score_range_ = {};
  cover(scores_, score_range_);
  const auto at = static_cast<size_t>(block);
  if (!is_prompt && key_ranges_[at].is_set) return;
  cover(key_errors_, key_ranges_[at]);
  cover(value_errors_, value_ranges_[at]);
}

// lambda norm(S) + (1 - lambda) (1 - (norm(e_K) + norm(e_V)) / 2), norms by least and largest.
const float* KvChoice::combined(int64_t block, int64_t own_head) {
  const KvHead own = head(block, own_head);
  if (!weighs_errors()) return own.scores;
  const Range keys = key_ranges_[static_cast<size_t>(block)], values = value_ranges_[static_cast<size_t>(block)];
  const auto norm = [](float x, const Range& range) {
    return range.width > 0 ? std::clamp((x - range.lowest) / range.width, 0.0F, 1.0F) : 0.0F;
  };
  const auto share = static_cast<float>(policy_.attention_weight);
  float* to = mixed_.data() + own_head * stride_;
  for (int64_t s = 0; s < slots(block); ++s) {
    const float fit = 1 - (norm(own.key_errors[s], keys) + norm(own.value_errors[s], values)) / 2;
    to[s] = share * norm(own.scores[s], score_range_) + (1 - share) * fit;
  }
  return to;
}

int64_t KvChoice::drop_one(int64_t block, int64_t own_head) {
  const KvHead own = head(block, own_head);
  const int64_t count = slots(block);
  const float* scores = combined(block, own_head);
  int64_t victim = -1;
  if (rule_.by_score && rule_.stride == 0 && rule_.stretch == 0) {
    victim = vector_kernels().lowest(scores, own.positions, count, static_cast<int32_t>(rule_.sinks),
                                     static_cast<int32_t>(rule_.read - rule_.recent));
  }
  if (!rule_.by_score && rule_.stride == 0 && rule_.stretch == 0) victim = oldest_free(rule_, own.positions, count);
  if (victim < 0) {
    const std::span<int32_t> slots = numbered(order_.data() + own_head * stride_, count);
    sort_by_rank(own, scores, slots, 1);
    victim = slots[0];
  }
  if (own.places != nullptr) {
    const int32_t place = own.places[victim];
    for (int64_t s = 0; s < count; ++s) own.places[s] -= own.places[s] > place ? 1 : 0;
  }
  free_[unit(block, own_head)] = static_cast<int32_t>(victim);
  return victim;
}

// The `drops` slots that go to the front.
void KvChoice::sort_by_rank(const KvHead& own, const float* scores, std::span<int32_t> slots, int64_t drops) const {
  const auto before = [&](int32_t a, int32_t b) {
    const int32_t first = own.positions[a], second = own.positions[b];
    const KvRule::Rank rank = rule_.rank(first), other = rule_.rank(second);
    if (rank != other) return rank < other;
    if (!rule_.by_score || rank != KvRule::kFree) return first < second;
    const float score = number_of(scores[a]), other_score = number_of(scores[b]);
    return score != other_score ? score < other_score : first < second;
  };
  if (drops == 1) return std::iter_swap(slots.begin(), std::min_element(slots.begin(), slots.end(), before));
  std::nth_element(slots.begin(), slots.begin() + drops, slots.end(), before);
}

void KvChoice::choose(int64_t block, int64_t own_head) {
  const KvHead own = head(block, own_head);
  const int64_t drops = excess(block);
  OCKHAM_CHECK(drops > 0 && !has_free_slot(block));
  const std::span<int32_t> slots = numbered(order_.data() + own_head * stride_, this->slots(block));
  const float* scores = combined(block, own_head);
  if (weighs_errors()) {
    // Some stay by attention alone.
    const auto sure = static_cast<int64_t>(kByAttention * static_cast<double>(rule_.kept) + 1e-9);
    std::partial_sort(slots.begin(), slots.begin() + sure, slots.end(), [&](int32_t a, int32_t b) {
      const float score = number_of(own.scores[a]), other = number_of(own.scores[b]);
      return score != other ? score > other : own.positions[a] < own.positions[b];
    });
    float* mixed = mixed_.data() + own_head * stride_;
    for (const int32_t slot : slots.first(static_cast<size_t>(sure))) mixed[slot] += 2;  // above all others
  }
  sort_by_rank(own, scores, slots, drops);
  const auto stays = slots.begin() + drops;
  std::sort(slots.begin(), stays, [&](int32_t a, int32_t b) { return own.positions[a] < own.positions[b]; });
  std::sort(stays, slots.end());
  if (own.scores == nullptr) return;
  const auto add = [&](double sum, int32_t slot) { return sum + own.scores[slot]; };
  kept_mass_[unit(block, own_head)] = std::accumulate(stays, slots.end(), 0.0, add);
  mass_[unit(block, own_head)] = kept_mass_[unit(block, own_head)] + std::accumulate(slots.begin(), stays, 0.0, add);
}

void KvChoice::compact(int64_t block, int64_t own_head) {
  const KvHead own = head(block, own_head);
  const std::span<const int32_t> from = kept(block, own_head);
  pull(own.positions, from);
  for (float* list : {own.scores, own.weights, own.logs, own.key_errors, own.value_errors}) pull(list, from);
  if (own.places == nullptr) return;
  // The list that said what goes is room now.
  int32_t* slots = order_.data() + own_head * stride_;
  for (size_t i = 0; i < from.size(); ++i) slots[i] = static_cast<int32_t>(i);
  std::sort(slots, slots + from.size(), [&](int32_t a, int32_t b) { return own.positions[a] < own.positions[b]; });
  for (size_t i = 0; i < from.size(); ++i) own.places[slots[i]] = static_cast<int32_t>(i);
}

void KvChoice::finish(bool is_compacted) {
  OCKHAM_CHECK(excess() > 0);
  for (int64_t block = 0; block < blocks_; ++block) {
    const int64_t beyond = excess(block);
    if (beyond <= 0) continue;
    Part& own = parts_[static_cast<size_t>(block)];
    if (is_compacted) own.slots -= beyond;
    own.has_free = !is_compacted;
    own.filled = -1;
    own.cut_slots = own.slots;
    own.cut_read = read_;
  }
}

double KvChoice::kept_share() const {
  double all = 0, stays = 0;
  for (size_t i = 0; i < mass_.size(); ++i) {
    all += mass_[i];
    stays += kept_mass_[i];
  }
  return all > 0 ? stays / all : 1;
}

}  // namespace ockham
