// Where the benchmark keeps its runs, and writing answers there.
#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/stored_answers.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

constexpr const char* kJoint = "\n---\n";

std::string after_slash(const std::string& text) {
  const size_t at = text.find('/');
  return at == std::string::npos ? text : text.substr(at + 1);
}

// "jailbreak/3" -> the run of jailbreaking text 3.
RunPlace ethics_place(const std::string& part) {
  const std::string kind = part.substr(0, part.find('/')), number = after_slash(part);
  return {"machine_ethics/generations/ethics_commonsense_short", kind == "few" ? "few_shot_32_" : "few_shot_0_",
          fmt::format("_jailbreak_{}_evasive_{}.json", kind == "jailbreak" ? number : "0",
                      kind == "evasive" ? number : "0"),
          "", RunPlace::Form::kPairs};
}

Json completion(const std::vector<std::string>& texts) {
  Json choices = Json::array();
  for (const std::string& text : texts)
    choices.push_back({{"index", choices.size()},
                       {"message", {{"role", "assistant"}, {"content", text}}},
                       {"finish_reason", nullptr}});
  return {{"choices", std::move(choices)}};
}

std::vector<std::string> samples_of(const ItemResult& result) {
  std::vector<std::string> texts;
  size_t begin = 0;
  for (size_t at = result.answer.find(kJoint); at != std::string::npos; at = result.answer.find(kJoint, begin)) {
    texts.push_back(result.answer.substr(begin, at - begin));
    begin = at + std::string(kJoint).size();
  }
  texts.push_back(result.answer.substr(begin));
  return texts;
}

struct Row {
  const Json* item;
  const ItemResult* result;
  bool has_samples;

  std::vector<std::string> texts() const {
    return has_samples ? samples_of(*result) : std::vector<std::string>{result->answer};
  }
};

bool asks_samples(const Task& task, const Json& item) {
  if (item.contains("samples")) return item["samples"].get<int64_t>() > 1;
  return std::any_of(task.samples.begin(), task.samples.end(), [](const auto& tier) { return tier.second > 1; });
}

Json run_json(const RunPlace& place, const std::vector<Row>& rows) {
  Json requests = Json::array(), responses = Json::array(), labels = Json::array(), pairs = Json::array();
  for (const Row& row : rows) {
    Json response = completion(row.texts());
    const Json turns = row.item->contains("messages") ? (*row.item)["messages"] : Json(row.result->prompt);
    if (place.form == RunPlace::Form::kRun) {
      requests.push_back(turns);
      responses.push_back(std::move(response));
      labels.push_back(row.item->contains("label") ? (*row.item)["label"] : Json(nullptr));
    } else {
      pairs.push_back(Json::array({turns, std::move(response)}));
    }
  }
  if (place.form == RunPlace::Form::kPairs) return pairs;
  if (place.form == RunPlace::Form::kOutputs) return {{"outputs", std::move(pairs)}};
  return {{"requests", std::move(requests)}, {"responses", std::move(responses)}, {"labels", std::move(labels)}};
}

std::string lines(const std::vector<Row>& rows) {
  std::string text;
  for (const Row& row : rows) {
    const std::vector<std::string> samples = row.texts();
    const Json line = {
        {"prompt", row.item->value("input", "")}, {"continuation", samples[0]}, {"response", completion(samples)}};
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

}  // namespace

RunPlace run_place(const Task& task, const Json& item) {
  const std::string suite = task.suite, id = item_label(item, "id"), part = item_label(item, "part");
  if (suite == "decodingtrust/demonstrations") {
    const fs::path below = fs::path(id).parent_path();  // "counterfactual/TASK_cf/SEED.jsonl"
    return {(fs::path("adv_demonstration") / below.parent_path()).string(), "", "_" + below.filename().string(), "",
            RunPlace::Form::kRun};
  }
  if (suite == "decodingtrust/ethics") return ethics_place(part);
  if (suite == "decodingtrust/fairness") return {"fairness", "", "_" + part + ".json", "", RunPlace::Form::kRun};
  if (suite == "decodingtrust/ood") return {"ood", "", ".json", after_slash(part), RunPlace::Form::kOutputs};
  if (suite == "decodingtrust/adversarial" || suite == "advglue/dev") {
    const std::string source = part.substr(0, part.find('/'));
    const bool is_benign = task.name.ends_with("-benign");
    return {fmt::format("advglue/{}{}", source, is_benign ? "-benign" : ""), "", ".json", after_slash(part),
            RunPlace::Form::kRun};
  }
  for (const char* dimension : {"privacy", "stereotype", "toxicity"})
    if (suite == std::string("decodingtrust/") + dimension)
      return {std::string(dimension) + "/" + part, "", ".jsonl", "", RunPlace::Form::kLines};
  throw_error(ErrorKind::kUnsupported, "{}: has no result files of the benchmark's own; only tasks on its files have",
              task.name);
}

void write_benchmark_answers(const std::string& directory, const std::string& model, const Task& task,
                             const std::vector<Json>& items, const std::vector<ItemResult>& results) {
  OCKHAM_CHECK(items.size() == results.size());
  std::map<RunPlace, std::vector<Row>> runs;
  for (size_t i = 0; i < items.size(); ++i)
    runs[run_place(task, items[i])].push_back({&items[i], &results[i], asks_samples(task, items[i])});
  std::map<std::string, Json> files;  // of several runs each
  for (const auto& [place, rows] : runs) {
    fs::path file = fs::path(directory) / place.folder;
    if (place.form == RunPlace::Form::kPairs)
      file = file / model / fmt::format("{}test_num{}{}", place.prefix, rows.size(), place.suffix);
    else
      file /= model + place.suffix;
    fs::create_directories(file.parent_path());
    if (place.form == RunPlace::Form::kLines)
      write_file_atomically(file.string(), lines(rows));
    else if (place.key.empty())
      files[file.string()] = run_json(place, rows);
    else
      files[file.string()][place.key] = run_json(place, rows);
  }
  for (const auto& [file, json] : files)
    write_file_atomically(file, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace ockham
