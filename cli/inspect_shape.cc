// `ockham inspect --shape`: weights and KV cache of a model by its shape alone.
#include "cli/inspect_shape.h"

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/kv_option.h"
#include "ockham/core/error.h"
#include "ockham/io/json.h"
#include "ockham/model/known_shapes.h"
#include "ockham/runtime/paged_cache.h"

namespace ockham {
namespace {

constexpr double kBytesOfType = 2;  // float16 or bfloat16, what models and caches are usually held in

std::string gigabytes(double bytes) {
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

// What the native engine takes for a sequence, beside bfloat16: whole pages, corrections in bytes, the newest tokens of
// a cache in codes as they are. Nothing for heads that its codes cannot hold.
std::optional<double> bytes_in_pages(const ModelConfig& config, const KvPolicy& policy, int64_t tokens) {
  constexpr int64_t kMostDim = 256;
  if (policy.is_quantized() && config.head_dim > kMostDim) return std::nullopt;
  const KvShape shape = {config.blocks, config.kv_heads, config.head_dim, DType::kBF16, policy};
  const int64_t pages =
      policy.evicts() ? PagedCache::claimed_pages(shape, policy, 0, tokens) : PagedCache::needed_pages(shape, tokens);
  return static_cast<double>(pages * PagedCache::page_bytes(shape));
}

}  // namespace

void inspect_shape(const ShapeArguments& arguments) {
  const KnownShape shape = known_shape(arguments.shape, data_home() + "/models/shapes.json");
  const ModelConfig& config = shape.config;
  const auto parameters = static_cast<double>(parameter_count(config));
  const int64_t tokens = arguments.tokens > 0 ? arguments.tokens : config.context_length;
  const double of_token = kBytesOfType * 2 * static_cast<double>(config.blocks * config.kv_heads * config.head_dim);
  const double cache = of_token * static_cast<double>(tokens) * static_cast<double>(arguments.batch);
  Json json = {
      {"shape", arguments.shape},
      {"origin", shape.origin},
      {"parameters", parameters},
      {"bytes_at",
       {{"float32", 4 * parameters}, {"16 bit", 2 * parameters}, {"8 bit", parameters}, {"4 bit", parameters / 2}}},
      {"kv_cache",
       {{"batch", arguments.batch},
        {"tokens", tokens},
        {"bytes_per_token", of_token},
        {"bytes", cache},
        {"times_the_weights", cache / (kBytesOfType * parameters)}}}};
  if (const std::optional<KvPolicy> policy = chosen_kv_policy(arguments.kv)) {
    const KvBytes kept = kv_bytes(*policy, config.kv_heads, config.head_dim, tokens, kBytesOfType);
    const double bytes = kept.total() * static_cast<double>(config.blocks * arguments.batch);
    json["kv_cache"]["policy"] = policy->text();
    json["kv_cache"]["kept_tokens"] = policy->budget_of(tokens);
    json["kv_cache"]["compressed_bytes"] = bytes;
    json["kv_cache"]["side_share"] = kept.side / kept.total();
    if (const std::optional<double> stored = bytes_in_pages(config, *policy, tokens))
      json["kv_cache"]["engine_bytes"] = *stored * static_cast<double>(arguments.batch);
  }
  if (global_options().json) {
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}: {:.2f} billion parameters ({})\n", arguments.shape, parameters / 1e9, shape.origin);
  fmt::print("  weights: float32 {}, 16 bit {}, 8 bit {}, 4 bit {}\n", gigabytes(4 * parameters),
             gigabytes(2 * parameters), gigabytes(parameters), gigabytes(parameters / 2));
  fmt::print("  KV cache in 16 bit: {:.0f} bytes a token; {} for {} sequences of {} tokens, {:.2f} times the weights\n",
             of_token, gigabytes(cache), arguments.batch, tokens, cache / (kBytesOfType * parameters));
  if (json["kv_cache"].contains("policy"))
    fmt::print(
        "  with {}: {} as papers count, {:.1f} % of that; {} of {} tokens kept, {:.1f} % of the bytes are side data\n",
        json["kv_cache"]["policy"].get<std::string>(), gigabytes(json["kv_cache"]["compressed_bytes"].get<double>()),
        100 * json["kv_cache"]["compressed_bytes"].get<double>() / cache,
        json["kv_cache"]["kept_tokens"].get<int64_t>(), tokens, 100 * json["kv_cache"]["side_share"].get<double>());
  if (json["kv_cache"].contains("engine_bytes"))
    fmt::print("  in this engine's pages beside bfloat16: {}\n",
               gigabytes(json["kv_cache"]["engine_bytes"].get<double>()));
}

}  // namespace ockham
