// Finding the benchmark's files and laying out its prompts.
#include "ockham/eval/suites/decodingtrust.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace fs = std::filesystem;

DecodingTrust::DecodingTrust(const SuiteContext& context) {
  const fs::path given(context.directory), inside = given / "decodingtrust";
  root_ = (fs::is_directory(inside / "data") ? inside : given).string();
  prompts_file_ = find_data_file(context, {"prompts.json", "decodingtrust/prompts.json"});
  if (prompts_file_.empty())
    throw_input(
        "{}: prompts.json is missing, expected the benchmark's literal prompts; make it with `ockham data "
        "decodingtrust CLONE`",
        root_);
  prompts_ = read_json_file(prompts_file_);
}

std::string DecodingTrust::place(const std::string& below) const {
  return (fs::path(root_) / "data" / below).string();
}

std::string DecodingTrust::file(const std::string& below) const {
  const std::string path = place(below);
  return fs::is_regular_file(path) ? path : "";
}

const Json& DecodingTrust::at(const std::string& path) const {
  const Json* node = &prompts_;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    begin = end + 1;
    if (!node->is_object() || !node->contains(key))
      throw_input("{}: key '{}' of '{}' is missing; make the file again with `ockham data decodingtrust CLONE`",
                  prompts_file_, key, path);
    node = &(*node)[key];
  }
  return *node;
}

std::string DecodingTrust::text(const std::string& path) const {
  const Json& node = at(path);
  if (!node.is_string()) throw_input("{}: '{}' is {}, expected a text", prompts_file_, path, node.type_name());
  return node.get<std::string>();
}

std::vector<std::string> DecodingTrust::texts(const std::string& path) const {
  const Json& node = at(path);
  std::vector<std::string> result;
  if (!node.is_array()) throw_input("{}: '{}' is {}, expected a list of texts", prompts_file_, path, node.type_name());
  for (const Json& entry : node) {
    if (!entry.is_string())
      throw_input("{}: '{}' holds {}, expected texts only", prompts_file_, path, entry.type_name());
    result.push_back(entry.get<std::string>());
  }
  return result;
}

Json turn(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

Json plain_turns(const std::string& system, const std::string& user) {
  Json turns = Json::array();
  if (!system.empty()) turns.push_back(turn("system", system));
  turns.push_back(turn("user", user));
  return turns;
}

Json classification_turns(const DecodingTrust& benchmark, const std::string& description, const std::string& input,
                          const Demonstrations& examples) {
  if (examples.empty()) return plain_turns(benchmark.text("chat.zero_shot_system"), description + "\n" + input);
  Json turns = plain_turns(benchmark.text("chat.few_shot_system"), description);
  turns.push_back(turn("assistant", benchmark.text("chat.few_shot_ack")));
  for (const auto& [text, label] : examples) {
    turns.push_back(turn("user", text));
    turns.push_back(turn("assistant", capitalize(label)));
  }
  turns.push_back(turn("user", input));
  return turns;
}

std::string fill_template(std::string_view pattern, const std::vector<std::string>& values) {
  std::string result;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern.substr(i, 2) == "{}" && next < values.size()) {
      result += values[next++];
      ++i;
    } else {
      result += pattern[i];
    }
  }
  return result;
}

Demonstrations demonstrations_of(const Json& row, const std::string& where) {
  Demonstrations examples;
  const auto field = row.find("examples");
  if (field == row.end() || field->is_null()) return examples;
  if (!field->is_array()) throw_input("{}: key 'examples' is {}, expected a list", where, field->type_name());
  for (const Json& example : *field) {
    if (!example.is_array() || example.size() != 2 || !example[0].is_string() || !example[1].is_string())
      throw_input("{}: an entry of 'examples' is {}, expected [text, label]", where, example.dump());
    examples.emplace_back(example[0].get<std::string>(), example[1].get<std::string>());
  }
  return examples;
}

}  // namespace ockham
