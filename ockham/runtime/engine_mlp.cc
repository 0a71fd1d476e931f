// MLPs of a pass, plain or mixtures of experts.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/runtime/engine_state.h"

namespace ockham {

void Engine::State::mlp(int64_t index, const float* input, float* out) {
  const EngineBlock& block = model.blocks[static_cast<size_t>(index)];
  if (block.router.rows() > 0) return mixture(block, input, out);
  apply_mlp(block.mlps[0], input, tokens, generated, out);
}

void Engine::State::apply_mlp(const EngineMlp& weights, const float* x, int64_t rows, int64_t exact, float* out) {
  const int64_t width = weights.up.weight.rows();
  const bool is_gated = weights.gate.weight.rows() > 0;
  float* const inner = is_gated ? gate.data() : up.data();
  if (is_gated) {
    const Product products[] = {{weights.gate, gate.data()}, {weights.up, up.data()}};
    multiply(products, x, rows, exact);
  } else {
    const Product product(weights.up, up.data());
    multiply({&product, 1}, x, rows, exact);
  }
  for_rows(rows, 8 * width, [&](int64_t begin, int64_t end) {
    vector_kernels().activate(config.activation, inner + begin * width, is_gated ? up.data() + begin * width : nullptr,
                              (end - begin) * width);
  });
  const Product product(weights.down, out);
  multiply({&product, 1}, inner, rows, exact);
}

// Which tokens each expert sees, and by which share; the experts with the highest scores, lower numbers first.
void Engine::State::choose_experts(const EngineBlock& block, const float* input) {
  const Product product(block.router, scores.data());
  multiply({&product, 1}, input, tokens, generated);
  for (std::vector<Choice>& list : choices) list.clear();
  for (int64_t token = 0; token < tokens; ++token) {
    float* own = scores.data() + token * config.experts;
    const double all = vector_kernels().log_sum_exp(own, config.experts);
    for (int64_t e = 0; e < config.experts; ++e) own[e] = static_cast<float>(std::exp(own[e] - all));
    std::iota(order.begin(), order.end(), 0);
    const auto end = order.begin() + config.experts_per_token;
    std::partial_sort(order.begin(), end, order.end(),
                      [own](int32_t a, int32_t b) { return own[a] > own[b] || (own[a] == own[b] && a < b); });
    float total = 0;
    for (auto expert = order.begin(); expert != end; ++expert) total += own[*expert];
    for (auto expert = order.begin(); expert != end; ++expert) {
      const float share = config.is_routing_normalized ? own[*expert] / total : own[*expert];
      choices[static_cast<size_t>(*expert)].push_back({static_cast<int32_t>(token), share});
    }
  }
}

void Engine::State::add_expert(const EngineMlp& weights, std::span<const Choice> chosen, const float* input,
                               float* out) {
  if (chosen.empty()) return;
  const auto rows = static_cast<int64_t>(chosen.size());
  for_rows(rows, hidden_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::copy_n(input + chosen[static_cast<size_t>(i)].token * hidden_size, hidden_size,
                  gathered.data() + i * hidden_size);
  });
  const auto exact = std::partition_point(chosen.begin(), chosen.end(),
                                          [&](const Choice& choice) { return choice.token < generated; });
  apply_mlp(weights, gathered.data(), rows, exact - chosen.begin(), expert_update.data());
  for_rows(rows, 2 * hidden_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Choice& choice = chosen[static_cast<size_t>(i)];  // of another token each
      vector_kernels().add_scaled(out + choice.token * hidden_size, expert_update.data() + i * hidden_size,
                                  choice.share, hidden_size);
    }
  });
}

void Engine::State::mixture(const EngineBlock& block, const float* input, float* out) {
  choose_experts(block, input);
  std::fill_n(out, tokens * hidden_size, 0.0F);
  for (size_t expert = 0; expert < choices.size(); ++expert)
    add_expert(block.mlps[expert], choices[expert], input, out);
  if (block.shared_gate.rows() == 0) return;
  const Product product(block.shared_gate, scores.data());
  multiply({&product, 1}, input, tokens, generated);
  apply_mlp(block.shared_expert, input, tokens, generated, expert_update.data());
  for (int64_t token = 0; token < tokens; ++token) {
    const float share = 1 / (1 + std::exp(-scores.data()[token]));
    vector_kernels().add_scaled(out + token * hidden_size, expert_update.data() + token * hidden_size, share,
                                hidden_size);
  }
}

}  // namespace ockham
