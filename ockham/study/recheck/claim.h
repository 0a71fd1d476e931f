// A published finding that can be checked again: which versions of a model it needs, and a rule that turns their
// comparison into holds, fails or cannot tell. A claim is one function and one row of registry.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

constexpr const char* kTrustPaper = "Hong et al. 2024, Decoding Compressed Trust";

enum class Ruling { kHolds, kFails, kCannotTell };
std::string ruling_text(Ruling ruling);  // "holds", "fails", "cannot tell"
int ruling_exit_code(Ruling ruling);     // 0, 3, 4

struct Recheck {
  Ruling ruling = Ruling::kCannotTell;
  std::string evidence;                         // one or two sentences with the numbers
  std::vector<std::vector<std::string>> table;  // header first; may be empty
};

struct RecheckSettings {
  int64_t bits = 4;   // --bits: the width that a claim speaks of
  double margin = 0;  // --margin in points; 0: the study's
  // --searched, of monotone-error: recipes that `ockham search` wrote, of the same size as the random allocations.
  std::vector<std::string> searched = {};
};

// A version of the model: a recipe's name or file in `use`, with parameters as YAML ("{bits: 6}") or "".
struct VersionSpec {
  std::string name, use, params;
};

struct Claim {
  const char* name;     // "quant-vs-prune"
  const char* finding;  // as published
  const char* source;
  const char* rule;     // what decides
  const char* caution;  // what the ruling does not say; may be ""
  bool needs_rival;
  int64_t draws;  // calibration draws
  std::vector<VersionSpec> (*versions)(const RecheckSettings&);
  std::vector<std::string> tasks;  // of FactWorld; replaced by --tasks
  Recheck (*judge)(const Comparison&, const RecheckSettings&);
  // Whether the rule looks at changes and scores, which pool over models, or at draws and texts, which do not.
  bool pools = true;
};

// In alphabetical order.
const std::vector<Claim>& claims();
const Claim& find_claim(const std::string& name);  // Error(kUsage) with a suggestion

// The families of claims.
std::vector<Claim> bit_claims();
std::vector<Claim> draw_claims();
std::vector<Claim> knowledge_claims();
std::vector<Claim> structure_claims();
std::vector<Claim> trust_claims();

}  // namespace ockham
