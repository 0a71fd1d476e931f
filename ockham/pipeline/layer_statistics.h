// Collects what methods need to know about the inputs of a block's linears. Linears that read the same tensor (q, k and
// v; gate and up, of all experts) share one set of statistics, computed once.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "ockham/methods/method.h"

namespace ockham {

class StatisticsCollector final : public LinearObserver {
 public:
  explicit StatisticsCollector(unsigned needs) : needs_(needs) {}
  void observe(const Linear& linear, const Tensor& input) override;
  // Only these linears are looked at; empty: all.
  void watch(std::set<std::string> linears) { watched_ = std::move(linears); }
  // Statistics of all inputs seen so far; linears with the same inputs share them and the factors made from them.
  // Error(kInput) where activations are not finite.
  LayerStats stats(const Linear& linear) const;
  // Nothing more will be observed: inputs seen last are given up.
  void close() { last_ = {}; }
  // The linear needs its statistics no more; those that no other one waits for are given up.
  void release(const Linear& linear);

 private:
  struct Sums {
    int64_t tokens = 0;
    Tensor squares;  // float64 [C]
    Tensor values;   // float64 [C], sums of x
    Tensor largest;  // float32 [C], of |x|
    Tensor gram;     // float32 [C, C], sums on and above the diagonal
  };
  unsigned needs_;
  std::set<std::string> watched_;
  std::map<std::string, std::string> source_;  // linear -> the first linear with the same input
  std::map<std::string, Sums> sums_;
  mutable std::map<std::string, LayerStats> finished_;
  std::array<std::pair<Tensor, std::string>, 2> last_;  // inputs seen last and the first linear that read them
};

}  // namespace ockham
