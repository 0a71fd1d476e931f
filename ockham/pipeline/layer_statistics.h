// Collects what methods need to know about the inputs of a block's linears. Linears that read the same tensor (q, k and
// v; gate and up) share one set of statistics, computed once.
#pragma once

#include <map>
#include <string>

#include "ockham/methods/method.h"

namespace ockham {

class StatisticsCollector final : public LinearObserver {
 public:
  explicit StatisticsCollector(unsigned needs) : needs_(needs) {}
  void observe(const Linear& linear, const Tensor& input) override;
  // Statistics of all inputs seen so far. Error(kInput) where activations are not finite.
  LayerStats stats(const Linear& linear) const;

 private:
  struct Sums {
    int64_t tokens = 0;
    Tensor squares;  // float64 [C]
  };
  unsigned needs_;
  std::map<std::string, std::string> source_;  // linear -> the first linear with the same input
  std::map<std::string, Sums> sums_;
  Tensor last_input_;
  std::string last_name_;
};

}  // namespace ockham
