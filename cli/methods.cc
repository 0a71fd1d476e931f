// `ockham methods` and `ockham recipes`: what there is, from the code's own metadata.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "ockham/methods/method.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {
namespace {

const char* type_text(ParamSpec::Type type) {
  switch (type) {
    case ParamSpec::Type::kBool:
      return "true or false";
    case ParamSpec::Type::kInt:
      return "integer";
    case ParamSpec::Type::kReal:
      return "number";
    case ParamSpec::Type::kText:
      return "text";
  }
  return "";
}

std::string range_text(const ParamSpec& spec) {
  if (!spec.choices.empty()) return fmt::format("{}", fmt::join(spec.choices, " | "));
  return spec.low < spec.high ? fmt::format("{:g} to {:g}", spec.low, spec.high) : type_text(spec.type);
}

// A method, or a policy of the KV cache.
struct Listed {
  std::string name, family, summary, paper;
  std::vector<ParamSpec> parameters;
};

std::vector<Listed> list_all() {
  std::vector<Listed> list;
  for (const MethodEntry* entry : methods())
    list.push_back({entry->name, entry->family, entry->summary, entry->paper, entry->parameters});
  for (const KvPolicyEntry& entry : kv_policies())
    list.push_back({entry.name, "kv_cache", entry.summary, entry.paper, entry.specs});
  return list;
}

Json to_json(const Listed& entry) {
  Json parameters = Json::array();
  for (const ParamSpec& spec : entry.parameters) {
    Json item = {{"name", spec.name},
                 {"type", type_text(spec.type)},
                 {"default", to_text(spec.fallback)},
                 {"summary", spec.summary}};
    if (spec.low < spec.high) item["range"] = {spec.low, spec.high};
    if (!spec.choices.empty()) item["choices"] = spec.choices;
    parameters.push_back(item);
  }
  return {{"name", entry.name},
          {"family", entry.family},
          {"summary", entry.summary},
          {"paper", entry.paper},
          {"parameters", parameters}};
}

void run_methods(const std::string& only) {
  std::vector<Listed> list = list_all();
  if (!only.empty()) {
    std::erase_if(list, [&](const Listed& entry) { return entry.name != only; });
    if (list.empty()) find_method(only, "methods");  // says what there is
  }
  if (global_options().json) {
    Json json = Json::array();
    for (const Listed& entry : list) json.push_back(to_json(entry));
    fmt::print("{}\n", json.dump(2));
    return;
  }
  for (const Listed& entry : list) {
    fmt::print("{} ({})\n  {}\n{}", entry.name, entry.family, entry.summary,
               entry.paper.empty() ? "" : "  " + entry.paper + "\n");
    TextTable table({"parameter", "values", "default", "meaning"});
    for (const ParamSpec& spec : entry.parameters)
      table.add({spec.name, range_text(spec), to_text(spec.fallback), spec.summary});
    fmt::print("{}\n", table.text());
  }
}

std::string cell_text(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

// docs/methods.md; a test holds the file against this.
void print_markdown() {
  const std::string directory = data_home() + "/recipes";
  std::map<std::string, std::vector<std::string>> recipes;  // by method
  for (const std::string& name : recipe_names(directory))
    for (const RecipeStep& step : Recipe::load(name, directory).steps) {
      std::vector<std::string>& names = recipes[step.method];
      if (names.empty() || names.back() != name) names.push_back(name);
    }
  fmt::print(
      "# Methods\n\nWritten by `ockham methods --markdown`. A recipe is a list of steps, each a method with its "
      "parameters; `ockham recipes NAME` prints a ready one.\n");
  const std::pair<const char*, const char*> families[] = {
      {"pruning", "Pruning"},
      {"quantization", "Quantization"},
      {"recovery", "Recovery and low rank"},
      {"allocation", "Allocation: what later steps take with `{from: STEP}`"},
      {"diagnosis", "Diagnosis"},
      {"kv_cache", "KV cache: `kv_cache: {policy: NAME, ...}` of a recipe, or `--kv NAME,...`"}};
  for (const auto& [family, title] : families) {
    fmt::print("\n## {}\n", title);
    for (const Listed& entry : list_all()) {
      if (entry.family != family) continue;
      fmt::print("\n### {}\n\n{}{}\n", entry.name, entry.summary,
                 entry.paper.empty() ? "" : " Paper: " + entry.paper + ".");
      if (!entry.parameters.empty())
        fmt::print("\n| parameter | values | default | meaning |\n| --- | --- | --- | --- |\n");
      for (const ParamSpec& spec : entry.parameters)
        fmt::print("| `{}` | {} | {} | {} |\n", spec.name, cell_text(range_text(spec)), to_text(spec.fallback),
                   cell_text(spec.summary));
      if (const auto found = recipes.find(entry.name); found != recipes.end())
        fmt::print("\nRecipes: `{}`.\n", fmt::join(found->second, "`, `"));
    }
  }
}

void run_recipes(const std::string& only) {
  const std::string directory = data_home() + "/recipes";
  if (!only.empty()) {
    const Recipe recipe = Recipe::load(only, directory);
    if (global_options().json) {
      fmt::print("{}\n", Json{{"name", recipe.name}, {"summary", recipe.summary}, {"text", recipe.to_yaml()}}.dump(2));
    } else {
      fmt::print("{}", recipe.to_yaml());
    }
    return;
  }
  Json json = Json::array();
  TextTable table({"recipe", "calibration", "summary"});
  for (const std::string& name : recipe_names(directory)) {
    const Recipe recipe = Recipe::load(name, directory);
    table.add({name, recipe.needs_calibration() ? "yes" : "no", recipe.summary});
    json.push_back({{"name", name}, {"calibration", recipe.needs_calibration()}, {"summary", recipe.summary}});
  }
  if (global_options().json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}", table.text());
  }
}

}  // namespace

void add_methods_command(CLI::App& app) {
  auto only = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "methods", "Compression methods and KV-cache policies with parameters, ranges, defaults and papers");
  auto is_markdown = std::make_shared<bool>(false);
  command->add_option("name", *only, "Show this method only");
  command->add_flag("--markdown", *is_markdown, "Print docs/methods.md: every method with its ready recipes");
  command->footer("Examples:\n  ockham methods\n  ockham methods wanda --json");
  command->callback([only, is_markdown] { *is_markdown ? print_markdown() : run_methods(*only); });
}

void add_recipes_command(CLI::App& app) {
  auto only = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("recipes", "The recipes that come with Ockham");
  command->add_option("name", *only, "Print this recipe");
  command->footer("Examples:\n  ockham recipes\n  ockham recipes wanda-50");
  command->callback([only] { run_recipes(*only); });
}

}  // namespace ockham
