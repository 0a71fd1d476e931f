// What a server counts, in the text format of Prometheus.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "ockham/serve/service.h"

namespace ockham {

// Durations in buckets that grow by about 2.5 from 10 ms to 5 min.
class Histogram {
 public:
  void add(double seconds);
  std::string text(const std::string& name, const char* help) const;

 private:
  static constexpr std::array<double, 12> kLimits = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 25, 100, 300};
  std::array<int64_t, kLimits.size()> counts_{};  // in each bucket alone
  int64_t count_ = 0;
  double sum_ = 0;
};

class Metrics {
 public:
  // An answer; `route` is one of a few fixed ones.
  void count(const std::string& route, int status);
  void add_latency(double seconds);      // of an answered generation
  void add_first_token(double seconds);  // until the first text of a stream
  std::string text(const ServiceState& state, int64_t connections) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> requests_;
  Histogram latency_, first_token_;
};

}  // namespace ockham
