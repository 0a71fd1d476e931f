// Reading task files, and finding them by name or pattern.
#include "ockham/eval/task.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/harness.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/suites/suite.h"
#include "ockham/io/file.h"
#include "ockham/io/yaml.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

ParamValue scalar_value(const YamlNode& node) {
  const std::string text = node.text();
  if (node.is_quoted()) return text;
  if (text == "true" || text == "false") return text == "true";
  int64_t whole = 0;
  const char* end = text.data() + text.size();
  if (const auto [stop, code] = std::from_chars(text.data(), end, whole); code == std::errc() && stop == end)
    return whole;
  double number = 0;
  if (const auto [stop, code] = std::from_chars(text.data(), end, number); code == std::errc() && stop == end)
    return number;
  return text;
}

std::map<std::string, ParamValue> read_params(const YamlNode& node) {
  std::map<std::string, ParamValue> values;
  for (const std::string& key : node.keys()) {
    const YamlNode& value = node.at(key);
    if (!value.is_list()) {
      values[key] = scalar_value(value);
      continue;
    }
    std::string joined;
    for (const YamlNode& entry : value.items()) {
      if (!joined.empty()) joined += kListSeparator;
      joined += entry.text();
    }
    values[key] = joined;
  }
  return values;
}

// One number for both tiers, or {quick: n, full: n}.
std::map<Tier, int64_t> read_tiers(const YamlNode* node, int64_t fallback, int64_t low) {
  std::map<Tier, int64_t> tiers = {{Tier::kQuick, fallback}, {Tier::kFull, fallback}};
  if (node == nullptr) return tiers;
  if (node->is_scalar()) {
    tiers[Tier::kQuick] = tiers[Tier::kFull] = node->integer();
  } else {
    node->allow_only({"quick", "full"});
    tiers[Tier::kQuick] = node->integer_or("quick", fallback);
    tiers[Tier::kFull] = node->integer_or("full", fallback);
  }
  for (const auto& [tier, value] : tiers)
    if (value < low) throw_input("{}: found {}, expected a whole number of at least {}", node->where(), value, low);
  return tiers;
}

RequestKind read_kind(const YamlNode& request) {
  const std::string kind = request.at("kind").text();
  if (kind == "generate") return RequestKind::kGenerate;
  if (kind == "choice") return RequestKind::kChoice;
  if (kind == "perplexity") return RequestKind::kPerplexity;
  throw_input("{}: key 'kind': found '{}', expected generate, choice or perplexity", request.at("kind").where(), kind);
}

void read_request(const YamlNode& request, Task& task) {
  request.allow_only({"kind", "max_tokens", "temperature", "samples", "stop"});
  task.kind = read_kind(request);
  task.max_tokens = request.integer_or("max_tokens", 16);
  task.temperature = request.real_or("temperature", 0);
  task.stop = request.texts_or("stop", {});
  task.samples = read_tiers(request.find("samples"), 1, 1);
  if (task.max_tokens < 1)
    throw_input("{}: key 'max_tokens': found {}, expected at least 1", request.where(), task.max_tokens);
  if (!(task.temperature >= 0 && task.temperature <= 10))
    throw_input("{}: key 'temperature': found {}, expected 0 to 10", request.where(), task.temperature);
  for (const auto& [tier, count] : task.samples)
    if (count > 1 && task.temperature == 0)
      throw_input(
          "{}: key 'samples': found {} at temperature 0, which gives {} equal answers; set samples: 1 or a temperature",
          request.where(), count, count);
}

void read_prompt(const YamlNode& prompt, Task& task) {
  prompt.allow_only(
      {"system", "description", "plain", "few_shot_system", "few_shot_ack", "capitalize_labels", "num_fewshot"});
  task.system = prompt.text_or("system", "");
  task.description = prompt.text_or("description", "");
  task.plain_prompt = prompt.text_or("plain", "");
  task.few_shot_system = prompt.text_or("few_shot_system", "");
  task.few_shot_ack = prompt.text_or("few_shot_ack", "");
  task.capitalizes_labels = prompt.flag_or("capitalize_labels", true);
  if (const YamlNode* shots = prompt.find("num_fewshot"); shots != nullptr) {
    task.num_fewshot = shots->integer();
    if (*task.num_fewshot < 0)
      throw_input("{}: key 'num_fewshot': found {}, expected 0 or more", prompt.where(), *task.num_fewshot);
  }
  task.is_chat = prompt.find("plain") == nullptr;
  if (!task.is_chat && (prompt.find("system") != nullptr || prompt.find("description") != nullptr))
    throw_input("{}: keys 'plain' and 'system' or 'description' stand together; a prompt is either plain or a chat",
                prompt.where());
}

void read_metrics(const YamlNode& metrics, Task& task) {
  for (const YamlNode& node : metrics.items()) {
    node.allow_only({"name", "aggregate", "better", "score"});
    MetricSpec metric;
    metric.name = node.at("name").text();
    metric.aggregate = node.text_or("aggregate", "mean");
    const std::string better = node.at("better").text();
    if (better != "higher" && better != "lower")
      throw_input("{}: key 'better': found '{}', expected higher or lower", node.where(), better);
    metric.higher_is_better = better == "higher";
    metric.is_score = node.flag_or("score", false);
    task.metrics.push_back(metric);
  }
  const auto scores =
      std::count_if(task.metrics.begin(), task.metrics.end(), [](const MetricSpec& m) { return m.is_score; });
  if (scores != 1)
    throw_input("{}: {} metrics have `score: true`, expected exactly one; mark the one that the report compares",
                metrics.where(), scores);
}

// The scorer's own checks: parameters, kind of request and names of aggregates.
void check_scorer(const Task& task, const YamlNode& root) {
  const std::unique_ptr<Scorer> scorer = make_scorer(task, nullptr);
  const bool is_perplexity = task.scorer == "perplexity",
             is_choice = task.scorer == "choice" || task.scorer == "likelihood" || task.scorer == "bbq";
  const RequestKind expected = is_perplexity ? RequestKind::kPerplexity
                               : is_choice   ? RequestKind::kChoice
                                             : RequestKind::kGenerate;
  if (task.kind != expected)
    throw_input("{}: scorer '{}' reads requests of kind {}; correct request.kind", task.file, task.scorer,
                is_perplexity ? "perplexity"
                : is_choice   ? "choice"
                              : "generate");
  for (const MetricSpec& metric : task.metrics) {
    if (scorer->combine(metric.aggregate)) continue;
    throw_input("{}: metric '{}': aggregate '{}' is unknown to scorer '{}', expected one of: {}",
                root.at("metrics").where(), metric.name, metric.aggregate, task.scorer,
                fmt::join(scorer->aggregates(), ", "));
  }
}

Task perplexity_of_file(const std::string& path) {
  Task task;
  task.name = "perplexity:" + path;
  task.file = task.name;
  task.dimension = "perplexity";
  task.summary = "perplexity on " + path;
  task.items = {{Tier::kQuick, 0}, {Tier::kFull, 0}};
  task.samples = {{Tier::kQuick, 1}, {Tier::kFull, 1}};
  task.data_file = path;
  task.kind = RequestKind::kPerplexity;
  task.scorer = "perplexity";
  task.metrics = {{"perplexity", "perplexity", false, true}};
  task.sha256 = sha256_text(task.name);
  if (!fs::is_regular_file(path))
    throw_input("{}: no such file; give a .txt, .jsonl, .parquet or .npy file after 'perplexity:'", path);
  return task;
}

std::vector<std::string> task_files(const std::string& directory) {
  std::vector<std::string> files;
  if (!fs::is_directory(directory)) throw_input("{}: no such folder of tasks", directory);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string tier_name(Tier tier) {
  return tier == Tier::kQuick ? "quick" : "full";
}

Tier tier_from_name(const std::string& name) {
  if (name == "quick") return Tier::kQuick;
  if (name == "full") return Tier::kFull;
  throw_error(ErrorKind::kUsage, "--tier: found '{}', expected quick or full", name);
}

Task read_task(const std::string& path) {
  const YamlNode root = YamlNode::read_file(path);
  root.allow_only({"task", "version", "summary", "dimension", "items", "data", "request", "prompt", "scorer", "params",
                   "metrics", "control", "chance"});
  Task task;
  task.file = path;
  task.name = root.at("task").text();
  task.version = root.integer_or("version", 1);
  if (task.version != 1)
    throw_input("{}: key 'version': found {}, this program reads version 1; get a newer one",
                root.at("version").where(), task.version);
  task.summary = root.at("summary").text();
  task.dimension = root.at("dimension").text();
  task.items = read_tiers(root.find("items"), 0, 0);
  const YamlNode& data = root.at("data");
  data.allow_only({"world", "file", "suite", "params"});
  task.world_suite = data.text_or("world", "");
  task.data_file = data.text_or("file", "");
  task.suite = data.text_or("suite", "");
  if (!task.world_suite.empty() + !task.data_file.empty() + !task.suite.empty() != 1)
    throw_input(
        "{}: key 'data' needs one of 'world' (a suite of the world), 'file' (below --data) or 'suite' (a "
        "benchmark's files below --data)",
        data.where());
  if (const YamlNode* params = data.find("params"); params != nullptr) task.suite_params = read_params(*params);
  if (!task.suite.empty())
    Params(task.file + ": data.params", find_suite(task.suite, data.where()).params, task.suite_params);
  else if (!task.suite_params.empty())
    throw_input("{}: key 'params' belongs to 'suite'; remove it", data.where());
  read_request(root.at("request"), task);
  if (const YamlNode* prompt = root.find("prompt"); prompt != nullptr) read_prompt(*prompt, task);
  task.scorer = root.at("scorer").text();
  if (const YamlNode* params = root.find("params"); params != nullptr) task.scorer_params = read_params(*params);
  read_metrics(root.at("metrics"), task);
  task.control = root.text_or("control", "");
  task.chance = root.real_or("chance", -1);
  task.sha256 = sha256_file(path);
  check_scorer(task, root);
  return task;
}

std::vector<Task> find_tasks(const std::vector<std::string>& patterns, const std::string& directory) {
  std::vector<Task> found;
  std::vector<std::pair<std::string, std::string>> known;  // name by place in the folder, file
  const auto add = [&](Task task) {
    const bool is_new =
        std::none_of(found.begin(), found.end(), [&](const Task& other) { return other.name == task.name; });
    if (is_new) found.push_back(std::move(task));
  };
  for (const std::string& pattern : patterns) {
    if (pattern.starts_with("perplexity:")) {
      add(perplexity_of_file(pattern.substr(11)));
      continue;
    }
    if (pattern.ends_with(".yaml")) {
      if (is_harness_file(pattern)) {
        for (Task& task : read_harness_tasks(pattern)) add(std::move(task));
      } else {
        add(read_task(pattern));
      }
      continue;
    }
    if (known.empty()) {
      for (const std::string& file : task_files(directory)) {
        const std::string relative = fs::path(file).lexically_relative(directory).string();
        known.emplace_back(relative.substr(0, relative.size() - 5), file);
      }
    }
    bool is_hit = false;
    for (const auto& [name, file] : known) {
      if (name != pattern && fnmatch(pattern.c_str(), name.c_str(), 0) != 0) continue;
      Task task = read_task(file);
      if (task.name != name)
        throw_input("{}: key 'task': found '{}', expected '{}' as the file's place says", file, task.name, name);
      add(std::move(task));
      is_hit = true;
    }
    if (is_hit) continue;
    std::vector<std::string> names;
    for (const auto& [name, file] : known) names.push_back(name);
    const std::string near = closest_name(pattern, names);
    throw_error(ErrorKind::kUsage, "--tasks: '{}' matches no task; {}`ockham tasks` lists them", pattern,
                near.empty() ? "" : "did you mean '" + near + "'? ");
  }
  return found;
}

}  // namespace ockham
