// A recipe: which methods, on which linears, in which order, calibrated on what. Everything about it is checked against
// the model's config before any weight is read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ockham/core/kv_policy.h"
#include "ockham/io/families/config.h"
#include "ockham/io/yaml.h"
#include "ockham/methods/method.h"

namespace ockham {

struct CalibrationSpec {
  std::string data;  // a file, or the name of a generated text ("factworld"); empty: given by the caller
  int64_t samples = 128;
  int64_t tokens = 2048;
  uint64_t seed = 0;
  // "random", or "zipfit": documents most like those of `target`, a file of texts, by compression.
  std::string select = "random", target;
  // What a linear is calibrated on: "compressed", its inputs behind the compressed blocks before it, or "dense", those
  // in the dense model, so that what becomes of a linear depends on no other one (level databases of `ockham search`).
  std::string inputs = "compressed";
};

struct RecipeStep {
  std::string method;
  std::vector<std::string> targets = {"blocks.*"};  // globs over names of linears
  std::map<std::string, ParamValue> params;
  std::string where;  // "wanda-50.yaml:3:5"
};

struct Recipe {
  std::string name;
  std::string summary;
  CalibrationSpec calibration;
  std::vector<std::string> ignore = {"lm_head", "embed_tokens"};
  std::vector<RecipeStep> steps;
  CalibrationSpec contrast;  // a second text, for methods that weigh one against the other
  // What the compressed model's KV cache keeps (`kv_cache: {policy: h2o, budget: 0.2}`); such a recipe may have no
  // steps.
  std::optional<KvPolicy> kv_cache;

  // A YAML file, or the name of one in `directory`. Error(kInput) for whatever is not understood, with the place.
  static Recipe load(const std::string& name_or_path, const std::string& directory);
  static Recipe parse(const YamlNode& root, const std::string& name);
  // Sets parameters in every step whose method has them; Error(kInput) where no step does.
  void set_params(const std::map<std::string, ParamValue>& params, const std::string& where);
  bool needs_calibration() const;
  bool needs_contrast() const;
  // The recipe as YAML, complete and in one fixed form; what is hashed and stored beside results.
  std::string to_yaml() const;
};

// A number, truth value, text or {from: step}, as a recipe or a study gives it.
ParamValue parse_param(const YamlNode& node);
std::map<std::string, ParamValue> parse_params(const YamlNode& map);
// {policy: NAME, key: value, ...}
KvPolicy parse_kv_cache(const YamlNode& map);
// Names of the recipes in a directory, sorted.
std::vector<std::string> recipe_names(const std::string& directory);

// A recipe resolved for one model.
struct PlannedStep {
  const MethodEntry* entry = nullptr;
  std::shared_ptr<const Method> method;  // null for an allocation step
  Params params;
  std::set<std::string> targets;            // names of linears
  std::map<std::string, size_t> allocated;  // parameter -> the earlier allocation step that gives it, per linear
};
struct RecipePlan {
  std::vector<PlannedStep> steps;
  unsigned needs = kNeedsNothing;             // of the methods
  unsigned allocation_needs = kNeedsNothing;  // of the allocation steps, on the dense model
  bool has_allocation = false;
};
// Error(kInput): unknown method or parameter, value out of range, pattern that matches nothing, N:M that does not
// divide.
RecipePlan plan_recipe(const Recipe& recipe, const ModelConfig& config);

// True where `pattern` (with * and ?) matches the name, its short form "blocks.N...", or its last part.
bool matches_linear(const std::string& pattern, const std::string& name, const std::string& short_name);

}  // namespace ockham
