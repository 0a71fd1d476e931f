// What a compression method is: it changes the weight of one linear, given statistics of that linear's inputs. Reading,
// calibrating, packing and writing belong to others, so a method is one .cc file and one line in registry.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/model/decoder.h"
#include "ockham/tensor/linalg.h"

namespace ockham {

// Statistics of the inputs x [tokens, C] of a linear; a method's needs are combined with |.
enum Needs : unsigned {
  kNeedsNothing = 0,
  kNeedsMeanSquare = 1,
  kNeedsGram = 2,
  kNeedsMean = 4,
  kNeedsMax = 8,
  kNeedsGradients = 16,  // GradientStats, of the dense model
  kNeedsChange = 32,     // BlockChange, for allocations
  kNeedsHidden = 64,     // no statistics, but the block's inputs, for transform()
  kNeedsContrast = 128   // the mean square on the recipe's second text
};
inline bool needs_statistics(unsigned needs) {
  return (needs & ~static_cast<unsigned>(kNeedsHidden)) != 0;
}

// Of one linear W [R, C]; g is the gradient of the language-model loss, averaged over the calibration sequences.
struct GradientStats {
  Tensor rows, columns;  // float32 [R], [C]: sums of |w g| over the row or column (Ma et al., LLM-Pruner, 2023)
  Tensor fisher;         // float32 [C]: sum over the column of the mean over sequences of the squared gradient
  // float64 [R]: the row's place by salience among the rows of all linears, as a share of them in (0, 1]; the most
  // salient has the least. Salience of a row: sum over sequences of |a + a^2 / 2|, a = sum_c g_c d_c, with d what
  // rounding to 4 bits in groups of 128 changes (Zheng et al., MixLLM, 2024).
  Tensor place;
};

// How much a block, or one of its halves, changes the hidden states: 1 - cos(states with it, states without), the mean
// over tokens (Men et al., ShortGPT, 2024).
struct BlockChange {
  double whole = 0, attention = 0, mlp = 0;
};

struct LayerStats {
  int64_t tokens = 0;
  Tensor mean_square;     // float32 [C]: mean over tokens of x_c^2; undefined when not asked for
  Tensor gram;            // float32 [C, C]: mean over tokens of x x^T, half the layer-wise Hessian; undefined likewise
  Tensor mean, variance;  // float32 [C]: of x_c over tokens (population variance); undefined likewise
  Tensor max_abs;         // float32 [C]: largest |x_c| of any token; undefined likewise
  Tensor contrast_mean_square;         // float32 [C]: mean_square on the second text; undefined likewise
  GradientStats gradients;             // undefined likewise
  double tokens_per_sample = 1;        // the length of a calibration sequence
  at::ScalarType stored = at::kFloat;  // element type of the model on disk; the arithmetic may be wider
  // [R, C] of any floating type: the weight before the first step of the recipe; not to be written to.
  Tensor original;
  // By damping and order of columns; shared by the linears that read the same inputs (see second_order.h).
  std::shared_ptr<std::map<std::pair<double, bool>, HessianFactor>> factors;
  // Says something about this linear in compression.json's warnings; may be empty.
  std::function<void(const std::string&)> note;
};

// A still uncompressed block with its inputs, for methods that look at more than one linear.
struct BlockInputs {
  Tensor hidden;  // [samples, tokens, H]
  const BlockContext& context;
  const std::set<std::string>& targets;                             // names of the linears that the step is for
  const std::map<std::string, GradientStats>* gradients = nullptr;  // by linear; null when not asked for
};

class Method {
 public:
  virtual ~Method() = default;
  // True for methods that change a block as a whole, its function kept, before its linears are compressed.
  virtual bool transforms_blocks() const { return false; }
  virtual void transform(Block&, const BlockInputs&) const {}
  // For methods that make a model smaller: what its config says afterwards.
  virtual void resize(ModelConfig&) const {}
  virtual unsigned needs() const { return kNeedsNothing; }
  // True where the statistics of a linear must come from a block whose earlier linears are compressed already (q, k, v;
  // then o; then gate, up; then down).
  virtual bool is_true_sequential() const { return false; }
  // Error(kInput) where this linear cannot be compressed as asked (N:M that does not divide C); called before any
  // weight is read.
  virtual void check(const std::string& linear, int64_t rows, int64_t columns) const;
  // Replaces the weight; computes in float32. Zeros of earlier steps stay zero.
  virtual void compress(Linear& linear, const LayerStats& stats) const = 0;
};

// Chooses a number for every linear (a sparsity, bits) from the dense model, before anything is compressed; later steps
// take it with `{from: NAME}`.
class Allocation {
 public:
  virtual ~Allocation() = default;
  virtual unsigned needs() const { return kNeedsNothing; }
  // True where a value of 1 means that the linear goes: as part of a whole block, which is removed, or for itself,
  // which makes it zero.
  virtual bool drops() const { return false; }
  // Passes over the model. In those after the first, blocks are compressed as the values so far say before they are
  // looked at; begin_pass() tells the allocation to start again.
  virtual int64_t passes() const { return 1; }
  virtual void begin_pass(int64_t) {}
  // Called before look() with the block and, where kNeedsChange is asked for, what it changes.
  virtual void notice(const Block&, const BlockChange&) {}
  // Called once per block, in order, with the block's targets and the statistics of their inputs.
  virtual void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>& stats) = 0;
  // By name of linear, after the last block. Error(kInput) where the model leaves no choice.
  virtual std::map<std::string, double> values() const = 0;
};

struct MethodEntry {
  std::string name;     // the paper's short name: in recipes, reports and file names
  std::string family;   // folder: "pruning", "quantization"
  std::string summary;  // one sentence
  std::string paper;
  std::vector<ParamSpec> parameters;
  std::function<std::unique_ptr<Method>(const Params&)> make;
  std::function<std::unique_ptr<Allocation>(const Params&)> allocate;  // instead of `make`
};

// Every method, in alphabetical order.
const std::vector<const MethodEntry*>& methods();
// Error(kInput) with a suggestion for an unknown name; `where` is the place that names it.
const MethodEntry& find_method(const std::string& name, const std::string& where);

}  // namespace ockham
