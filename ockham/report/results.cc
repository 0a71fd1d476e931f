// Look-ups in stored results, the study description as JSON, and merging of shards.
#include "ockham/report/results.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

constexpr int64_t kDescriptionVersion = 1;

std::vector<std::string> texts(const Json& json, const std::string& key, const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array()) throw_input("{}: key '{}' is missing or not a list", where, key);
  std::vector<std::string> result;
  for (const Json& entry : *found) {
    if (!entry.is_string()) throw_input("{}: key '{}' holds {}, expected texts", where, key, entry.dump());
    result.push_back(entry.get<std::string>());
  }
  return result;
}

std::vector<uint64_t> seeds_of(const Json& json, const std::string& name, const std::string& where) {
  if (!json.is_array()) throw_input("{}: seeds of '{}' are not a list", where, name);
  std::vector<uint64_t> seeds;
  for (const Json& seed : json) {
    if (!seed.is_number_unsigned())
      throw_input("{}: seeds of '{}' hold {}, expected whole numbers", where, name, seed.dump());
    seeds.push_back(seed.get<uint64_t>());
  }
  return seeds;
}

// Adds what is new and refuses what has the same name and another hash.
template <typename Entry>
void join(std::vector<Entry>& all, const std::vector<Entry>& more, const std::string& what, const std::string& first,
          const std::string& second) {
  for (const Entry& entry : more) {
    const auto same = std::find_if(all.begin(), all.end(), [&](const Entry& e) { return e.name == entry.name; });
    if (same == all.end()) {
      all.push_back(entry);
    } else if (same->sha256 != entry.sha256) {
      throw_input("{}: {} '{}' has the hash {}, but {} in {}; results of different {}s cannot stand in one report",
                  second, what, entry.name, entry.sha256.substr(0, 12), same->sha256.substr(0, 12), first, what);
    }
  }
}

}  // namespace

Json to_json(const StudyDescription& study) {
  Json json;
  json["version"] = kDescriptionVersion;
  json["title"] = study.title;
  json["baseline"] = study.baseline;
  json["tier"] = study.tier;
  json["margin"] = study.margin;
  json["prompt_mode"] = study.prompt_mode;
  if (!study.system_prompt.empty()) json["system_prompt"] = study.system_prompt;
  json["models"] = Json::array();
  for (const StudyDescription::Model& model : study.models) {
    Json entry = {{"name", model.name}, {"recipes", model.recipes}};
    if (!model.seeds.empty()) entry["seeds"] = model.seeds;
    if (!model.smaller_of.empty()) entry["smaller_of"] = model.smaller_of;
    if (!model.published.empty()) entry["published"] = model.published;
    json["models"].push_back(std::move(entry));
  }
  if (!study.published_text.empty())
    json["published"] = {{"name", study.published_name}, {"table", study.published_text}};
  json["seeds"] = Json::object();
  for (const auto& [recipe, seeds] : study.seeds) json["seeds"][recipe] = seeds;
  json["tasks"] = study.tasks;
  json["text"] = study.text;
  return json;
}

StudyDescription study_from_json(const Json& json, const std::string& where) {
  const int64_t version = json_integer(json, "version", where);
  if (version != kDescriptionVersion)
    throw_error(ErrorKind::kUnsupported,
                "{}: study description has version {}, this program reads {}; use the Ockham that wrote it", where,
                version, kDescriptionVersion);
  StudyDescription study;
  study.title = json_text(json, "title", where);
  study.baseline = json_text(json, "baseline", where);
  study.tier = json_text(json, "tier", where);
  study.margin = json_real(json, "margin", where);
  study.prompt_mode = json_text(json, "prompt_mode", where, "clean");
  study.system_prompt = json_text(json, "system_prompt", where, "");
  study.text = json_text(json, "text", where);
  study.tasks = texts(json, "tasks", where);
  if (!json.contains("models") || !json["models"].is_array())
    throw_input("{}: key 'models' is missing or not a list", where);
  for (const Json& model : json["models"]) {
    study.models.push_back({json_text(model, "name", where), texts(model, "recipes", where)});
    if (model.contains("seeds")) study.models.back().seeds = seeds_of(model["seeds"], study.models.back().name, where);
    study.models.back().smaller_of = json_text(model, "smaller_of", where, "");
    study.models.back().published = json_text(model, "published", where, "");
  }
  if (json.contains("published")) {
    study.published_name = json_text(json["published"], "name", where);
    study.published_text = json_text(json["published"], "table", where);
  }
  if (!json.contains("seeds") || !json["seeds"].is_object())
    throw_input("{}: key 'seeds' is missing or not an object", where);
  for (const auto& [recipe, seeds] : json["seeds"].items()) study.seeds[recipe] = seeds_of(seeds, recipe, where);
  return study;
}

std::vector<uint64_t> common_draws(const std::vector<uint64_t>& recipe, const std::vector<uint64_t>& model) {
  if (model.empty() || recipe.size() < 2) return recipe;
  std::vector<uint64_t> common;
  for (const uint64_t seed : recipe)
    if (std::find(model.begin(), model.end(), seed) != model.end()) common.push_back(seed);
  return common.empty() ? std::vector<uint64_t>{recipe.front()} : common;
}

std::vector<uint64_t> StudyDescription::draws(const Model& model, const std::string& recipe) const {
  const auto found = seeds.find(recipe);
  if (found == seeds.end()) return {};
  return recipe == kNoiseRecipe ? found->second : common_draws(found->second, model.seeds);
}

const MetricResult* StoredCell::metric(const std::string& name) const {
  for (const MetricResult& entry : metrics)
    if (entry.name == name) return &entry;
  return nullptr;
}

const StoredModel* StudyResults::model(const std::string& name) const {
  for (const StoredModel& entry : models)
    if (entry.name == name) return &entry;
  return nullptr;
}

const StoredRecipe* StudyResults::recipe(const std::string& name) const {
  for (const StoredRecipe& entry : recipes)
    if (entry.name == name) return &entry;
  return nullptr;
}

const StoredCell* StudyResults::cell(const std::string& model_name, const std::string& recipe_name, uint64_t seed,
                                     const std::string& task) const {
  for (const StoredCell& entry : cells)
    if (entry.seed == seed && entry.task == task && entry.recipe == recipe_name && entry.model == model_name)
      return &entry;
  return nullptr;
}

StudyResults merge(std::vector<StudyResults> parts) {
  if (parts.empty()) throw_error(ErrorKind::kUsage, "no results given; name at least one directory of `ockham study`");
  StudyResults all = std::move(parts.front());
  for (size_t i = 1; i < parts.size(); ++i) {
    StudyResults& part = parts[i];
    if (part.study.prompt_mode != all.study.prompt_mode || part.study.system_prompt != all.study.system_prompt)
      throw_input(
          "{}: prompts are {} '{}', but {} '{}' in {}; compare only results of one prompt mode and system prompt",
          part.source, part.study.prompt_mode, part.study.system_prompt, all.study.prompt_mode, all.study.system_prompt,
          all.source);
    if (part.study.tier != all.study.tier)
      throw_input("{}: tier is {}, but {} in {}; compare only results of one tier", part.source, part.study.tier,
                  all.study.tier, all.source);
    join(all.models, part.models, "model", all.source, part.source);
    join(all.recipes, part.recipes, "recipe", all.source, part.source);
    join(all.stored_tasks, part.stored_tasks, "task", all.source, part.source);
    all.tasks.merge(part.tasks);
    for (const StudyDescription::Model& model : part.study.models) {
      auto same = std::find_if(all.study.models.begin(), all.study.models.end(),
                               [&](const StudyDescription::Model& m) { return m.name == model.name; });
      if (same == all.study.models.end()) {
        same = all.study.models.insert(all.study.models.end(), model);
        continue;
      }
      for (const std::string& recipe : model.recipes)
        if (std::find(same->recipes.begin(), same->recipes.end(), recipe) == same->recipes.end())
          same->recipes.push_back(recipe);
    }
    for (const auto& [recipe, seeds] : part.study.seeds)
      for (uint64_t seed : seeds)
        if (auto& known = all.study.seeds[recipe]; std::find(known.begin(), known.end(), seed) == known.end())
          known.push_back(seed);
    for (const std::string& task : part.study.tasks)
      if (std::find(all.study.tasks.begin(), all.study.tasks.end(), task) == all.study.tasks.end())
        all.study.tasks.push_back(task);
    const size_t first_run = all.runs.size();
    all.runs.insert(all.runs.end(), part.runs.begin(), part.runs.end());
    for (StoredCell& cell : part.cells) {
      // Every shard measures the baseline that it needs, so the same cell may stand in several.
      if (all.cell(cell.model, cell.recipe, cell.seed, cell.task) != nullptr) continue;
      cell.run += first_run;
      all.cells.push_back(std::move(cell));
    }
    all.superseded_cells += part.superseded_cells;
  }
  return all;
}

}  // namespace ockham
