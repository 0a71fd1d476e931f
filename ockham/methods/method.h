// What a compression method is: it changes the weight of one linear, given statistics of that linear's inputs. Reading,
// calibrating, packing and writing belong to others, so a method is one .cc file and one line in registry.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/model/decoder.h"

namespace ockham {

// Statistics of the inputs x [tokens, C] of a linear; a method's needs are combined with |.
enum Needs : unsigned { kNeedsNothing = 0, kNeedsMeanSquare = 1 };

struct LayerStats {
  int64_t tokens = 0;
  Tensor mean_square;  // float32 [C]: mean over tokens of x_c^2; undefined when not asked for
};

class Method {
 public:
  virtual ~Method() = default;
  virtual unsigned needs() const { return kNeedsNothing; }
  // Error(kInput) where this linear cannot be compressed as asked (N:M that does not divide C); called before any
  // weight is read.
  virtual void check(const std::string& linear, int64_t rows, int64_t columns) const;
  // Replaces the weight; computes in float32. Zeros of earlier steps stay zero.
  virtual void compress(Linear& linear, const LayerStats& stats) const = 0;
};

struct MethodEntry {
  std::string name;     // the paper's short name: in recipes, reports and file names
  std::string family;   // folder: "pruning", "quantization"
  std::string summary;  // one sentence
  std::string paper;
  std::vector<ParamSpec> parameters;
  std::function<std::unique_ptr<Method>(const Params&)> make;
};

// Every method, in alphabetical order.
const std::vector<const MethodEntry*>& methods();
// Error(kInput) with a suggestion for an unknown name; `where` is the place that names it.
const MethodEntry& find_method(const std::string& name, const std::string& where);

}  // namespace ockham
