// What eviction does to keys and values: those that stay move up, or take in those that go.
#include <algorithm>
#include <cmath>

#include "ockham/runtime/paged_cache.h"

namespace ockham {
namespace {

double product_of(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void mix(float* to, float weight, const float* from, float other, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = (weight * to[i] + other * from[i]) / (weight + other);
}

}  // namespace

void PagedCache::note_errors(Sequence& own, int64_t block, int64_t head, int64_t index, const float* k,
                             const float* v) const {
  constexpr int kBits = 4;  // where the policy stores no codes
  const int bits = own.choice.policy().is_quantized() ? own.choice.policy().bits : kBits;
  const int64_t group = own.choice.policy().group;
  const KvHead slots = own.choice.head(block, head);
  slots.key_errors[index] = static_cast<float>(code_error(k, shape_.head_dim, bits, group));
  slots.value_errors[index] = static_cast<float>(code_error(v, shape_.head_dim, bits, group));
}

bool PagedCache::begin_cut(int32_t sequence, KvCut cut) {
  Sequence& own = at(sequence);
  if (!own.evicts || cut == KvCut::kNone) return false;
  const int64_t excess = own.choice.excess();
  if (excess <= 0) return false;
  own.cut = cut;
  own.compacts = cut == KvCut::kPrompt || excess > 1;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    const int64_t beyond = own.choice.excess(block), count = own.choice.slots(block);
    const int64_t written = beyond <= 0 ? 0 : own.choice.policy().merges ? count : own.compacts ? count - beyond : 0;
    for (int64_t page = 0; page < pages_of(written); ++page)
      make_own(own.pages[static_cast<size_t>(block)][static_cast<size_t>(page)]);
  }
  return true;
}

bool PagedCache::drops_by_head(int32_t sequence) const {
  const Sequence& own = at(sequence);
  const KvPolicy& policy = own.choice.policy();
  return own.evicts && own.cut == KvCut::kStep && !own.compacts && policy.needs_scores() &&
         policy.attention_weight == 1 && !policy.merges;
}

void PagedCache::prepare_cut(int32_t sequence, int64_t block) {
  KvChoice& choice = at(sequence).choice;
  if (choice.excess(block) > 0) choice.prepare(block, at(sequence).cut == KvCut::kPrompt);
}

void PagedCache::cut_head(int32_t sequence, int64_t block, int64_t head) {
  Sequence& own = at(sequence);
  const bool merges = own.choice.policy().merges;
  if (own.choice.excess(block) <= 0) return;
  if (!own.compacts) {
    const int64_t victim = own.choice.drop_one(block, head);
    if (merges) merge(sequence, block, head, victim, {});
    return;
  }
  own.choice.choose(block, head);
  const std::span<const int32_t> kept = own.choice.kept(block, head);
  if (merges)
    for (const int32_t victim : own.choice.dropped(block, head)) merge(sequence, block, head, victim, kept);
  move_kept(sequence, block, head);
  own.choice.compact(block, head);
}

void PagedCache::end_cut(int32_t sequence) {
  Sequence& own = at(sequence);
  if (own.cut == KvCut::kPrompt) {
    ++use_.prompt_cuts;
    use_.mass += own.choice.kept_share();
  }
  own.choice.finish(own.compacts);
  own.cut = KvCut::kNone;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    std::vector<int32_t>& list = own.pages[static_cast<size_t>(block)];
    const int64_t wanted = pages_of(own.choice.slots(block));
    for (; static_cast<int64_t>(list.size()) > wanted; list.pop_back()) release_page(list.back());
  }
}

void PagedCache::cut(int32_t sequence, KvCut cut) {
  if (!begin_cut(sequence, cut)) return;
  for (int64_t block = 0; block < shape_.blocks; ++block) {
    prepare_cut(sequence, block);
    for (int64_t head = 0; head < shape_.kv_heads; ++head) cut_head(sequence, block, head);
  }
  end_cut(sequence);
}

void PagedCache::move_kept(int32_t sequence, int64_t block, int64_t head) {
  const std::span<const int32_t> kept = at(sequence).choice.kept(block, head);
  const auto move = [&]<typename Element>(const Slot<Element>& from, const Slot<Element>& to) {
    for (int64_t d = 0; d < shape_.head_dim; ++d) to.keys[d * kPageTokens] = from.keys[d * kPageTokens];
    std::copy_n(from.values, shape_.head_dim, to.values);
    if constexpr (sizeof(Element) == 1) {
      *to.key_scale = *from.key_scale;
      *to.value_scale = *from.value_scale;
    }
  };
  for (size_t i = 0; i < kept.size() && shape_.has_coded_tokens(); ++i) {
    const auto from = static_cast<int64_t>(kept[i]), to = static_cast<int64_t>(i);
    if (from != to)
      copy_token(layout_, head, from % kPageTokens, page_at(block, sequence, from), to % kPageTokens,
                 page_at(block, sequence, to));
  }
  for (size_t i = 0; i < kept.size() && !shape_.has_coded_tokens(); ++i) {
    if (kept[i] != static_cast<int32_t>(i))
      with_slots(block, sequence, head, move, static_cast<int64_t>(kept[i]), static_cast<int64_t>(i));
  }
}

// Into the slot whose key points most nearly the same way; `kept`: those that stay, all others where it is empty.
void PagedCache::merge(int32_t sequence, int64_t block, int64_t head, int64_t victim, std::span<const int32_t> kept) {
  Sequence& own = at(sequence);
  const int64_t dim = shape_.head_dim, reach = own.choice.policy().reach;
  float *k = own.room.data() + head * 4 * dim, *v = k + dim, *other_k = v + dim, *other_v = other_k + dim;
  const KvHead slots = own.choice.head(block, head);
  read(block, sequence, victim, head, k, v);
  const double size = std::sqrt(product_of(k, k, dim));
  int64_t best = -1;
  double most = -2;
  const int64_t count = kept.empty() ? own.choice.slots(block) : static_cast<int64_t>(kept.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at_slot = kept.empty() ? i : kept[static_cast<size_t>(i)];
    if (at_slot == victim || std::abs(slots.positions[at_slot] - slots.positions[victim]) > reach) continue;
    read(block, sequence, at_slot, head, other_k, other_v);
    const double sizes = size * std::sqrt(product_of(other_k, other_k, dim));
    const double cosine = sizes > 0 ? product_of(k, other_k, dim) / sizes : 0;
    if (cosine < most || (cosine == most && slots.positions[at_slot] > slots.positions[best])) continue;
    most = cosine;
    best = at_slot;
  }
  if (best < 0) return;
  read(block, sequence, best, head, other_k, other_v);
  mix(other_k, slots.weights[best], k, slots.weights[victim], dim);
  mix(other_v, slots.weights[best], v, slots.weights[victim], dim);
  write(block, sequence, best, head, other_k, other_v);
  slots.weights[best] += slots.weights[victim];
  slots.logs[best] = std::log2(slots.weights[best]);
}

}  // namespace ockham
