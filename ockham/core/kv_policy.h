// Compression of the KV cache, as flags, recipes, studies and requests name it: which tokens a sequence keeps, and how
// their keys and values are stored. One table of policies with their parameters, defaults and papers; the runtime does
// what it says (runtime/kv_choice.h, runtime/kv_codes.h), everything else only passes it on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ockham/core/params.h"

namespace ockham {

struct KvPolicy {
  // Tokens that each block and head of keys keeps. kFixed and kStrided are the evictable column forms of the Sparse
  // Transformer's patterns (Child et al. 2019).
  enum class Keep { kAll, kLocal, kStreaming, kHeavyHitters, kStrided, kFixed };
  enum class Positions { kAbsolute, kRolling };  // kRolling: a kept token's rotation is by its place among the kept
  // What blocks of the model get of the budget. kPyramid: first blocks more than last ones, falling by equal steps to
  // 1/20 of the mean (Cai et al. 2024, PyramidKV, section 4.2, beta = 20), or less steeply where a share would be
  // above 1 or a number of tokens would not be above the sinks. The mean is the budget.
  enum class Layers { kEven, kPyramid };

  std::string name = "full";
  Keep keep = Keep::kAll;
  // Above 1: tokens kept, a whole number; otherwise the share of all tokens read so far, rounded up. 1: all.
  double budget = 1;
  double heavy = 0;   // share of the budget for tokens with the largest accumulated attention
  int64_t sinks = 0;  // first tokens that are never dropped
  Positions positions = Positions::kAbsolute;
  Layers layers = Layers::kEven;
  int64_t chunk = 0;            // prompt tokens between two evictions; 0: once, behind the whole prompt
  bool merges = false;          // a dropped token is added to the kept one most like it
  int64_t reach = 0;            // merges only with keys at most so many positions away
  double attention_weight = 1;  // lambda of Q-Hitter: share of attention in a token's score; the rest is how little
                                // its keys and values lose when quantized
  int bits = 0;                 // 2, 4 or 8: codes of full blocks of 64 tokens; 0: as the engine's cache type says
  int64_t group = 32;           // elements that share a scale and a minimum
  double outliers = 0;          // share of the elements kept exactly, half of them the largest, half the smallest
  int64_t rank = 0;             // of the correction of each head's quantization error

  bool is_even() const { return layers == Layers::kEven; }
  bool evicts() const { return keep != Keep::kAll && budget != 1; }
  bool is_quantized() const { return bits != 0; }
  bool needs_scores() const { return evicts() && heavy > 0; }
  // Tokens kept of `tokens` read; at least 1. In one of a model's blocks, or where all keep equally many (otherwise the
  // mean). More tokens never get less, and one token more gets at most one more.
  int64_t budget_of(int64_t tokens) const { return budget_of(tokens, 0, 1); }
  int64_t budget_of(int64_t tokens, int64_t block, int64_t blocks) const;
  // The parameters that differ from the policy's defaults, as make_kv_policy() takes them.
  std::map<std::string, ParamValue> changed() const;
  // "h2o,budget=0.3": the name and what differs from its defaults; parse_kv_policy() reads it back.
  std::string text() const;
};

// What one sequence of `tokens` tokens takes in one block of a model, when the policy is done with it.
struct KvBytes {
  double elements = 0;  // keys and values: codes, or numbers of the cache's type
  double side = 0;      // scales and minima (float16), outliers (value and place, 6 bytes), corrections (float16)
  double total() const { return elements + side; }
};
// Hao Kang et al. 2024, section 4: n D b / 8 + 4 n D / g + 6 s n D + 2 h r (n + d), for keys and for values.
KvBytes kv_bytes(const KvPolicy& policy, int64_t kv_heads, int64_t head_dim, int64_t tokens, double bytes_of_element);

struct KvPolicyEntry {
  std::string name, summary, paper;
  std::vector<ParamSpec> specs;
};
const std::vector<KvPolicyEntry>& kv_policies();

// Error(kInput) names `where`, what was found and what was expected, for an unknown name or key, a value out of range,
// a budget between tokens.
KvPolicy make_kv_policy(const std::string& where, const std::string& name,
                        const std::map<std::string, ParamValue>& params);
// "NAME" or "NAME,key=value,...", as --kv takes it.
KvPolicy parse_kv_policy(const std::string& where, const std::string& text);

}  // namespace ockham
