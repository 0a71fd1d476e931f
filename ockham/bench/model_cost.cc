#include "ockham/bench/model_cost.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace ockham {
namespace {

double weights_of(const KernelMatrix& matrix) {
  return static_cast<double>(matrix.rows()) * static_cast<double>(matrix.columns());
}

bool holds_zeros(const MatrixLayout& layout) {
  return !std::holds_alternative<DenseRows>(layout) && !std::holds_alternative<IntegerPanels>(layout);
}

MultiplyUnit unit_of(const MatrixLayout& layout) {
  if (shape_of(layout).form.is_rounded) return MultiplyUnit::kInt8;
  const auto* dense = std::get_if<DenseRows>(&layout);
  return dense != nullptr && dense->type == DType::kBF16 ? MultiplyUnit::kBF16 : MultiplyUnit::kF32;
}

// body(matrix, expert): every matrix that a token is multiplied with in the blocks, with the expert it belongs to (-1:
// none).
template <typename Body>
void for_linears(const EngineBlock& block, const Body& body) {
  const auto one = [&](const KernelMatrix& matrix, int64_t expert) {
    if (matrix.rows() > 0) body(matrix, expert);
  };
  for (const EngineLinear* linear : {&block.query, &block.key, &block.value, &block.output}) one(linear->weight, -1);
  const auto mlp = [&](const EngineMlp& weights, int64_t expert) {
    for (const EngineLinear* linear : {&weights.gate, &weights.up, &weights.down}) one(linear->weight, expert);
  };
  const bool is_mixture = block.router.rows() > 0;
  for (size_t i = 0; i < block.mlps.size(); ++i) mlp(block.mlps[i], is_mixture ? static_cast<int64_t>(i) : -1);
  mlp(block.shared_expert, -1);
  one(block.router, -1);
  one(block.shared_gate, -1);
}

template <typename Body>
void for_frame(const EngineModel& model, const Body& body) {
  for (const KernelMatrix* matrix : {&model.head, &model.project_in, &model.project_out})
    if (matrix->rows() > 0) body(*matrix);
}

// Share of the experts that `tokens` tokens touch.
double touched_experts(const ModelConfig& config, double tokens) {
  const double chosen = static_cast<double>(config.experts_per_token) / static_cast<double>(config.experts);
  return 1 - std::pow(1 - chosen, tokens);
}

// Bytes of the blocks' linears that a pass of `tokens` tokens reads.
double pass_bytes(const EngineModel& model, double tokens) {
  double bytes = 0;
  for (const EngineBlock& block : model.blocks)
    for_linears(block, [&](const KernelMatrix& matrix, int64_t expert) {
      bytes += static_cast<double>(matrix.bytes()) * (expert >= 0 ? touched_experts(model.config(), tokens) : 1);
    });
  return bytes;
}

double token_operations(const EngineModel& model) {
  const ModelConfig& config = model.config();
  double operations = 0;
  for (const EngineBlock& block : model.blocks)
    for_linears(block, [&](const KernelMatrix& matrix, int64_t expert) {
      const double share =
          expert < 0 ? 1 : static_cast<double>(config.experts_per_token) / static_cast<double>(config.experts);
      operations += 2 * weights_of(matrix) * share;
    });
  return operations;
}

StepCost frame_cost(const EngineModel& model, double rows) {
  StepCost cost;
  for_frame(model, [&](const KernelMatrix& matrix) {
    cost.bytes += static_cast<double>(matrix.bytes());
    cost.operations += 2 * weights_of(matrix) * rows;
  });
  return cost;
}

// Tokens that one token attends to, summed over the blocks: the policy's budget and itself, or all.
double seen(const ModelConfig& config, double context, const KvPolicy& policy) {
  double sum = 0;
  for (int64_t block = 0; block < config.blocks; ++block) {
    double tokens = context;
    if (policy.evicts()) {
      const auto read = static_cast<int64_t>(context);
      tokens = std::min(tokens, static_cast<double>(policy.budget_of(read, block, config.blocks) + 1));
    }
    sum +=
        config.is_sliding(block) && config.window > 0 ? std::min(tokens, static_cast<double>(config.window)) : tokens;
  }
  return sum;
}

double attention_operations(const ModelConfig& config, double context, const KvPolicy& policy) {
  return 4 * static_cast<double>(config.heads * config.head_dim) * seen(config, context, policy);
}
// Bytes that attention reads for one token. Codes are read whole, the tokens behind the last full block as floats.
double read_bytes(const ModelConfig& config, double context, const KvShape& cache) {
  const double floats = 2 * static_cast<double>(cache.kv_heads * cache.head_dim * dtype_size(cache.type));
  if (!cache.is_coded()) {
    const double of_codes = static_cast<double>(PagedCache::page_bytes(cache)) /
                            static_cast<double>(cache.blocks * PagedCache::kPageTokens);
    return (cache.has_coded_tokens() ? of_codes : floats) * seen(config, context, cache.policy);
  }
  const double coded = std::floor((context - 1) / CodedPages::kTokens);
  return coded * static_cast<double>(PagedCache::page_bytes(cache)) +
         floats * static_cast<double>(cache.blocks) * (context - coded * CodedPages::kTokens);
}

}  // namespace

double cache_bytes(const KvShape& cache, int64_t tokens) {
  const int64_t pages = cache.policy.evicts() ? PagedCache::claimed_pages(cache, cache.policy, 0, tokens)
                                              : PagedCache::needed_pages(cache, tokens);
  return static_cast<double>(PagedCache::page_bytes(cache) * pages);
}

ModelCost cost_of(const EngineModel& model) {
  ModelCost cost;
  std::array<double, 3> by_unit = {};
  for (const EngineBlock& block : model.blocks) {
    for_linears(block, [&](const KernelMatrix& matrix, int64_t) {
      cost.linear_weights += weights_of(matrix);
      cost.linear_bytes += static_cast<double>(matrix.bytes());
      cost.layouts[matrix.description()] += weights_of(matrix);
      for (const MatrixPart& part : matrix.parts()) {
        const double weights = static_cast<double>(shape_of(part.layout).rows) * static_cast<double>(matrix.columns());
        by_unit[static_cast<size_t>(unit_of(part.layout))] += weights;
        if (!holds_zeros(part.layout)) cost.kept_dense += weights;
      }
    });
  }
  cost.kept_dense = cost.linear_weights > 0 ? std::min(1.0, cost.kept_dense / cost.linear_weights) : 0;
  cost.unit = static_cast<MultiplyUnit>(std::max_element(by_unit.begin(), by_unit.end()) - by_unit.begin());
  cost.weights = cost.linear_weights;
  cost.packed_bytes = cost.linear_bytes;
  for_frame(model, [&](const KernelMatrix& matrix) {
    cost.weights += weights_of(matrix);
    cost.packed_bytes += static_cast<double>(matrix.bytes());
  });
  return cost;
}

StepCost decode_cost(const EngineModel& model, double context, int64_t batch, const KvShape& cache) {
  const auto sequences = static_cast<double>(batch);
  StepCost cost = frame_cost(model, sequences);
  cost.bytes += pass_bytes(model, sequences) + sequences * read_bytes(model.config(), context, cache);
  cost.operations +=
      sequences * (token_operations(model) + attention_operations(model.config(), context, cache.policy));
  return cost;
}

StepCost prefill_cost(const EngineModel& model, int64_t prompt, int64_t batch, int64_t pass_tokens,
                      const KvShape& cache) {
  const double tokens = static_cast<double>(prompt * batch), sequences = static_cast<double>(batch);
  const double passes = std::ceil(tokens / static_cast<double>(pass_tokens));
  StepCost cost = frame_cost(model, sequences);
  cost.bytes += passes * pass_bytes(model, tokens / passes);
  // A token sees half of its prompt, on the average; a pass reads what is in the cache once.
  const double mean_context = static_cast<double>(prompt + 1) / 2;
  cost.bytes += passes * read_bytes(model.config(), mean_context, cache);
  cost.operations += tokens * (token_operations(model) + attention_operations(model.config(), mean_context, {}));
  return cost;
}

}  // namespace ockham
