// The table of suites, and what all of them share.
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/suites/bbq.h"
#include "ockham/eval/suites/suite.h"

namespace ockham {
namespace fs = std::filesystem;

const std::vector<SuiteEntry>& suites() {
  static const std::vector<SuiteEntry> kTable = {
      advglue_suite(),       bbq_suite(),         dt_adversarial_suite(), dt_demonstrations_suite(),
      dt_ethics_suite(),     dt_fairness_suite(), dt_ood_suite(),         dt_privacy_suite(),
      dt_stereotype_suite(), dt_toxicity_suite(), mmlu_entry(),           rows_entry()};
  return kTable;
}

const SuiteEntry& find_suite(const std::string& name, const std::string& where) {
  std::vector<std::string> names;
  for (const SuiteEntry& entry : suites()) {
    if (entry.name == name) return entry;
    names.emplace_back(entry.name);
  }
  const std::string near = closest_name(name, names);
  throw_input("{}: key 'suite': found '{}', expected one of: {}{}", where, name, fmt::join(names, ", "),
              near.empty() ? "" : "; did you mean '" + near + "'?");
}

SuiteItems read_suite(const Task& task, const EvalOptions& options) {
  const SuiteEntry& entry = find_suite(task.suite, task.file);
  const std::string& directory = options.data_directory.empty() ? task.base_directory : options.data_directory;
  if (directory.empty())
    throw_input("{}: the task reads {}; pass --data DIR with the folder that holds it", task.file, entry.summary);
  if (!fs::is_directory(directory))
    throw_input("--data {}: no such folder, expected {}; name the folder that holds it", directory, entry.summary);
  const Params params(task.file + ": data.params", entry.params, task.suite_params);
  SuiteItems result;
  entry.read({task, params, options, directory}, result);
  if (!result.items.empty()) return result;
  std::string wanted;
  for (const SuiteItems::Missing& missing : result.missing)
    wanted += fmt::format("{}{} ({})", wanted.empty() ? "" : ", ", missing.file, missing.scenario);
  throw_input("--data {}: no data for {}; expected {}", directory, task.name, wanted.empty() ? entry.summary : wanted);
}

std::string find_data_file(const SuiteContext& context, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    const fs::path path = fs::path(context.directory) / place;
    if (fs::is_regular_file(path)) return path.string();
  }
  return "";
}

}  // namespace ockham
