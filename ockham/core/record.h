// A measured number together with everything needed to believe it or to measure it again.
#pragma once

#include <cstdint>
#include <string>

namespace ockham {

// Where a number comes from. Empty strings mean "does not apply" (a dense model has no recipe).
struct Origin {
  std::string model_name;
  std::string model_sha256;  // of the model directory's weight and config files
  std::string recipe_name;
  std::string recipe_text;  // the recipe as it was run
  std::string recipe_sha256;
  std::string task;
  std::string data_sha256;  // of the items or of the text
  uint64_t seed = 0;        // the calibration draw
  std::string version;      // of Ockham
  std::string machine;      // processor, cores, instruction sets
  std::string time;         // UTC, ISO 8601
};

struct Record {
  Origin origin;
  std::string metric;  // "accuracy", "perplexity", "refusal"
  double value = 0;
  double low = 0;  // 95 % interval; equal to value where there is none
  double high = 0;
  int64_t n = 0;     // items behind the value
  std::string unit;  // "points", "nats", "bytes", "" for a plain ratio
};

}  // namespace ockham
