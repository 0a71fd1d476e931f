// Files with includes, and their values.
#include "ockham/eval/harness_file.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "ockham/core/error.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostIncludes = 20;

// Keys that are read; of these some only matter for how the harness reports, names or checks its tasks.
const std::set<std::string>& known_keys() {
  static const std::set<std::string> kKeys = {"task",
                                              "task_alias",
                                              "tag",
                                              "include",
                                              "dataset_path",
                                              "dataset_name",
                                              "dataset_kwargs",
                                              "data_files",
                                              "training_split",
                                              "validation_split",
                                              "test_split",
                                              "fewshot_split",
                                              "fewshot_config",
                                              "doc_to_text",
                                              "doc_to_target",
                                              "doc_to_choice",
                                              "description",
                                              "target_delimiter",
                                              "fewshot_delimiter",
                                              "num_fewshot",
                                              "output_type",
                                              "generation_kwargs",
                                              "filter_list",
                                              "metric_list",
                                              "repeats",
                                              "metadata",
                                              "should_decontaminate",
                                              "doc_to_decontamination_query",
                                              "unsafe_code"};
  return kKeys;
}

}  // namespace

HarnessFile::HarnessFile(const std::string& path) : path_(path) {
  std::string next = path;
  while (!next.empty()) {
    if (static_cast<int64_t>(layers_.size()) >= kMostIncludes)
      throw_input("{}: key 'include': more than {} files include each other; break the circle", path, kMostIncludes);
    layers_.push_back(YamlNode::read_file(next, YamlTags::kKeep));
    if (!layers_.back().is_map()) throw_input("{}: found no keys, expected a task file", next);
    const YamlNode* include = layers_.back().find("include");
    next = include == nullptr ? "" : (fs::path(next).parent_path() / include->text()).string();
  }
}

const YamlNode* HarnessFile::find(const std::string& key) const {
  for (const YamlNode& layer : layers_) {
    const YamlNode* node = layer.find(key);
    if (node == nullptr) continue;
    if (node->is_null()) return nullptr;
    refuse_tag(*node, key);
    return node;
  }
  return nullptr;
}

void HarnessFile::refuse_tag(const YamlNode& node, const std::string& key) {
  if (node.tag().empty()) return;
  throw_input(
      "{}: key '{}' is a {} of Python, which is not run; write it as a Jinja template, or use one of our own tasks "
      "(`ockham tasks`)",
      node.where(), key, node.tag());
}

std::string HarnessFile::text(const std::string& key, const std::string& fallback) const {
  const YamlNode* node = find(key);
  return node == nullptr ? fallback : node->text();
}

void HarnessFile::allow_known() const {
  for (const YamlNode& layer : layers_) {
    for (const std::string& key : layer.keys()) {
      if (known_keys().contains(key) || find(key) == nullptr) continue;
      throw_input("{}: key '{}' of lm-evaluation-harness is not read here; docs/tasks.md lists what is",
                  layer.find(key)->where(), key);
    }
  }
}

// A YAML value as JSON; plain scalars take the type that they look like.
Json yaml_json(const YamlNode& node, const std::string& key) {
  HarnessFile::refuse_tag(node, key);
  if (node.is_null()) return nullptr;
  if (node.is_list()) {
    Json list = Json::array();
    for (const YamlNode& item : node.items()) list.push_back(yaml_json(item, key));
    return list;
  }
  if (node.is_map()) {
    Json object = Json::object();
    for (const std::string& name : node.keys()) object[name] = yaml_json(node.at(name), name);
    return object;
  }
  const std::string text = node.text();
  if (node.is_quoted()) return text;
  const std::string lower = [&] {
    std::string copy = text;
    std::transform(copy.begin(), copy.end(), copy.begin(), [](unsigned char c) { return std::tolower(c); });
    return copy;
  }();
  if (lower == "true" || lower == "false") return lower == "true";
  const Json number = Json::parse(text, nullptr, false);
  return number.is_number() ? number : Json(text);
}

}  // namespace ockham
