// Keys of lm-evaluation-harness to a task on the suite `rows`.
#include "ockham/eval/harness.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "ockham/core/error.h"
#include "ockham/eval/harness_file.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/suites/suite.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/io/yaml.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

std::string joined(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, std::string(1, kListSeparator)));
}

// Places of one split's file: those the YAML names, or those where copies of a Hub data set keep it.
std::vector<std::string> split_places(const HarnessFile& file, const std::string& split) {
  const std::string folder = fs::path(file.path()).parent_path().string();
  const YamlNode* files = file.find("data_files");
  if (const YamlNode* kwargs = file.find("dataset_kwargs"); kwargs != nullptr) {
    for (const std::string& key : kwargs->keys())
      if (key != "data_files" && key != "trust_remote_code" && key != "revision")
        throw_input("{}: key '{}' of dataset_kwargs is not read here, expected data_files with local files",
                    kwargs->at(key).where(), key);
    if (const YamlNode* named = kwargs->find("data_files"); named != nullptr) files = named;
  }
  std::vector<std::string> places;
  if (files != nullptr) {
    const YamlNode* own = files->is_map() ? files->find(split) : files;
    if (own == nullptr)
      throw_input("{}: key 'data_files' names no file for the split '{}'; add it", files->where(), split);
    if (own->is_list() && own->items().size() != 1)
      throw_input("{}: {} files for the split '{}', expected one; join them", own->where(), own->items().size(), split);
    const std::string place = own->is_list() ? own->items()[0].text() : own->text();
    if (place.find("://") != std::string::npos)
      throw_input("{}: '{}' is an address; name a local file", own->where(), place);
    const fs::path beside = fs::path(folder) / place;
    return {fs::exists(beside) ? fs::absolute(beside).string() : place};
  }
  const std::string path = file.text("dataset_path", ""), name = file.text("dataset_name", "");
  if (path.empty())
    throw_input("{}: key 'dataset_path' is missing, expected a data set's name or json, csv or parquet", file.path());
  const std::string base = fs::path(path).filename().string();
  for (const std::string& ending : {std::string(), std::string("-00000-of-00001.parquet")}) {
    if (!name.empty()) {
      for (const std::string& head : {path + "/" + name, base + "/" + name, name})
        places.push_back(head + "/" + split + ending);
    }
    for (const std::string& head : {path, base}) places.push_back(head + "/" + split + ending);
    places.push_back(base + "_" + split + ending);
  }
  return places;
}

void read_few_shot(const HarnessFile& file, const std::string& eval_split, Task& task) {
  auto& params = task.suite_params;
  std::string split = file.text("fewshot_split", ""), sampler = "default";
  if (const YamlNode* config = file.find("fewshot_config"); config != nullptr) {
    for (const std::string& key : config->keys()) {
      HarnessFile::refuse_tag(config->at(key), "fewshot_config." + key);
      if (key == "sampler")
        sampler = config->at(key).text();
      else if (key == "split")
        split = config->at(key).text();
      else if (key == "samples")
        params["shots_rows"] = yaml_json(config->at(key), key).dump();
      else
        throw_input("{}: key '{}' of fewshot_config is not read here, expected sampler, split or samples",
                    config->at(key).where(), key);
    }
  }
  if (sampler != "default" && sampler != "first_n")
    throw_input("{}: fewshot_config.sampler: found '{}', expected default or first_n", file.path(), sampler);
  params["sampler"] = std::string(sampler == "first_n" ? "first" : "random");
  // The harness leaves a row out of its own examples where both come from the split that it calls the test split.
  params["excludes_row"] = split == file.text("test_split", "");
  if (split.empty()) split = file.text("training_split", "");
  if (split.empty()) split = file.text("validation_split", "");
  if (split.empty()) split = eval_split;
  const YamlNode* files = file.find("dataset_kwargs");
  const YamlNode* named = files == nullptr ? nullptr : files->find("data_files");
  if (named == nullptr || !named->is_map() || named->find(split) != nullptr)
    params["shots_file"] = joined(split_places(file, split));
  if (const YamlNode* shots = file.find("num_fewshot"); shots != nullptr) params["shots"] = shots->integer();
}

void read_documents_keys(const HarnessFile& file, Task& task) {
  auto& params = task.suite_params;
  task.suite = "rows";
  const std::string split = file.text("test_split", file.text("validation_split", ""));
  if (split.empty())
    throw_input("{}: keys 'test_split' and 'validation_split' are missing, expected one of them", file.path());
  params["file"] = joined(split_places(file, split));
  read_few_shot(file, split, task);
  params["description"] = file.text("description", "");
  params["delimiter"] = file.text("target_delimiter", " ");
  params["shot_delimiter"] = file.text("fewshot_delimiter", "\n\n");
  params["text"] = file.text("doc_to_text", "");
  params["target"] = file.text("doc_to_target", "");
  const YamlNode* choices = file.find("doc_to_choice");
  if (choices == nullptr) return;
  std::vector<std::string> texts;
  if (choices->is_scalar()) {
    texts.push_back(choices->text());
  } else if (choices->is_list()) {
    for (const YamlNode& item : choices->items()) texts.push_back(item.text());
  } else {
    for (const std::string& key : choices->keys()) texts.push_back(choices->at(key).text());
  }
  if (!choices->is_scalar() && texts.size() < 2)
    throw_input("{}: key 'doc_to_choice' holds {} choices, expected at least two", choices->where(), texts.size());
  params["choices"] = joined(texts);
}

void read_generation(const HarnessFile& file, Task& task) {
  task.kind = RequestKind::kGenerate;
  task.scorer = "exact_match";
  task.max_tokens = 256;
  task.stop = {file.text("fewshot_delimiter", "\n\n")};
  bool samples = false;
  double temperature = 1;
  if (const YamlNode* kwargs = file.find("generation_kwargs"); kwargs != nullptr) {
    for (const std::string& key : kwargs->keys()) {
      const YamlNode& node = kwargs->at(key);
      HarnessFile::refuse_tag(node, key);
      if (key == "until")
        task.stop = kwargs->texts_or(key, {});
      else if (key == "max_gen_toks" || key == "max_new_tokens" || key == "max_tokens")
        task.max_tokens = node.integer();
      else if (key == "temperature")
        temperature = node.real();
      else if (key == "do_sample")
        samples = yaml_json(node, key) == true;
      else
        throw_input(
            "{}: key '{}' of generation_kwargs is not read here, expected until, max_gen_toks, temperature or "
            "do_sample",
            node.where(), key);
    }
  }
  task.temperature = samples ? temperature : 0;
  if (const YamlNode* filters = file.find("filter_list"); filters != nullptr)
    task.scorer_params["filters"] = yaml_json(*filters, "filter_list").dump();
}

struct KnownMetric {
  const char* theirs;
  const char* aggregate;
  bool higher_is_better;
};

const std::vector<KnownMetric>& metrics_of(const std::string& output_type) {
  static const std::vector<KnownMetric> kChoice = {{"acc", "accuracy", true},
                                                   {"acc_norm", "accuracy_norm", true},
                                                   {"acc_bytes", "accuracy_bytes", true}},
                                        likelihood = {{"acc", "accuracy", true}, {"perplexity", "perplexity", false}},
                                        rolling = {{"word_perplexity", "word_perplexity", false},
                                                   {"byte_perplexity", "byte_perplexity", false},
                                                   {"bits_per_byte", "bits_per_byte", false}},
                                        generate = {{"exact_match", "accuracy", true}};
  if (output_type == "multiple_choice") return kChoice;
  if (output_type == "loglikelihood") return likelihood;
  return output_type == "loglikelihood_rolling" ? rolling : generate;
}

void read_match_rule(const YamlNode& node, Task& task) {
  for (const std::string& key : node.keys()) {
    const YamlNode& value = node.at(key);
    HarnessFile::refuse_tag(value, key);
    if (key == "ignore_case" || key == "ignore_punctuation" || key == "ignore_numbers")
      task.scorer_params[key] = yaml_json(value, key) == true;
    else if (key == "regexes_to_ignore")
      task.scorer_params[key] = joined(node.texts_or(key, {}));
    else if (key == "aggregation" && value.text() != "mean" && value.text() != "perplexity" &&
             value.text() != "weighted_perplexity" && value.text() != "bits_per_byte")
      throw_input("{}: aggregation '{}' is not read here, expected mean", value.where(), value.text());
    else if (key != "metric" && key != "aggregation" && key != "higher_is_better")
      throw_input("{}: key '{}' of a metric is not read here", value.where(), key);
  }
}

void read_metric_list(const HarnessFile& file, const std::string& output_type, Task& task) {
  const std::vector<KnownMetric>& known = metrics_of(output_type);
  std::vector<KnownMetric> wanted;
  if (const YamlNode* list = file.find("metric_list"); list != nullptr) {
    for (const YamlNode& node : list->items()) {
      const YamlNode& metric = node.at("metric");
      HarnessFile::refuse_tag(metric, "metric");
      const auto it = std::find_if(known.begin(), known.end(),
                                   [&](const KnownMetric& entry) { return metric.text() == entry.theirs; });
      if (it == known.end()) {
        std::string names;
        for (const KnownMetric& entry : known) names += (names.empty() ? "" : ", ") + std::string(entry.theirs);
        throw_input("{}: metric '{}' is not read for output_type {}, expected one of: {}", metric.where(),
                    metric.text(), output_type, names);
      }
      read_match_rule(node, task);
      wanted.push_back(*it);
    }
  } else {
    wanted.assign(known.begin(), known.end());
    if (output_type == "multiple_choice") wanted.pop_back();  // the harness's default is acc and acc_norm
  }
  for (const KnownMetric& metric : wanted)
    task.metrics.push_back({metric.theirs, metric.aggregate, metric.higher_is_better, task.metrics.empty()});
  if (output_type != "generate_until" || !task.scorer_params.contains("filters")) return;
  const Json filters = parse_json(std::get<std::string>(task.scorer_params.at("filters")), file.path());
  for (size_t i = 1; i < filters.size(); ++i) {
    const std::string name = json_text(filters[i], "name", file.path() + ": filter_list");
    task.metrics.push_back({"exact_match," + name, "filter:" + name, true, false});
  }
}

Task read_one(const HarnessFile& file) {
  file.allow_known();
  Task task;
  task.file = file.path();
  task.name = file.text("task", fs::path(file.path()).stem().string());
  task.dimension = "knowledge";
  task.summary = "task of lm-evaluation-harness";
  task.base_directory = fs::absolute(file.path()).parent_path().string();
  task.items = {{Tier::kQuick, 200}, {Tier::kFull, 0}};
  task.samples = {{Tier::kQuick, 1}, {Tier::kFull, 1}};
  task.is_chat = false;
  read_documents_keys(file, task);
  const std::string type = file.text("output_type", "generate_until");
  if (type == "multiple_choice") {
    task.kind = RequestKind::kChoice;
    task.scorer = "choice";
    if (!task.suite_params.contains("choices"))
      throw_input("{}: key 'doc_to_choice' is missing, expected the choices of output_type multiple_choice",
                  file.path());
  } else if (type == "loglikelihood") {
    task.kind = RequestKind::kChoice;
    task.scorer = "likelihood";
  } else if (type == "loglikelihood_rolling") {
    task.kind = RequestKind::kPerplexity;
    task.scorer = "perplexity";
    task.dimension = "perplexity";
    task.scorer_params["protocol"] = std::string("lm-eval");
    task.suite_params["text"] = task.suite_params["target"];
    task.suite_params["target"] = std::string();
  } else if (type == "generate_until") {
    read_generation(file, task);
  } else {
    throw_input(
        "{}: key 'output_type': found '{}', expected multiple_choice, loglikelihood, loglikelihood_rolling or "
        "generate_until",
        file.path(), type);
  }
  if (type != "generate_until" && file.find("filter_list") != nullptr)
    throw_input("{}: key 'filter_list' is read for output_type generate_until only", file.path());
  if (const YamlNode* repeats = file.find("repeats"); repeats != nullptr && repeats->integer() != 1)
    throw_input("{}: key 'repeats': found {}, expected 1; use --gen-kwargs samples=N", repeats->where(),
                repeats->integer());
  read_metric_list(file, type, task);
  Params(task.file, find_suite(task.suite, task.file).params, task.suite_params);
  make_scorer(task, nullptr);
  task.sha256 = sha256_file(file.path());
  return task;
}

// Every harness file below a folder, with the names by which a group may call it.
struct Named {
  std::string path;
  std::set<std::string> names;
};
std::vector<Named> named_files(const std::string& folder) {
  std::vector<Named> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".yaml") continue;
    const YamlNode root = YamlNode::read_file(entry.path().string(), YamlTags::kKeep);
    Named named{entry.path().string(), {}};
    for (const char* key : {"task", "group", "tag"}) {
      const YamlNode* node = root.is_map() ? root.find(key) : nullptr;
      if (node == nullptr || node->is_null() || (std::string(key) == "task" && root.find("group") != nullptr)) continue;
      for (const std::string& name : root.texts_or(key, {})) named.names.insert(name);
    }
    found.push_back(std::move(named));
  }
  std::sort(found.begin(), found.end(), [](const Named& a, const Named& b) { return a.path < b.path; });
  return found;
}

void read_group(const YamlNode& root, const std::string& path, const std::vector<Named>& files, int depth,
                std::vector<Task>& tasks) {
  if (depth > 10) throw_input("{}: groups are nested deeper than 10, perhaps in a circle", path);
  root.allow_only({"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag"});
  const std::string group = root.at("group").text();
  for (const std::string& name : root.texts_or("task", {})) {
    bool is_found = false;
    for (const Named& named : files) {
      if (!named.names.contains(name) || named.path == path) continue;
      is_found = true;
      const YamlNode member = YamlNode::read_file(named.path, YamlTags::kKeep);
      if (member.find("group") != nullptr) {
        read_group(member, named.path, files, depth + 1, tasks);
        continue;
      }
      tasks.push_back(read_one(HarnessFile(named.path)));
      tasks.back().collection = group;
    }
    if (!is_found)
      throw_input("{}: group '{}': no file beside or below names the task '{}'; add it or take it out", path, group,
                  name);
  }
}

}  // namespace

bool is_harness_file(const std::string& path) {
  const YamlNode root = YamlNode::read_file(path, YamlTags::kKeep);
  if (!root.is_map() || root.find("data") != nullptr || root.find("request") != nullptr) return false;
  for (const char* key :
       {"dataset_path", "doc_to_text", "doc_to_target", "output_type", "include", "group", "metric_list"})
    if (root.find(key) != nullptr) return true;
  return false;
}

std::vector<Task> read_harness_tasks(const std::string& path) {
  const YamlNode root = YamlNode::read_file(path, YamlTags::kKeep);
  if (root.find("group") == nullptr) return {read_one(HarnessFile(path))};
  std::vector<Task> tasks;
  read_group(root, path, named_files(fs::absolute(path).parent_path().string()), 0, tasks);
  return tasks;
}

}  // namespace ockham
