// Reading, checking and writing of recipes.
#include "ockham/pipeline/recipe.h"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/families/families.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

CalibrationSpec parse_calibration(const YamlNode& node) {
  node.allow_only({"data", "samples", "tokens", "seed", "select", "target", "inputs"});
  CalibrationSpec spec;
  spec.data = node.text_or("data", "");
  spec.samples = node.integer_or("samples", spec.samples);
  spec.tokens = node.integer_or("tokens", spec.tokens);
  const int64_t seed = node.integer_or("seed", 0);
  if (spec.samples < 1) throw_input("{}: key 'samples' is {}, expected at least 1", node.where(), spec.samples);
  if (spec.tokens < 1) throw_input("{}: key 'tokens' is {}, expected at least 1", node.where(), spec.tokens);
  if (seed < 0) throw_input("{}: key 'seed' is {}, expected 0 or more", node.where(), seed);
  spec.seed = static_cast<uint64_t>(seed);
  spec.select = node.text_or("select", spec.select);
  spec.target = node.text_or("target", "");
  if (spec.select != "random" && spec.select != "zipfit")
    throw_input("{}: key 'select' is '{}', expected random or zipfit; correct it", node.where(), spec.select);
  spec.inputs = node.text_or("inputs", spec.inputs);
  if (spec.inputs != "compressed" && spec.inputs != "dense")
    throw_input("{}: key 'inputs' is '{}', expected compressed or dense; correct it", node.where(), spec.inputs);
  if ((spec.select == "zipfit") != !spec.target.empty())
    throw_input("{}: key 'target' is {}, expected a file of texts with select zipfit and nothing otherwise; correct it",
                node.where(), spec.target.empty() ? "missing" : "given");
  return spec;
}

RecipeStep parse_step(const YamlNode& node) {
  node.allow_only({"method", "targets", "params"});
  RecipeStep step;
  step.where = node.where();
  step.method = node.at("method").text();
  step.targets = node.texts_or("targets", step.targets);
  if (const YamlNode* params = node.find("params")) step.params = parse_params(*params);
  find_method(step.method, step.where);
  return step;
}

// Values that an allocation gives later stand at their defaults, for looking at a method before that.
Params with_defaults(const Params& params, const MethodEntry& entry) {
  Params result = params;
  for (const ParamSpec& spec : entry.parameters) {
    if (params.from(spec.name) == nullptr) continue;
    const auto* real = std::get_if<double>(&spec.fallback);
    const auto* whole = std::get_if<int64_t>(&spec.fallback);
    if (real == nullptr && whole == nullptr)
      throw_input("{}: key '{}' takes its value from a step, expected a number parameter; give the value itself",
                  params.where(), spec.name);
    result = result.with(spec.name, real != nullptr ? *real : static_cast<double>(*whole));
  }
  return result;
}

// The allocation step that `{from: NAME}` means: the last one of that method before this step.
size_t find_allocation(const RecipePlan& plan, const Params& params, const std::string& key, const std::string& name) {
  for (size_t i = plan.steps.size(); i-- > 0;) {
    const PlannedStep& step = plan.steps[i];
    // What a step drops is no value for another.
    if (step.entry->name == name && step.entry->allocate && !step.entry->allocate(step.params)->drops()) return i;
  }
  std::vector<std::string> allocations;
  for (const MethodEntry* entry : methods())
    if (entry->allocate) allocations.push_back(entry->name);
  throw_input(
      "{}: key '{}' takes its value from step '{}', which does not stand before it or allocates nothing; name an "
      "earlier "
      "allocation step ({}) or give a number",
      params.where(), key, name, fmt::join(allocations, ", "));
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

std::string yaml_value(const ParamValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* from = std::get_if<FromStep>(&value)) return "{from: " + from->step + "}";
  return to_text(value);
}

std::string yaml_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + quoted(text);
  return "[" + list + "]";
}

struct LinearName {
  std::string full, brief;  // "model.layers.0.mlp.up_proj", "blocks.0.mlp.up_proj"
  int64_t rows = 0, columns = 0;
};

std::vector<LinearName> linear_names(const ModelConfig& config) {
  const Family& family = *find_family(config.family);
  std::vector<LinearName> names;
  for (int64_t block = 0; block < config.blocks; ++block) {
    for (const LinearSpec& spec : block_linears(config, block)) {
      names.push_back({block_prefix(family, block) + spec.name, fmt::format("blocks.{}.{}", block, spec.name),
                       spec.rows, spec.columns});
    }
  }
  return names;
}

bool matches_any(const std::vector<std::string>& patterns, const LinearName& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches_linear(pattern, name.full, name.brief); });
}

// Every pattern of `ignore` must stand for something, be it a linear or a part that no method touches.
void check_ignore(const Recipe& recipe, const ModelConfig& config, const std::vector<LinearName>& names) {
  const Family& family = *find_family(config.family);
  for (const std::string& pattern : recipe.ignore) {
    const bool is_frame = matches_linear(pattern, std::string(family.head), "lm_head") ||
                          matches_linear(pattern, std::string(family.embedding), "embed_tokens") ||
                          matches_linear(pattern, std::string(family.final_norm), "norm");
    if (is_frame || std::any_of(names.begin(), names.end(), [&](const LinearName& name) {
          return matches_linear(pattern, name.full, name.brief);
        })) {
      continue;
    }
    throw_input(
        "{}: ignore pattern '{}' matches nothing in this model, expected names such as lm_head or {}; correct or "
        "remove it",
        recipe.name, pattern, quoted("blocks.0.*"));
  }
}

unsigned needs_of(const Recipe& recipe) {
  unsigned needs = kNeedsNothing;
  for (const RecipeStep& step : recipe.steps) {
    const MethodEntry& entry = find_method(step.method, step.where);
    const Params params(step.where, entry.parameters, step.params);
    needs |= entry.allocate ? entry.allocate(params)->needs() : entry.make(with_defaults(params, entry))->needs();
  }
  return needs;
}

}  // namespace

bool matches_linear(const std::string& pattern, const std::string& name, const std::string& short_name) {
  const std::string last = name.substr(name.rfind('.') + 1);
  for (const std::string& candidate : {name, short_name, last}) {
    if (fnmatch(pattern.c_str(), candidate.c_str(), 0) == 0) return true;
  }
  return false;
}

ParamValue parse_param(const YamlNode& node) {
  if (node.is_map()) {
    node.allow_only({"from"});
    return FromStep{node.at("from").text()};
  }
  const std::string text = node.text();
  if (node.is_quoted()) return text;
  if (text == "true" || text == "false") return text == "true";
  const char* end = text.data() + text.size();
  int64_t whole = 0;
  if (const auto parsed = std::from_chars(text.data(), end, whole); parsed.ec == std::errc() && parsed.ptr == end)
    return whole;
  double real = 0;
  if (const auto parsed = std::from_chars(text.data(), end, real); parsed.ec == std::errc() && parsed.ptr == end) {
    if (!std::isfinite(real)) throw_input("{}: found {}, expected a finite number", node.where(), text);
    return real;
  }
  return text;
}

std::map<std::string, ParamValue> parse_params(const YamlNode& map) {
  std::map<std::string, ParamValue> params;
  for (const std::string& key : map.keys()) params[key] = parse_param(map.at(key));
  return params;
}

KvPolicy parse_kv_cache(const YamlNode& map) {
  const std::string name = map.at("policy").text();
  std::map<std::string, ParamValue> params = parse_params(map);
  params.erase("policy");
  return make_kv_policy(map.where(), name, params);
}

std::vector<std::string> recipe_names(const std::string& directory) {
  std::vector<std::string> names;
  if (fs::is_directory(directory)) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Recipe Recipe::load(const std::string& name_or_path, const std::string& directory) {
  if (name_or_path.ends_with(".yaml") || name_or_path.ends_with(".yml") ||
      name_or_path.find('/') != std::string::npos) {
    return parse(YamlNode::read_file(name_or_path), fs::path(name_or_path).stem().string());
  }
  const fs::path path = fs::path(directory) / (name_or_path + ".yaml");
  if (fs::is_regular_file(path)) return parse(YamlNode::read_file(path.string()), name_or_path);
  const std::vector<std::string> known = recipe_names(directory);
  const std::string nearest = closest_name(name_or_path, known);
  throw_input(
      "recipe '{}' does not exist in {}, expected a name that `ockham recipes` lists or a path ending in .yaml{}",
      name_or_path, directory, nearest.empty() ? "" : "; did you mean '" + nearest + "'?");
}

Recipe Recipe::parse(const YamlNode& root, const std::string& name) {
  root.allow_only({"summary", "calibration", "contrast", "ignore", "steps", "kv_cache"});
  Recipe recipe;
  recipe.name = name;
  recipe.summary = root.text_or("summary", "");
  if (const YamlNode* calibration = root.find("calibration")) recipe.calibration = parse_calibration(*calibration);
  if (const YamlNode* contrast = root.find("contrast")) recipe.contrast = parse_calibration(*contrast);
  recipe.ignore = root.texts_or("ignore", recipe.ignore);
  if (const YamlNode* cache = root.find("kv_cache")) recipe.kv_cache = parse_kv_cache(*cache);
  if (root.find("steps") != nullptr || !recipe.kv_cache)
    for (const YamlNode& step : root.at("steps").items()) recipe.steps.push_back(parse_step(step));
  if (recipe.steps.empty() && !recipe.kv_cache)
    throw_input("{}: key 'steps' is empty, expected at least one step", root.where());
  // The parameters themselves are checked here too, so that a broken recipe is refused without a model.
  for (const RecipeStep& step : recipe.steps) {
    const MethodEntry& entry = find_method(step.method, step.where);
    Params(step.where + ", method " + step.method, entry.parameters, step.params);
  }
  return recipe;
}

void Recipe::set_params(const std::map<std::string, ParamValue>& params, const std::string& where) {
  for (const auto& [key, value] : params) {
    bool is_known = false;
    std::vector<std::string> known;
    for (RecipeStep& step : steps) {
      for (const ParamSpec& spec : find_method(step.method, step.where).parameters) {
        known.push_back(spec.name);
        if (spec.name != key) continue;
        step.params[key] = value;
        is_known = true;
      }
    }
    if (is_known) continue;
    const std::string nearest = closest_name(key, known);
    throw_input("{}: no step of recipe '{}' has a parameter '{}'{}", where, name, key,
                nearest.empty() ? "" : "; did you mean '" + nearest + "'?");
  }
}

bool Recipe::needs_calibration() const {
  return needs_of(*this) != kNeedsNothing;
}

bool Recipe::needs_contrast() const {
  return (needs_of(*this) & kNeedsContrast) != 0;
}

std::string Recipe::to_yaml() const {
  std::string text;
  if (!summary.empty()) text += "summary: " + quoted(summary) + "\n";
  const auto add = [&](const char* key, const CalibrationSpec& spec) {
    text += fmt::format("{}: {{data: {}, samples: {}, tokens: {}, seed: {}", key, quoted(spec.data), spec.samples,
                        spec.tokens, spec.seed);
    if (!spec.target.empty()) text += fmt::format(", select: {}, target: {}", spec.select, quoted(spec.target));
    if (spec.inputs != "compressed") text += ", inputs: " + spec.inputs;
    text += "}\n";
  };
  if (needs_calibration()) add("calibration", calibration);
  if (needs_contrast()) add("contrast", contrast);
  text += "ignore: " + yaml_list(ignore) + "\n";
  if (!steps.empty()) text += "steps:\n";
  for (const RecipeStep& step : steps) {
    text += fmt::format("  - {{method: {}, targets: {}, params: {{", step.method, yaml_list(step.targets));
    bool is_first = true;
    for (const auto& [key, value] : step.params) {
      text += fmt::format("{}{}: {}", is_first ? "" : ", ", key, yaml_value(value));
      is_first = false;
    }
    text += "}}\n";
  }
  if (kv_cache) {
    text += "kv_cache: {policy: " + kv_cache->name;
    for (const auto& [key, value] : kv_cache->changed()) text += fmt::format(", {}: {}", key, yaml_value(value));
    text += "}\n";
  }
  return text;
}

RecipePlan plan_recipe(const Recipe& recipe, const ModelConfig& config) {
  std::vector<LinearName> names = linear_names(config);
  check_ignore(recipe, config, names);
  ModelConfig shape = config;  // as the steps so far leave it
  RecipePlan plan;
  for (const RecipeStep& step : recipe.steps) {
    PlannedStep planned;
    planned.entry = &find_method(step.method, step.where);
    planned.params = Params(step.where + ", method " + step.method, planned.entry->parameters, step.params);
    for (const auto& [key, value] : planned.params.values())
      if (const auto* from = std::get_if<FromStep>(&value))
        planned.allocated[key] = find_allocation(plan, planned.params, key, from->step);
    if (!planned.entry->allocate) planned.method = planned.entry->make(with_defaults(planned.params, *planned.entry));
    for (const std::string& pattern : step.targets) {
      bool is_used = false;
      for (const LinearName& name : names) {
        if (!matches_linear(pattern, name.full, name.brief)) continue;
        is_used = true;
        if (!matches_any(recipe.ignore, name)) planned.targets.insert(name.full);
      }
      if (!is_used) {
        throw_input(
            "{}: target '{}' matches none of the {} linears, expected names such as \"blocks.*\" or \"blocks.0.{}\"; "
            "correct it",
            step.where, pattern, names.size(), find_family(config.family)->linears[kQuery]);
      }
    }
    if (planned.targets.empty()) {
      throw_input(
          "{}: every target of method '{}' is also ignored, expected at least one linear; correct `targets` or "
          "`ignore`",
          step.where, step.method);
    }
    for (const auto& [key, source] : planned.allocated)
      for (const std::string& target : planned.targets)
        if (!plan.steps[source].targets.contains(target))
          throw_input("{}: '{}' takes its '{}' from step '{}', which does not look at it; correct the `targets`",
                      planned.params.where(), target, key, plan.steps[source].entry->name);
    if (planned.method == nullptr) {
      plan.has_allocation = true;
      plan.allocation_needs |= planned.entry->allocate(planned.params)->needs();
    } else {
      for (const LinearName& name : names)
        if (planned.targets.contains(name.full)) planned.method->check(name.full, name.rows, name.columns);
      plan.needs |= planned.method->needs();
      planned.method->resize(shape);
      names = linear_names(shape);
    }
    plan.steps.push_back(std::move(planned));
  }
  return plan;
}

}  // namespace ockham
