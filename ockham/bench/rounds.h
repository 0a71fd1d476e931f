// Parts that the kinds of measurement share; private to ockham/bench.
#pragma once

#include <string>
#include <vector>

#include "ockham/bench/bench.h"
#include "ockham/bench/machine_limits.h"

namespace ockham {

// The machine's limits over a run.
class LimitRecord {
 public:
  LimitRecord(ThreadPool& pool, int64_t read_bytes) : probe_(pool, read_bytes) {}
  // Measured now, and kept.
  MachineRates measure();
  BenchLimits limits() const;

 private:
  MachineProbe probe_;
  std::vector<double> read_, f32_, bf16_, int8_, bf16_vectors_, int8_vectors_;
};

// The rate that products of many tokens are held against, of what was measured just now.
double multiply_rate(const MachineRates& rates, const std::string& unit);
// The same without tiles; 0 where nothing multiplies by tiles.
double vector_rate(const MachineRates& rates, const std::string& unit);
int64_t read_bytes_of(const BenchSettings& settings);
// Version, machine, time, settings; no measurement.
BenchResult begin_result(const BenchSettings& settings);
// Bytes of an engine beside weights and caches: what a pass needs.
int64_t working_bytes(const ModelConfig& config);
std::string gib_text(double bytes);

}  // namespace ockham
