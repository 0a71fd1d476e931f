// uniform: the same number for every linear; what other allocations are compared with.
// Reference: the usual setting of Han et al., "Learning both Weights and Connections for Efficient Neural Networks"
// (NeurIPS 2015), layer by layer.
#include "ockham/methods/method.h"

namespace ockham {
namespace {

class Uniform final : public Allocation {
 public:
  explicit Uniform(const Params& params) : mean_(params.real("mean")) {}
  void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>&) override {
    for (const Linear* linear : linears) values_[linear->name] = mean_;
  }
  std::map<std::string, double> values() const override { return values_; }

 private:
  double mean_;
  std::map<std::string, double> values_;
};

}  // namespace

const MethodEntry& uniform_entry() {
  static const MethodEntry kEntry = {"uniform",
                                     "allocation",
                                     "Gives every linear the same sparsity.",
                                     "Han et al., Learning both Weights and Connections for Efficient Neural Networks, "
                                     "NeurIPS 2015 (every layer alike)",
                                     {real_spec("mean", "sparsity of every linear", 0.5, 0, 1)},
                                     {},
                                     [](const Params& params) { return std::make_unique<Uniform>(params); }};
  return kEntry;
}

}  // namespace ockham
