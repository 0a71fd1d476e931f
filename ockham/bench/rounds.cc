#include "ockham/bench/rounds.h"

#include <fmt/format.h>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/version.h"
#include "ockham/kernels/target.h"

namespace ockham {

MachineRates LimitRecord::measure() {
  const MachineRates rates = probe_.measure();
  read_.push_back(rates.read_bytes_per_s);
  f32_.push_back(rates.f32_per_s);
  if (rates.bf16_per_s > 0) bf16_.push_back(rates.bf16_per_s);
  if (rates.int8_per_s > 0) int8_.push_back(rates.int8_per_s);
  if (rates.bf16_vectors_per_s > 0) bf16_vectors_.push_back(rates.bf16_vectors_per_s);
  if (rates.int8_vectors_per_s > 0) int8_vectors_.push_back(rates.int8_vectors_per_s);
  return rates;
}

BenchLimits LimitRecord::limits() const {
  BenchLimits limits;
  limits.read_bytes_per_s = spread_of(read_);
  limits.f32_per_s = spread_of(f32_);
  limits.bf16_per_s = spread_of(bf16_);
  limits.int8_per_s = spread_of(int8_);
  limits.bf16_vectors_per_s = spread_of(bf16_vectors_);
  limits.int8_vectors_per_s = spread_of(int8_vectors_);
  limits.read_bytes = probe_.read_bytes();
  limits.last_cache_bytes = last_cache_bytes();
  return limits;
}

double multiply_rate(const MachineRates& rates, const std::string& unit) {
  if (unit == "int8" && rates.int8_per_s > 0) return rates.int8_per_s;
  if (unit == "bf16" && rates.bf16_per_s > 0) return rates.bf16_per_s;
  return rates.f32_per_s;
}

double vector_rate(const MachineRates& rates, const std::string& unit) {
  return unit == "int8" ? rates.int8_vectors_per_s : unit == "bf16" ? rates.bf16_vectors_per_s : 0;
}

int64_t read_bytes_of(const BenchSettings& settings) {
  return settings.read_bytes > 0 ? settings.read_bytes : default_read_bytes();
}

BenchResult begin_result(const BenchSettings& settings) {
  BenchResult result;
  result.version = version();
  result.machine = machine_description();
  result.kernels = std::string(target_name(current_target()));
  result.started = utc_now();
  result.threads = settings.threads > 0 ? settings.threads : thread_count();
  result.tokens = settings.tokens;
  result.rounds = settings.rounds;
  result.pass_tokens = EngineOptions().pass_tokens;
  result.is_fast = settings.precision == ReadPrecision::kFast;
  if (result.is_fast) result.notes.push_back("--fast: prompts with inputs of integer weights rounded to 8 bits");
  result.cache_type = std::string(dtype_config_name(settings.cache_type));
  result.warm_up =
      "before the first round each model answers one prompt (the time to the first token, not warmed up) and decodes "
      "two steps at its largest batch; each measurement of decoding is preceded by one step that does not count";
  return result;
}

int64_t working_bytes(const ModelConfig& config) {
  const int64_t wide = std::max({config.intermediate_size, config.expert_size, config.shared_expert_size}),
                width = 4 * config.hidden_size + 3 * wide + 2 * (config.heads + config.kv_heads) * config.head_dim;
  constexpr int64_t kInputs = 3, kPass = 640, kLogitRows = 300, kOther = int64_t{64} << 20;
  return kPass * 4 * (width + kInputs * std::max(wide, config.hidden_size)) + 4 * kLogitRows * config.vocabulary +
         kOther;
}

std::string gib_text(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.0f} MiB", bytes / (1 << 20)) : fmt::format("{:.1f} GiB", bytes / (1 << 30));
}

}  // namespace ockham
