#include "ockham/search/levels.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "ockham/core/error.h"
#include "ockham/io/families/families.h"
#include "ockham/methods/method.h"

namespace ockham {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::string step_text(const RecipeStep& step) {
  std::string text = step.method;
  for (const auto& [key, value] : step.params) text += fmt::format(" {}={}", key, to_text(value));
  return text;
}

std::string name_of(const std::vector<RecipeStep>& steps) {
  std::string name;
  for (const RecipeStep& step : steps) name += (name.empty() ? "" : " + ") + step_text(step);
  return name.empty() ? "dense" : name;
}

// The method exists, changes weights linear by linear and takes these parameters.
void check_step(const RecipeStep& step) {
  const MethodEntry& entry = find_method(step.method, step.where);
  if (!entry.make)
    throw_input("{}: '{}' allocates and compresses nothing, expected a method such as sparsegpt or gptq; correct it",
                step.where, step.method);
  const std::unique_ptr<Method> method = entry.make(Params(step.where, entry.parameters, step.params));
  if (method->transforms_blocks() || (method->needs() & kNeedsContrast) != 0 || method->is_true_sequential())
    throw_error(ErrorKind::kUnsupported,
                "{}: '{}' as asked looks at more than one linear or a second text; take a method whose levels can be "
                "computed one by one, such as sparsegpt, wanda, gptq or mixllm",
                step.where, step.method);
}

RecipeStep make_step(const std::string& method, std::map<std::string, ParamValue> params, const std::string& where) {
  RecipeStep step;
  step.method = method;
  step.params = std::move(params);
  step.where = where;
  check_step(step);
  return step;
}

ParamValue parse_value(const std::string& text, const std::string& where) {
  return parse_param(YamlNode::parse(text, where));
}

double parse_real(const std::string& text, const std::string& where) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    throw_error(ErrorKind::kUsage, "{}: found '{}', expected a number", where, text);
  return value;
}

// "0.3:0.9:0.1" or "2:6": texts of all values, the last included.
std::vector<std::string> expand_range(const std::string& text, const std::string& where) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() == 1) return {text};
  const double first = parse_real(parts[0], where), last = parse_real(parts[1], where);
  const double step = parts.size() > 2 ? parse_real(parts[2], where) : 1;
  if (parts.size() > 3 || !(step > 0) || last < first || (last - first) / step > 1000)
    throw_error(ErrorKind::kUsage, "{}: found '{}', expected FIRST:LAST:STEP with at most 1000 steps", where, text);
  std::vector<std::string> values;
  for (int64_t i = 0; first + static_cast<double>(i) * step <= last + step * 1e-6; ++i) {
    std::string value = fmt::format("{:.6g}", first + static_cast<double>(i) * step);
    values.push_back(std::move(value));
  }
  return values;
}

std::vector<Level> read_list(const std::string& list, const LevelRequest& request, const std::string& method) {
  const std::string where = "--levels " + list;
  const size_t equals = list.find('=');
  if (equals == std::string::npos || equals == 0)
    throw_error(
        ErrorKind::kUsage,
        "--levels: found '{}', expected KEY=VALUES as in sparsity=0.4,0.5 or bits=2:6, or grid, or a .yaml file", list);
  const std::string key = list.substr(0, equals);
  std::vector<Level> levels;
  for (const std::string& part : split(list.substr(equals + 1), ','))
    for (const std::string& value : expand_range(trimmed(part), where)) {
      std::map<std::string, ParamValue> params = request.params;
      params[key] = parse_value(value, where);
      Level level;
      level.steps.push_back(make_step(method, std::move(params), where));
      level.name = name_of(level.steps);
      levels.push_back(std::move(level));
    }
  return levels;
}

std::vector<Level> read_level_file(const std::string& path) {
  const YamlNode root = YamlNode::read_file(path);
  root.allow_only({"levels"});
  std::vector<Level> levels;
  for (const YamlNode& node : root.at("levels").items()) {
    if (node.is_scalar()) {
      levels.push_back(parse_level(node.text(), node.where()));
      continue;
    }
    node.allow_only({"steps"});
    Level level;
    for (const YamlNode& step : node.at("steps").items()) {
      step.allow_only({"method", "params"});
      const YamlNode* params = step.find("params");
      level.steps.push_back(make_step(step.at("method").text(),
                                      params != nullptr ? parse_params(*params) : std::map<std::string, ParamValue>{},
                                      step.where()));
    }
    level.name = name_of(level.steps);
    levels.push_back(std::move(level));
  }
  return levels;
}

// A sixteenth of the smallest unit: what a million weights are to a matrix of 4096 x 4096.
SparsityGrid make_grid(const LevelRequest& request, const std::string& method, const std::vector<LevelUnit>& units) {
  if (!(request.sparsity >= 0))
    throw_error(ErrorKind::kUsage, "--levels grid: lies around the sparsity of the budget; add --budget sparsity=0.5");
  SparsityGrid grid;
  grid.method = method;
  grid.mean = request.sparsity;
  grid.params = request.params;
  int64_t least = units.front().weights;
  for (const LevelUnit& unit : units) least = std::min(least, unit.weights);
  grid.step = std::max<int64_t>(1, least / 16);
  return grid;
}

void add_default_lists(LevelRequest& request) {
  if (!request.lists.empty() || !request.single.empty()) return;
  const bool is_sparse = request.sparsity >= 0 && !request.has_bits;
  request.lists.emplace_back(is_sparse ? "grid" : "bits=2:6");
}

std::string default_method(const LevelRequest& request) {
  if (!request.method.empty()) return request.method;
  return request.sparsity >= 0 && !request.has_bits ? "sparsegpt" : "gptq";
}

}  // namespace

UnitKind unit_kind_from_name(const std::string& name) {
  for (const UnitKind kind : {UnitKind::kLinear, UnitKind::kHalf, UnitKind::kBlock})
    if (unit_kind_name(kind) == name) return kind;
  throw_error(ErrorKind::kUsage, "--units: found '{}', expected linear, half or block", name);
}

std::string unit_kind_name(UnitKind kind) {
  return kind == UnitKind::kLinear ? "linear" : kind == UnitKind::kHalf ? "half" : "block";
}

std::vector<LevelUnit> level_units(const ModelConfig& config, UnitKind kind, const std::vector<std::string>& ignore) {
  const Family& family = *find_family(config.family);
  std::vector<LevelUnit> units;
  for (int64_t block = 0; block < config.blocks; ++block) {
    const std::string prefix = block_prefix(family, block);
    size_t place = 0;
    for (const LinearSpec& spec : block_linears(config, block)) {
      const std::string full = prefix + spec.name, brief = fmt::format("blocks.{}.{}", block, spec.name);
      const size_t at = place++;
      if (std::any_of(ignore.begin(), ignore.end(),
                      [&](const std::string& pattern) { return matches_linear(pattern, full, brief); }))
        continue;
      std::string name = brief;
      if (kind == UnitKind::kHalf) name = fmt::format("blocks.{}.{}", block, spec.role < kGate ? "attention" : "mlp");
      if (kind == UnitKind::kBlock) name = fmt::format("blocks.{}", block);
      if (units.empty() || units.back().name != name) units.push_back({name, block, {}, {}, 0});
      units.back().places.push_back(at);
      units.back().linears.push_back(full);
      units.back().weights += spec.rows * spec.columns;
    }
  }
  return units;
}

Level parse_level(const std::string& text, const std::string& where) {
  Level level;
  if (trimmed(text) == "dense") return {"dense", {}};
  for (const std::string& part : split(text, '+')) {
    const std::string step = trimmed(part);
    const size_t colon = step.find(':');
    std::map<std::string, ParamValue> params;
    if (colon != std::string::npos)
      for (const std::string& setting : split(step.substr(colon + 1), ',')) {
        const size_t equals = setting.find('=');
        if (equals == std::string::npos || equals == 0)
          throw_input("{}: found '{}', expected KEY=VALUE, as in sparsegpt:sparsity=0.5+gptq:bits=4", where, setting);
        params[trimmed(setting.substr(0, equals))] = parse_value(setting.substr(equals + 1), where);
      }
    level.steps.push_back(make_step(step.substr(0, colon), std::move(params), where));
  }
  level.name = name_of(level.steps);
  return level;
}

std::vector<Level> LevelSet::of(const LevelUnit& unit) const {
  std::vector<Level> result = levels;
  if (!grid) return result;
  for (int64_t l = -grid->reach; l <= grid->reach; ++l) {
    const double sparsity = grid->mean + static_cast<double>(l * grid->step) / static_cast<double>(unit.weights);
    if (sparsity < 0 || sparsity >= 1) continue;
    Level level;
    std::map<std::string, ParamValue> params = grid->params;
    // As a recipe writes it.
    params["sparsity"] = std::round(sparsity * 1e6) / 1e6;
    level.steps.push_back({grid->method, {}, std::move(params), "--levels grid"});
    level.name = name_of(level.steps);
    result.push_back(std::move(level));
  }
  return result;
}

std::string LevelSet::text() const {
  std::string text;
  for (const Level& level : levels) text += level.name + "\n";
  if (grid) {
    text += fmt::format("grid {} mean={} step={} reach={}", grid->method, grid->mean, grid->step, grid->reach);
    for (const auto& [key, value] : grid->params) text += fmt::format(" {}={}", key, to_text(value));
    text += "\n";
  }
  return text;
}

LevelSet read_levels(const LevelRequest& given, const std::vector<LevelUnit>& units) {
  LevelRequest request = given;
  add_default_lists(request);
  const std::string method = default_method(request);
  // The width of the groups that papers compare at.
  if (method == "gptq" && !request.params.contains("group_size")) request.params["group_size"] = int64_t{128};
  LevelSet set;
  for (const std::string& list : request.lists) {
    if (list == "grid") {
      set.grid = make_grid(request, method, units);
      continue;
    }
    const bool is_file = list.ends_with(".yaml") || list.ends_with(".yml");
    for (Level& level : is_file ? read_level_file(list) : read_list(list, request, method))
      set.levels.push_back(std::move(level));
  }
  for (const std::string& text : request.single) set.levels.push_back(parse_level(text, "--level " + text));
  for (size_t i = 0; i < set.levels.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (set.levels[i].name == set.levels[j].name)
        throw_error(ErrorKind::kUsage, "--levels: '{}' is given twice; leave one out", set.levels[i].name);
  if (set.grid) {
    for (const LevelUnit& unit : units)
      for (const Level& level : set.of(unit))
        for (const RecipeStep& step : level.steps) check_step(step);
  }
  return set;
}

Recipe recipe_of_levels(const std::vector<LevelUnit>& units, const std::vector<Level>& chosen,
                        const CalibrationSpec& calibration) {
  OCKHAM_CHECK(units.size() == chosen.size());
  Recipe recipe;
  recipe.name = "search";
  recipe.calibration = calibration;
  std::map<std::string, std::vector<size_t>> by_level;
  for (size_t u = 0; u < units.size(); ++u) by_level[chosen[u].name].push_back(u);
  for (const auto& [name, members] : by_level)
    for (RecipeStep step : chosen[members.front()].steps) {
      step.targets.clear();
      for (const size_t u : members)
        step.targets.insert(step.targets.end(), units[u].linears.begin(), units[u].linears.end());
      recipe.steps.push_back(std::move(step));
    }
  return recipe;
}

}  // namespace ockham
