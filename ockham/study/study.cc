// Reading a study file, and the plan that follows from it.
#include "ockham/study/study.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "ockham/core/error.h"
#include "ockham/eval/judges/ngram_judge.h"
#include "ockham/io/file.h"
#include "ockham/report/published_scores.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

constexpr const char* kDense = "dense";

// Paths of a study: as given, beside the study file, or below the program's home.
std::string resolve(const std::string& path, const std::string& study_file, const std::string& home) {
  if (path.empty() || fs::path(path).is_absolute()) return path;
  for (const fs::path& folder : {fs::path(study_file).parent_path(), fs::current_path(), fs::path(home)})
    if (fs::exists(folder / path)) return (folder / path).lexically_normal().string();
  return path;
}

void refuse_twice(const std::vector<std::string>& names, const std::string& where, const std::string& what) {
  for (size_t i = 0; i < names.size(); ++i)
    if (std::find(names.begin() + static_cast<std::ptrdiff_t>(i) + 1, names.end(), names[i]) != names.end())
      throw_input("{}: {} '{}' is given twice; names must differ", where, what, names[i]);
}

// Names become parts of file names and of reports.
std::string checked_name(const YamlNode& node) {
  std::string name = node.text();
  const bool is_plain =
      !name.empty() && name.size() <= 80 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
      });
  if (!is_plain)
    throw_input(
        "{}: name '{}' is not usable; expected letters, digits, '-', '_', '.' or '+', at most 80, not starting with a "
        "dot",
        node.where(), name);
  return name;
}

std::vector<uint64_t> read_seeds(const YamlNode* node) {
  if (node == nullptr) return {0};
  std::vector<uint64_t> seeds;
  for (const YamlNode& entry : node->items()) {
    const int64_t seed = entry.integer();
    if (seed < 0) throw_input("{}: seed {} is negative, expected 0 or more", entry.where(), seed);
    if (std::find(seeds.begin(), seeds.end(), static_cast<uint64_t>(seed)) != seeds.end())
      throw_input("{}: seed {} is given twice", entry.where(), seed);
    seeds.push_back(static_cast<uint64_t>(seed));
  }
  if (seeds.empty()) throw_input("{}: key 'seeds' is empty, expected at least one calibration draw", node->where());
  return seeds;
}

double read_margin(const YamlNode* node, Tier tier) {
  double margin = tier == Tier::kQuick ? 5 : 2;
  if (node != nullptr && node->is_map()) {
    node->allow_only({"quick", "full"});
    margin = node->real_or(tier_name(tier), margin);
  } else if (node != nullptr) {
    margin = node->real();
  }
  if (!(margin > 0 && margin <= 50))
    throw_input("{}: margin {} is out of range, expected points above 0, at most 50", node->where(), margin);
  return margin;
}

void read_calibration(const YamlNode& node, const std::string& file, const std::string& home, CalibrationSpec& spec) {
  node.allow_only({"data", "samples", "tokens"});
  if (const YamlNode* data = node.find("data")) spec.data = resolve(data->text(), file, home);
  spec.samples = node.integer_or("samples", spec.samples);
  spec.tokens = node.integer_or("tokens", spec.tokens);
  if (spec.samples <= 0 || spec.tokens <= 1)
    throw_input("{}: {} samples of {} tokens, expected at least 1 of at least 2", node.where(), spec.samples,
                spec.tokens);
}

// The dense model with a compressed cache.
void set_cache(const KvPolicy& kv, StudyRecipe& recipe) {
  recipe.is_dense = false;
  recipe.recipe = {};
  recipe.recipe.name = recipe.name;
  recipe.recipe.kv_cache = kv;
  recipe.text = recipe.recipe.to_yaml();
  recipe.sha256 = sha256_text(recipe.text);
}

StudyRecipe read_recipe(const YamlNode& node, const YamlNode& root, const std::string& file, const std::string& home,
                        const std::vector<uint64_t>& seeds, StudyBackend& backend) {
  StudyRecipe result;
  std::string use;
  if (node.is_map()) {
    node.allow_only({"name", "use", "params", "calibration", "contrast", "seeds", "kv_cache"});
    result.name = checked_name(node.at("name"));
    use = node.text_or("use", node.find("kv_cache") != nullptr ? kDense : result.name);
  } else {
    use = node.text();
    result.name = use;
    if (use.find('/') != std::string::npos || use.ends_with(".yaml"))
      result.name = fs::path(use).stem().string();
    else
      checked_name(node);
  }
  result.seeds = {seeds.front()};
  const YamlNode* cache = node.is_map() ? node.find("kv_cache") : nullptr;
  if (use == kDense && cache != nullptr) {
    for (const char* key : {"params", "calibration", "contrast", "seeds"})
      if (node.find(key) != nullptr)
        throw_input("{}: recipe '{}' compresses the cache alone and takes no {}", node.where(), result.name, key);
    set_cache(parse_kv_cache(*cache), result);
    return result;
  }
  if (use == kDense) {
    for (const char* key : {"params", "calibration", "contrast", "seeds"})
      if (node.is_map() && node.find(key) != nullptr)
        throw_input("{}: recipe 'dense' changes nothing and takes no {}", node.where(), key);
    result.is_dense = true;
    result.text = kDense;
    result.sha256 = sha256_text(result.text);
    return result;
  }
  if (use.ends_with(".yaml") || use.ends_with(".yml")) use = resolve(use, file, home);
  try {
    result.recipe = Recipe::load(use, home + "/recipes");
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", node.where(), error.what()));
  }
  result.recipe.name = result.name;
  if (cache != nullptr) result.recipe.kv_cache = parse_kv_cache(*cache);
  if (result.recipe.steps.empty()) {
    set_cache(*result.recipe.kv_cache, result);
    return result;
  }
  if (node.is_map())
    if (const YamlNode* params = node.find("params")) result.recipe.set_params(parse_params(*params), params->where());
  const bool has_contrast = result.recipe.needs_contrast();
  if (node.is_map() && node.find("contrast") != nullptr && !has_contrast)
    throw_input("{}: recipe '{}' weighs no two texts; leave out 'contrast'", node.at("contrast").where(), result.name);
  if (!result.recipe.needs_calibration()) {
    result.text = result.recipe.to_yaml();
  } else {
    CalibrationSpec& spec = result.recipe.calibration;
    // One text for all cannot stand for two that are weighed against each other.
    if (const YamlNode* shared = root.find("calibration"); shared != nullptr && !has_contrast)
      read_calibration(*shared, file, home, spec);
    if (node.is_map())
      if (const YamlNode* own = node.find("calibration")) read_calibration(*own, file, home, spec);
    if (spec.data.empty())
      throw_input(
          "{}: recipe '{}' needs calibration data and names none; add `calibration: {{data: FILE}}` to the study, or "
          "`data: factworld`",
          node.where(), result.name);
    CalibrationSpec& contrast = result.recipe.contrast;
    if (node.is_map())
      if (const YamlNode* own = node.find("contrast")) read_calibration(*own, file, home, contrast);
    if (has_contrast && contrast.data.empty())
      throw_input("{}: recipe '{}' weighs two texts and names one; add `contrast: {{data: FILE}}` to it", node.where(),
                  result.name);
    contrast.seed = 0;
    spec.seed = 0;  // the draws are the study's seeds; the text and its hash are the same for all of them
    result.text =
        fmt::format("{}# calibration data sha256: {}\n", result.recipe.to_yaml(), backend.data_sha256(spec.data));
    if (has_contrast) result.text += fmt::format("# contrast data sha256: {}\n", backend.data_sha256(contrast.data));
    const YamlNode* own = node.is_map() ? node.find("seeds") : nullptr;
    result.seeds = own != nullptr ? read_seeds(own) : seeds;
  }
  if (node.is_map() && node.find("seeds") != nullptr && !result.recipe.needs_calibration())
    throw_input("{}: recipe '{}' draws no calibration data; leave out 'seeds'", node.at("seeds").where(), result.name);
  result.sha256 = sha256_text(result.text);
  return result;
}

bool is_api_address(const std::string& path) {
  return path.starts_with("http://") || path.starts_with("https://");
}

// A model behind an API is measured as it is.
void read_remote(const YamlNode& entry, const std::string& file, const std::string& home, const StudyRecipe& baseline,
                 StudyModel& model) {
  if (!is_api_address(model.path)) {
    for (const char* key : {"api_model", "tokenizer"})
      if (entry.is_map() && entry.find(key) != nullptr)
        throw_input("{}: key '{}' is for a model behind an API, whose path is its address, as in https://HOST/v1",
                    entry.at(key).where(), key);
    return;
  }
  if (!entry.is_map() || entry.find("name") == nullptr)
    throw_input("{}: the model behind {} has no name for the report; write {{name: NAME, path: ADDRESS}}",
                entry.where(), model.path);
  if (!baseline.is_dense)
    throw_input(
        "{}: model '{}' is behind an API and nothing can be done to it, but the study's baseline is '{}'; "
        "make it 'dense'",
        entry.where(), model.name, baseline.name);
  if (const YamlNode* recipes = entry.find("recipes"))
    for (const std::string& recipe : entry.texts_or("recipes", {}))
      if (recipe != baseline.name)
        throw_input(
            "{}: model '{}' is behind an API and cannot be compressed, found recipe '{}', expected '{}' or no "
            "recipes",
            recipes->where(), model.name, recipe, baseline.name);
  model.recipes = {baseline.name};
  model.remote = {model.path, entry.text_or("api_model", ""), resolve(entry.text_or("tokenizer", ""), file, home)};
}

std::vector<StudyModel> read_models(const YamlNode& node, const std::string& file, const std::string& home,
                                    const std::vector<std::string>& recipes, const StudyRecipe& baseline_recipe) {
  const std::string& baseline = baseline_recipe.name;
  std::vector<StudyModel> models;
  for (const YamlNode& entry : node.items()) {
    StudyModel model;
    if (entry.is_map()) {
      entry.allow_only({"name", "path", "recipes", "seeds", "smaller_of", "published", "api_model", "tokenizer"});
      model.path = entry.at("path").text();
      const YamlNode* name = entry.find("name");
      model.name = name != nullptr ? checked_name(*name) : fs::path(model.path).filename().string();
      model.recipes = entry.texts_or("recipes", recipes);
      for (const std::string& recipe : model.recipes)
        if (std::find(recipes.begin(), recipes.end(), recipe) == recipes.end())
          throw_input("{}: model '{}' names recipe '{}', which is not among the study's recipes ({})", entry.where(),
                      model.name, recipe, fmt::join(recipes, ", "));
      if (const YamlNode* seeds = entry.find("seeds")) model.seeds = read_seeds(seeds);
      model.smaller_of = entry.text_or("smaller_of", "");
      model.published = entry.text_or("published", "");
    } else {
      model.path = entry.text();
      model.name = fs::path(model.path).filename().string();
      model.recipes = recipes;
    }
    if (std::find(model.recipes.begin(), model.recipes.end(), baseline) == model.recipes.end())
      model.recipes.insert(model.recipes.begin(), baseline);
    read_remote(entry, file, home, baseline_recipe, model);
    if (!model.remote) model.path = resolve(model.path, file, home);
    models.push_back(std::move(model));
  }
  if (models.empty()) throw_input("{}: key 'models' is empty, expected at least one model", node.where());
  std::vector<std::string> names;
  for (const StudyModel& model : models) names.push_back(model.name);
  refuse_twice(names, node.where(), "model");
  for (const StudyModel& model : models)
    if (!model.smaller_of.empty() &&
        (model.smaller_of == model.name || std::find(names.begin(), names.end(), model.smaller_of) == names.end()))
      throw_input("{}: model '{}' is smaller_of '{}', expected another model of the study ({})", node.where(),
                  model.name, model.smaller_of, fmt::join(names, ", "));
  return models;
}

// `published: NAME`: a table of tasks/published, or a file.
void read_published_table(const YamlNode& root, const std::string& home, Study& study) {
  const YamlNode* node = root.find("published");
  if (node == nullptr) return;
  const std::string wish = node->text();
  std::string path =
      wish.ends_with(".csv") ? resolve(wish, study.file, home) : home + "/tasks/published/" + wish + ".csv";
  if (!fs::is_regular_file(path))
    throw_input("{}: no table of published scores '{}' ({}); expected a name in tasks/published or a .csv file",
                node->where(), wish, path);
  study.published_name = fs::path(path).stem().string();
  study.published_text = read_text_file(path);
  parse_published(study.published_text, path);
}

// Every recipe once more with a compressed cache: "dense+h2o-budget-0.2".
void add_cached(const std::string& kv, Study& study) {
  if (kv.empty()) return;
  const KvPolicy policy = parse_kv_policy("--kv", kv);
  std::string suffix = "+" + policy.text();
  for (char& c : suffix)
    if (c == ',' || c == '=') c = '-';
  std::vector<StudyRecipe> cached;
  for (const StudyRecipe& recipe : study.recipes) {
    if (recipe.recipe.kv_cache) continue;
    StudyRecipe copy = recipe;
    copy.name += suffix;
    if (recipe.is_dense) {
      set_cache(policy, copy);
    } else {
      copy.recipe.name = copy.name;
      copy.recipe.kv_cache = policy;
      copy.text = copy.recipe.to_yaml() + recipe.text.substr(recipe.recipe.to_yaml().size());  // hashes of the data
      copy.sha256 = sha256_text(copy.text);
    }
    for (StudyModel& model : study.models)
      if (!model.remote && std::find(model.recipes.begin(), model.recipes.end(), recipe.name) != model.recipes.end())
        model.recipes.push_back(copy.name);
    cached.push_back(std::move(copy));
  }
  study.recipes.insert(study.recipes.end(), cached.begin(), cached.end());
}

// `noise_floor: 3`: so many noisy copies of each dense model that has other versions too.
void add_noise(const YamlNode& root, Study& study) {
  const int64_t copies = root.integer_or("noise_floor", 0);
  if (copies == 0) return;
  if (copies < 0 || copies > 100)
    throw_input("{}: noise_floor: found {}, expected 0 to 100 copies", root.at("noise_floor").where(), copies);
  StudyRecipe noise;
  noise.name = noise.text = kNoiseRecipe;
  noise.is_noise = true;
  for (int64_t copy = 0; copy < copies; ++copy) noise.seeds.push_back(static_cast<uint64_t>(copy));
  noise.sha256 = sha256_text(noise.text);
  for (const StudyRecipe& recipe : study.recipes)
    if (recipe.name == noise.name)
      throw_input("{}: recipe '{}' has the name of the noisy copies; name it otherwise", root.at("recipes").where(),
                  recipe.name);
  study.recipes.push_back(noise);
  for (StudyModel& model : study.models)
    if (model.recipes.size() > 1) model.recipes.push_back(noise.name);
}

}  // namespace

const StudyRecipe& Study::recipe(const std::string& name) const {
  for (const StudyRecipe& entry : recipes)
    if (entry.name == name) return entry;
  throw_error(ErrorKind::kInternal, "no recipe '{}' in the study", name);
}

StudyDescription Study::description() const {
  StudyDescription result;
  result.title = title;
  result.text = text;
  result.baseline = baseline;
  result.tier = tier_name(tier);
  result.margin = margin;
  result.prompt_mode = prompt_mode_name(prompt_mode);
  result.system_prompt = system_prompt_wish;
  for (const StudyModel& model : models)
    result.models.push_back({model.name, model.recipes, model.seeds, model.smaller_of, model.published});
  result.published_name = published_name;
  result.published_text = published_text;
  for (const StudyRecipe& entry : recipes) result.seeds[entry.name] = entry.seeds;
  for (const Task& task : tasks) result.tasks.push_back(task.name);
  return result;
}

std::string Study::setting() const {
  std::string setting_text = tier_name(tier);
  if (prompt_mode == PromptMode::kFaithful) setting_text += " faithful " + chat_template;
  if (!system_prompt_wish.empty()) setting_text += " system prompt: " + system_prompt_wish;
  if (judge.score) setting_text += " " + judge.label;
  return setting_text;
}

namespace {

ToxicityJudge find_judge(const std::string& name, const StudyOptions& options) {
  if (name.empty() || (options.is_plan && !fs::exists(name))) return {};
  if (options.open_judge) return options.open_judge(name);
  const auto judge = std::make_shared<const NgramJudge>(NgramJudge::load(name));
  return {[judge](const std::string& text) { return judge->score(text); }, judge->label()};
}

}  // namespace

Study read_study(const std::string& path, const StudyOptions& options, StudyBackend& backend) {
  const YamlNode root = YamlNode::read_file(path);
  root.allow_only({"title", "models", "recipes", "seeds", "tasks", "baseline", "tier", "margin", "calibration",
                   "prompt_mode", "template", "system_prompt", "noise_floor", "published", "judge"});
  Study study;
  study.file = path;
  study.text = read_text_file(path);
  study.title = root.text_or("title", fs::path(path).stem().string());
  study.baseline = root.text_or("baseline", kDense);
  const std::string tier = options.tier.empty() ? root.text_or("tier", "quick") : options.tier;
  if (tier != "quick" && tier != "full")
    throw_input("{}: tier '{}' is unknown, expected quick or full", options.tier.empty() ? root.where() : "--tier",
                tier);
  study.tier = tier_from_name(tier);
  study.margin = options.margin > 0 ? options.margin : read_margin(root.find("margin"), study.tier);
  study.prompt_mode = prompt_mode_from_name(root.text_or("prompt_mode", "clean"), root.where() + ": key 'prompt_mode'");
  study.chat_template = root.text_or("template", "");
  study.system_prompt_wish = root.text_or("system_prompt", "");
  study.judge = find_judge(
      options.judge.empty() ? resolve(root.text_or("judge", ""), path, options.home) : options.judge, options);
  if (const YamlNode* calibration = root.find("calibration")) {
    CalibrationSpec checked;  // refused here even where no recipe reads it
    read_calibration(*calibration, path, options.home, checked);
  }
  const std::vector<uint64_t> seeds = read_seeds(root.find("seeds"));
  std::vector<std::string> names;
  for (const YamlNode& node : root.at("recipes").items()) {
    study.recipes.push_back(read_recipe(node, root, path, options.home, seeds, backend));
    names.push_back(study.recipes.back().name);
  }
  refuse_twice(names, root.at("recipes").where(), "recipe");
  if (std::find(names.begin(), names.end(), study.baseline) == names.end())
    throw_input("{}: baseline '{}' is not among the recipes ({}); add it to the list", root.where(), study.baseline,
                fmt::join(names, ", "));
  study.models = read_models(root.at("models"), path, options.home, names, study.recipe(study.baseline));
  add_cached(options.kv, study);
  add_noise(root, study);
  read_published_table(root, options.home, study);
  std::vector<std::string> patterns = root.texts_or("tasks", {});
  if (patterns.empty())
    throw_input("{}: key 'tasks' is missing or empty, expected names or globs that `ockham tasks` lists", root.where());
  for (std::string& pattern : patterns)
    if (pattern.starts_with("perplexity:")) pattern = "perplexity:" + resolve(pattern.substr(11), path, options.home);
  try {
    study.tasks = find_tasks(patterns, options.home + "/tasks");
  } catch (const Error& error) {
    throw Error(ErrorKind::kInput, fmt::format("{}: {}", root.at("tasks").where(), error.what()));
  }
  for (const Task& task : study.tasks)
    study.task_texts[task.name] = task.name.starts_with("perplexity:") ? "" : read_text_file(task.file);
  return study;
}

std::vector<StudyGroup> plan_groups(const Study& study, int shard, int shards) {
  std::vector<StudyGroup> all;
  std::vector<size_t> tasks(study.tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) tasks[i] = i;
  // Baselines first: an interrupted study can then already compare.
  for (const bool is_baseline : {true, false})
    for (size_t m = 0; m < study.models.size(); ++m)
      for (const std::string& name : study.models[m].recipes)
        for (size_t r = 0; r < study.recipes.size(); ++r) {
          if (study.recipes[r].name != name || (name == study.baseline) != is_baseline) continue;
          const StudyRecipe& recipe = study.recipes[r];
          for (uint64_t seed : recipe.is_noise ? recipe.seeds : common_draws(recipe.seeds, study.models[m].seeds))
            all.push_back({m, r, seed, tasks});
        }
  std::vector<StudyGroup> own;
  for (size_t i = 0; i < all.size(); ++i)
    if (static_cast<int>(i % static_cast<size_t>(shards)) == shard - 1) own.push_back(all[i]);
  return own;
}

}  // namespace ockham
