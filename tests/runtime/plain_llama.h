// A llama model in plain loops and double precision under a KV-cache policy: entries of each block and head of keys are
// a list, sorted by position, from which what the policy drops is erased.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "ockham/core/half.h"
#include "ockham/core/kv_policy.h"
#include "ockham/io/families/config.h"
#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"

namespace ockham::test {

class PlainLlama {
 public:
  PlainLlama(const std::string& path, const KvPolicy& policy)
      : config_(ModelConfig::parse(read_json_file(path + "/config.json"), path)),
        file_(path + "/model.safetensors"),
        policy_(policy),
        caches_(static_cast<size_t>(config_.blocks * config_.kv_heads)) {
    embedding_ = read("model.embed_tokens.weight");
    head_ = config_.tied_embeddings ? embedding_ : read("lm_head.weight");
    for (int64_t b = 0; b < config_.blocks; ++b) {
      const std::string name = "model.layers." + std::to_string(b) + ".";
      Block& block = blocks_.emplace_back();
      block.input_norm = read(name + "input_layernorm.weight");
      block.mlp_norm = read(name + "post_attention_layernorm.weight");
      block.q = read(name + "self_attn.q_proj.weight");
      block.k = read(name + "self_attn.k_proj.weight");
      block.v = read(name + "self_attn.v_proj.weight");
      block.o = read(name + "self_attn.o_proj.weight");
      block.gate = read(name + "mlp.gate_proj.weight");
      block.up = read(name + "mlp.up_proj.weight");
      block.down = read(name + "mlp.down_proj.weight");
    }
  }
  const ModelConfig& config() const { return config_; }
  size_t entries(size_t unit) const { return caches_[unit].size(); }

  // Logits behind the next token.
  std::vector<double> step(int32_t token) {
    std::vector<double> x(embedding_.begin() + token * config_.hidden_size,
                          embedding_.begin() + (token + 1) * config_.hidden_size);
    for (int64_t b = 0; b < config_.blocks; ++b) {
      const Block& block = blocks_[static_cast<size_t>(b)];
      add(x, attention(b, norm(x, block.input_norm)));
      const std::vector<double> inner = norm(x, block.mlp_norm), up = product(block.up, inner);
      std::vector<double> gate = product(block.gate, inner);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      add(x, product(block.down, gate));
    }
    ++read_;
    return product(head_, norm(x, read("model.norm.weight")));
  }

  // What is beyond the budget goes: behind a prompt or a chunk of it, or behind one token.
  void cut(bool is_prompt) {
    for (size_t unit = 0; unit < caches_.size(); ++unit) {
      const auto heads = static_cast<size_t>(config_.kv_heads);
      if (policy_.attention_weight < 1 && policy_.needs_scores() && unit % heads == 0) weigh_errors(unit, is_prompt);
      std::vector<Entry>& cache = caches_[unit];
      const std::set<int64_t> stays = kept(cache, unit / heads);
      std::vector<Entry> next;
      for (const Entry& entry : cache)
        if (stays.count(entry.position) > 0) next.push_back(entry);
      for (const Entry& entry : cache)
        if (policy_.merges && stays.count(entry.position) == 0) merge(entry, next);
      cache = std::move(next);
    }
  }

 private:
  using Numbers = std::vector<double>;
  struct Block {
    Numbers input_norm, mlp_norm, q, k, v, o, gate, up, down;
  };
  struct Entry {
    int64_t position;
    Numbers key, value;  // the key rotated, but with rolling positions
    double score = 0, count = 1;
    double key_error = 0, value_error = 0;  // L2 norms of what 4 bits lose
    double rank = 0;                        // what Q-Hitter goes by
  };
  struct Range {
    double low = 1e300, high = -1e300;
    void cover(double x) {
      low = std::min(low, x);
      high = std::max(high, x);
    }
    double norm(double x) const { return high > low ? std::clamp((x - low) / (high - low), 0.0, 1.0) : 0; }
  };

  Numbers read(const std::string& name) const {
    const TensorInfo* info = file_.find(name);
    const auto bytes = file_.data(*info);
    Numbers result;
    if (info->dtype == DType::kF32) {
      for (size_t i = 0; i < bytes.size(); i += 4) {
        float value;
        std::memcpy(&value, bytes.data() + i, 4);
        result.push_back(value);
      }
    } else {
      for (size_t i = 0; i < bytes.size(); i += 2) {
        uint16_t value;
        std::memcpy(&value, bytes.data() + i, 2);
        result.push_back(bfloat16_to_float(value));
      }
    }
    return result;
  }
  static void add(Numbers& x, const Numbers& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  static Numbers product(const Numbers& matrix, const Numbers& x) {
    Numbers result(matrix.size() / x.size());
    for (size_t r = 0; r < result.size(); ++r) {
      double sum = 0;
      for (size_t c = 0; c < x.size(); ++c) sum += matrix[r * x.size() + c] * x[c];
      result[r] = sum;
    }
    return result;
  }
  Numbers norm(const Numbers& x, const Numbers& gain) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.size()) + config_.norm_eps);
    Numbers result(x.size());
    for (size_t i = 0; i < x.size(); ++i) result[i] = x[i] * inverse * gain[i];
    return result;
  }
  Numbers rotated(const Numbers& all, int64_t head, int64_t place) const {
    const auto dim = static_cast<size_t>(config_.head_dim), half = dim / 2;
    Numbers x(all.begin() + head * config_.head_dim, all.begin() + (head + 1) * config_.head_dim), result(dim);
    for (size_t d = 0; d < half; ++d) {
      const double angle = static_cast<double>(place) *
                           std::pow(config_.rope.theta, -2.0 * static_cast<double>(d) / static_cast<double>(dim));
      result[d] = x[d] * std::cos(angle) - x[d + half] * std::sin(angle);
      result[d + half] = x[d + half] * std::cos(angle) + x[d] * std::sin(angle);
    }
    return result;
  }
  Numbers attention(int64_t b, const Numbers& x) {
    const Block& block = blocks_[static_cast<size_t>(b)];
    const Numbers q = product(block.q, x), k = product(block.k, x), v = product(block.v, x);
    const int64_t dim = config_.head_dim, group = config_.heads / config_.kv_heads;
    const bool rolls = policy_.evicts() && policy_.positions == KvPolicy::Positions::kRolling;
    Numbers mixed(static_cast<size_t>(config_.heads * dim));
    for (int64_t kv = 0; kv < config_.kv_heads; ++kv) {
      std::vector<Entry>& cache = caches_[static_cast<size_t>(b * config_.kv_heads + kv)];
      Numbers plain(k.begin() + kv * dim, k.begin() + (kv + 1) * dim);
      cache.push_back(
          {read_, rolls ? plain : rotated(k, kv, read_), Numbers(v.begin() + kv * dim, v.begin() + (kv + 1) * dim)});
      cache.back().key_error = lost(cache.back().key);
      cache.back().value_error = lost(cache.back().value);
      const auto last = static_cast<int64_t>(cache.size()) - 1;
      for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
        const Numbers query = rotated(q, head, rolls ? last : read_);
        Numbers weights;
        double sum = 0;
        for (int64_t i = 0; i <= last; ++i) {
          Entry& entry = cache[static_cast<size_t>(i)];
          const Numbers key = rolls ? rotated(entry.key, 0, i) : entry.key;
          double score = 0;
          for (size_t d = 0; d < key.size(); ++d) score += query[d] * key[d];
          weights.push_back(entry.count * std::exp(score / std::sqrt(static_cast<double>(dim))));
          sum += weights.back();
        }
        for (size_t i = 0; i < weights.size(); ++i) {
          cache[i].score += weights[i] / sum;
          for (size_t d = 0; d < static_cast<size_t>(dim); ++d)
            mixed[static_cast<size_t>(head * dim) + d] += weights[i] / sum * cache[i].value[d];
        }
      }
    }
    return product(block.o, mixed);
  }

  // Columns of the patterns: half of what is not for heavy hitters, strides and stretches powers of two.
  bool is_column(int64_t position, int64_t pattern, int64_t& recent) const {
    if (policy_.keep == KvPolicy::Keep::kStrided) {
      int64_t stride = 1;
      while (read_ / stride > pattern / 2) stride *= 2;
      recent = pattern - read_ / stride;
      return (position + 1) % stride == 0;
    }
    if (policy_.keep == KvPolicy::Keep::kFixed) {
      int64_t stretch = 1;
      while (stretch * 2 <= pattern / 2) stretch *= 2;
      const int64_t earlier = (read_ - 1) / stretch;
      recent = read_ - earlier * stretch;
      if (earlier == 0) return false;
      const int64_t summary = std::min(stretch, std::max<int64_t>(1, (pattern - stretch) / earlier));
      return position % stretch >= stretch - summary;
    }
    return false;
  }
  // What codes of 4 bits lose of x, each `group` numbers in 15 steps from the least to the greatest.
  double lost(const Numbers& x) const {
    double sum = 0;
    for (size_t first = 0; first < x.size(); first += static_cast<size_t>(policy_.group)) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(first),
                 end = x.begin() +
                       static_cast<std::ptrdiff_t>(std::min(x.size(), first + static_cast<size_t>(policy_.group)));
      const double least = *std::min_element(begin, end), most = *std::max_element(begin, end);
      const double low = as_half(least), step = as_half((most - low) / 15);
      for (auto number = begin; number != end; ++number) {
        const double code = step > 0 ? std::clamp(std::nearbyint((*number - low) / step), 0.0, 15.0) : 0;
        sum += (*number - low - code * step) * (*number - low - code * step);
      }
    }
    return std::sqrt(sum);
  }
  static double as_half(double x) { return half_to_float(float_to_half(static_cast<float>(x))); }
  // Q-Hitter: ranges over all heads of a block; those of errors are the prompt's. Of a prompt 35 % are sure by
  // attention alone.
  void weigh_errors(size_t first, bool is_prompt) {
    const auto heads = static_cast<size_t>(config_.kv_heads);
    error_ranges_.resize(2 * caches_.size());
    Range scores, &keys = error_ranges_[2 * first], &values = error_ranges_[2 * first + 1];
    for (size_t unit = first; unit < first + heads; ++unit) {
      for (const Entry& entry : caches_[unit]) {
        scores.cover(entry.score);
        if (is_prompt) keys.cover(entry.key_error);
        if (is_prompt) values.cover(entry.value_error);
      }
    }
    for (size_t unit = first; unit < first + heads; ++unit) {
      std::vector<Entry*> order;
      for (Entry& entry : caches_[unit]) {
        const double loss = (keys.norm(entry.key_error) + values.norm(entry.value_error)) / 2;
        entry.rank = policy_.attention_weight * scores.norm(entry.score) + (1 - policy_.attention_weight) * (1 - loss);
        order.push_back(&entry);
      }
      std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->score > b->score; });
      const auto sure = static_cast<size_t>(0.35 * static_cast<double>(policy_.budget_of(read_)) + 1e-9);
      for (size_t i = 0; is_prompt && i < std::min(sure, order.size()); ++i) order[i]->rank += 2;
    }
  }
  // Blocks that share a pyramid: from almost twice the mean down to a twentieth of it, where there is room.
  int64_t budget_of(size_t block) const {
    const double mean = policy_.budget, last = static_cast<double>(config_.blocks - 1);
    if (policy_.is_even()) return policy_.budget_of(read_);
    if (mean > 1) {
      const double most = std::min(0.95 * mean, mean - static_cast<double>(policy_.sinks) - 1);
      return std::min(read_,
                      static_cast<int64_t>(mean + std::round(most - 2 * most * static_cast<double>(block) / last)));
    }
    const double first = std::min(1.95 * mean, 1.0);
    const double share = first - (first - mean) * 2 * static_cast<double>(block) / last;
    return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(share * static_cast<double>(read_) - 1e-9)));
  }
  std::set<int64_t> kept(const std::vector<Entry>& cache, size_t block) const {
    const int64_t budget = budget_of(block), sinks = std::min(policy_.sinks, budget);
    const auto heavy =
        std::min(static_cast<int64_t>(policy_.heavy * static_cast<double>(budget) + 1e-9), budget - sinks);
    int64_t recent = budget - sinks - heavy;
    static_cast<void>(is_column(0, budget - sinks - heavy, recent));
    std::set<int64_t> result;
    const auto take = [&](int64_t position) {
      if (static_cast<int64_t>(result.size()) < budget) result.insert(position);
    };
    for (const Entry& entry : cache)
      if (entry.position < sinks) take(entry.position);
    for (auto entry = cache.rbegin(); entry != cache.rend(); ++entry)
      if (entry->position >= read_ - recent) take(entry->position);
    int64_t ignored = 0;
    for (auto entry = cache.rbegin(); entry != cache.rend(); ++entry)
      if (is_column(entry->position, budget - sinks - heavy, ignored)) take(entry->position);
    std::vector<Entry> others;
    for (const Entry& entry : cache)
      if (result.count(entry.position) == 0) others.push_back(entry);
    std::stable_sort(others.begin(), others.end(), [&](const Entry& a, const Entry& b) {
      if (policy_.heavy > 0 && policy_.attention_weight < 1) return a.rank > b.rank;
      return policy_.heavy > 0 ? a.score > b.score : a.position > b.position;
    });
    for (const Entry& entry : others) take(entry.position);
    return result;
  }
  void merge(const Entry& gone, std::vector<Entry>& cache) const {
    Entry* best = nullptr;
    double most = -2;
    for (Entry& entry : cache) {
      if (std::abs(entry.position - gone.position) > policy_.reach) continue;
      double both = 0, own = 0, other = 0;
      for (size_t d = 0; d < gone.key.size(); ++d) {
        both += entry.key[d] * gone.key[d];
        own += entry.key[d] * entry.key[d];
        other += gone.key[d] * gone.key[d];
      }
      if (both / std::sqrt(own * other) <= most) continue;
      most = both / std::sqrt(own * other);
      best = &entry;
    }
    if (best == nullptr) return;
    for (size_t d = 0; d < gone.key.size(); ++d) {
      best->key[d] = (best->count * best->key[d] + gone.count * gone.key[d]) / (best->count + gone.count);
      best->value[d] = (best->count * best->value[d] + gone.count * gone.value[d]) / (best->count + gone.count);
    }
    best->count += gone.count;
  }

  ModelConfig config_;
  SafetensorsFile file_;
  KvPolicy policy_;
  Numbers embedding_, head_;
  std::vector<Block> blocks_;
  std::vector<std::vector<Entry>> caches_;  // [blocks, kv_heads]
  std::vector<Range> error_ranges_;         // of a block's keys and values, by its first head
  int64_t read_ = 0;
};

}  // namespace ockham::test
