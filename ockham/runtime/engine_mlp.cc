// MLPs of a pass, plain or mixtures of experts, and products with weights that ask for rounded inputs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
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
  for (size_t i = 0; i < chosen.size(); ++i)
    std::copy_n(input + chosen[i].token * hidden_size, hidden_size,
                gathered.data() + static_cast<int64_t>(i) * hidden_size);
  const auto exact = std::partition_point(chosen.begin(), chosen.end(),
                                          [&](const Choice& choice) { return choice.token < generated; });
  apply_mlp(weights, gathered.data(), static_cast<int64_t>(chosen.size()), exact - chosen.begin(),
            expert_update.data());
  for (size_t i = 0; i < chosen.size(); ++i)
    vector_kernels().add_scaled(out + chosen[i].token * hidden_size,
                                expert_update.data() + static_cast<int64_t>(i) * hidden_size, chosen[i].share,
                                hidden_size);
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

// See InputRule; which columns stay exact is decided for each token by itself, so that no token depends on its company.
void Engine::State::multiply_rounded(const Product& product, const float* x, int64_t rows) {
  const KernelMatrix& matrix = *product.matrix;
  const InputRule& rule = *product.rule;
  const int64_t columns = matrix.columns(), width = matrix.rows(), exact = static_cast<int64_t>(rule.kept.size());
  rounded_input.reserve(matrix, rows, InputRounding::kToken);
  fine_input.reserve(matrix, rows, InputRounding::kFine);
  const bool has_kept = rule.kept_weights.rows() > 0;
  if (has_kept) kept_input.reserve(rule.kept_weights, rows, InputRounding::kFine);
  const auto threshold = static_cast<float>(rule.threshold);
  for_rows(rows, 8 * columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * columns;
      float *below = small.data() + row * columns, *above = large.data() + row * columns;
      for (int64_t c = 0; c < columns; ++c) {
        const bool is_large = std::fabs(from[c]) >= threshold;
        above[c] = is_large ? from[c] : 0;
        below[c] = is_large ? 0 : from[c];
      }
      for (int64_t i = 0; i < exact; ++i) {
        const int32_t c = rule.kept[static_cast<size_t>(i)];
        kept.data()[row * exact + i] = from[c];
        below[c] = above[c] = 0;
      }
    }
    rounded_input.fill(matrix, small.data(), columns, begin, end);
    fine_input.fill(matrix, large.data(), columns, begin, end);
    if (has_kept) kept_input.fill(rule.kept_weights, kept.data(), exact, begin, end);
  });
  const auto run = [&](const KernelMatrix& weights, const KernelInput& input, float* to) {
    const int64_t units = weights.units(), parts = std::min<int64_t>(units, int64_t{4} * pool.threads());
    pool.run(parts, [&](int64_t number, int) {
      ockham::multiply(weights, input, units * number / parts, units * (number + 1) / parts, to, width);
    });
  };
  const auto add_product = [&](const KernelMatrix& weights, const KernelInput& input) {
    run(weights, input, partial.data());
    vector_kernels().add_scaled(product.out, partial.data(), 1, rows * width);
  };
  run(matrix, rounded_input, product.out);
  add_product(matrix, fine_input);
  if (has_kept) add_product(rule.kept_weights, kept_input);
  if (product.bias == nullptr || product.bias->empty()) return;
  for (int64_t row = 0; row < rows; ++row)
    vector_kernels().add_scaled(product.out + row * width, product.bias->data(), 1, width);
}

}  // namespace ockham
