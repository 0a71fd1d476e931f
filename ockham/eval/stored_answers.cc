// Reading runs back, and answering from them.
#include "ockham/eval/stored_answers.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "ockham/core/error.h"
#include "ockham/eval/data.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

using Texts = std::vector<std::string>;

constexpr const char* kJoint = "\n---\n";  // between the samples of one answer in a results file

Texts choices_of(const Json& list, const std::string& where) {
  if (!list.is_array() || list.empty()) throw_input("{}: no choices, expected a list of answers", where);
  Texts texts;
  for (const Json& choice : list) {
    if (!choice.is_object()) throw_input("{}: a choice is {}, expected an object", where, choice.type_name());
    const auto message = choice.find("message");
    if (message == choice.end())
      texts.push_back(json_text(choice, "text", where));
    else if (message->is_object() && message->contains("content") && (*message)["content"].is_null())
      texts.emplace_back();
    else
      texts.push_back(json_text(*message, "content", where));
  }
  return texts;
}

// A chat completion, its bare list of choices, or a pair of turns and completion.
Texts response_of(const Json& response, const std::string& where) {
  if (response.is_object()) {
    const auto choices = response.find("choices");
    if (choices == response.end()) throw_input("{}: key 'choices' is missing, expected a list of answers", where);
    return choices_of(*choices, where);
  }
  if (response.is_array() && response.size() == 2 && response[0].is_array()) return response_of(response[1], where);
  return choices_of(response, where);
}

std::vector<Texts> responses_of(const Json& run, const std::string& where) {
  const Json* list = &run;
  for (const char* key : {"responses", "outputs"})
    if (run.is_object() && run.contains(key)) list = &run[key];
  if (!list->is_array())
    throw_input("{}: is {}, expected a list of answers, or an object with 'responses' or 'outputs'", where,
                run.type_name());
  std::vector<Texts> answers;
  for (const Json& response : *list)
    answers.push_back(response_of(response, fmt::format("{}: answer {}", where, answers.size())));
  return answers;
}

std::vector<Texts> lines_of(const std::string& file) {
  std::vector<Texts> answers;
  for_each_json_line(file, [&](const Json& line, const std::string& where) {
    if (line.contains("response") && line["response"].is_object() && line["response"].contains("choices"))
      answers.push_back(choices_of(line["response"]["choices"], where));
    else
      answers.push_back({json_text(line, "continuation", where)});
    return true;
  });
  return answers;
}

std::string find_run(const std::string& directory, const RunPlace& place) {
  const fs::path folder = fs::path(directory) / place.folder;
  const std::string wanted = fmt::format("{}/{}*{}", place.folder, place.prefix, place.suffix);
  std::vector<std::string> found;
  if (fs::is_directory(folder))
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_regular_file() && name.starts_with(place.prefix) && name.ends_with(place.suffix))
        found.push_back(entry.path().string());
    }
  if (found.empty()) throw_input("{}: no answers at {}; they are needed for the score", directory, wanted);
  if (found.size() > 1)
    throw_input("{}: {} files match {}, expected one; keep the runs of each model in a folder of their own", directory,
                found.size(), wanted);
  return found[0];
}

// A file holds several runs where its places have a key: read once.
class Runs {
 public:
  explicit Runs(std::string directory) : directory_(std::move(directory)) {}
  std::vector<Texts> read(const RunPlace& place, std::string& where) {
    const std::string file = find_run(directory_, place);
    where = file;
    if (place.form == RunPlace::Form::kLines) return lines_of(file);
    if (file != file_) {
      root_ = read_json_file(file);
      file_ = file;
    }
    if (place.key.empty()) return responses_of(root_, file);
    where += ": " + place.key;
    if (!root_.is_object() || !root_.contains(place.key))
      throw_input("{}: key '{}' is missing, expected the answers of this task", file, place.key);
    return responses_of(root_[place.key], where);
  }

 private:
  std::string directory_, file_;
  Json root_;
};

std::vector<Texts> answers_of_folder(const std::string& directory, const Task& task, const std::vector<Json>& items) {
  std::map<RunPlace, std::vector<size_t>> rows;
  for (size_t i = 0; i < items.size(); ++i) rows[run_place(task, items[i])].push_back(i);
  std::vector<Texts> answers(items.size());
  Runs runs(directory);
  for (const auto& [place, members] : rows) {
    std::string where;
    std::vector<Texts> run = runs.read(place, where);
    if (run.size() != members.size())
      throw_input(
          "{}: {} answers, expected {}, one for each row of the data; use the tier, --items and --data that they were "
          "made with",
          where, run.size(), members.size());
    for (size_t r = 0; r < run.size(); ++r) answers[members[r]] = std::move(run[r]);
  }
  return answers;
}

Texts split_samples(const std::string& answer, int64_t samples, const std::string& where) {
  if (samples == 1) return {answer};
  Texts texts;
  const std::string joint = kJoint;
  size_t begin = 0;
  for (size_t at = answer.find(joint); at != std::string::npos; at = answer.find(joint, begin)) {
    texts.push_back(answer.substr(begin, at - begin));
    begin = at + joint.size();
  }
  texts.push_back(answer.substr(begin));
  if (static_cast<int64_t>(texts.size()) != samples)
    throw_input("{}: {} samples, expected {}; use the tier that the answers were made with", where, texts.size(),
                samples);
  return texts;
}

std::vector<Texts> answers_of_file(const std::string& path, const Task& task, const EvalOptions& options,
                                   const std::vector<Json>& items) {
  const Json root = read_json_file(path);
  if (!root.is_object() || !root.contains("tasks") || !root["tasks"].is_array())
    throw_input("{}: key 'tasks' is missing, expected a results file of `ockham eval -o`", path);
  std::map<std::string, std::string> by_id;
  bool is_found = false;
  for (const Json& entry : root["tasks"]) {
    if (!entry.is_object() || json_text(entry, "task", path) != task.name) continue;
    is_found = true;
    if (!entry.contains("items") || !entry["items"].is_array())
      throw_input("{}: task '{}' has no items; write the results with -o", path, task.name);
    for (const Json& item : entry["items"]) {
      const std::string where = path + ": " + task.name, id = json_text(item, "id", where);
      if (!by_id.emplace(id, json_text(item, "answer", where + " " + id)).second)
        throw_input("{}: item '{}' is given twice", where, id);
    }
  }
  if (!is_found) throw_input("{}: no answers to task '{}'", path, task.name);
  std::vector<Texts> answers;
  for (const Json& item : items) {
    const std::string id = item_label(item, "id");
    const auto it = by_id.find(id);
    if (it == by_id.end())
      throw_input("{}: no answer to item '{}' of task '{}'; use the tier, --items and --data that it was made with",
                  path, id, task.name);
    const double temperature = json_real(item, "temperature", id, task.temperature);
    const int64_t samples = json_integer(item, "samples", id, task.samples.at(options.tier));
    answers.push_back(split_samples(it->second, temperature > 0 ? samples : 1, path + ": " + id));
  }
  return answers;
}

[[noreturn]] void refuse(const char* what) {
  throw_error(ErrorKind::kUnsupported, "stored answers have no {}; only tasks whose answers are texts can be scored",
              what);
}

}  // namespace

StoredAnswers::StoredAnswers(const std::string& path, const Task& task, const EvalOptions& options) {
  info_.name = path;
  info_.path = path;
  info_.context_length = 1;
  if (task.kind != RequestKind::kGenerate) refuse("likelihoods");
  const std::vector<Json> items = task_items(task, options);
  std::vector<Texts> answers;
  if (fs::is_directory(path))
    answers = answers_of_folder(path, task, items);
  else if (fs::is_regular_file(path))
    answers = answers_of_file(path, task, options, items);
  else
    throw_input("{}: no such file or folder, expected stored answers", path);
  for (size_t i = 0; i < items.size(); ++i)
    queues_[build_prompt(*this, task, items[i], options).text].answers.push_back(std::move(answers[i]));
}

Prompt StoredAnswers::render(std::span<const ChatMessage> messages, bool) const {
  std::string text;
  for (const ChatMessage& message : messages) text += message.role + ": " + message.content + "\n";
  return {text, true};
}

std::vector<GenerateAnswer> StoredAnswers::generate(std::span<const GenerateRequest> requests) {
  std::vector<GenerateAnswer> answers;
  for (const GenerateRequest& request : requests) {
    const auto it = queues_.find(request.prompt.text);
    OCKHAM_CHECK(it != queues_.end());
    Queue& queue = it->second;
    GenerateAnswer answer;
    answer.texts = queue.answers[queue.next++ % queue.answers.size()];
    answer.hit_limit.assign(answer.texts.size(), false);
    answers.push_back(std::move(answer));
  }
  return answers;
}

std::vector<ScoreAnswer> StoredAnswers::score(std::span<const ScoreRequest>) {
  refuse("likelihoods");
}
std::vector<SequenceScore> StoredAnswers::score_sequences(std::span<const std::vector<int32_t>>) {
  refuse("likelihoods");
}
std::vector<int32_t> StoredAnswers::tokenize(const std::string&, bool) const {
  refuse("tokens");
}

bool RunPlace::operator<(const RunPlace& other) const {
  return std::tie(folder, prefix, suffix, key) < std::tie(other.folder, other.prefix, other.suffix, other.key);
}

}  // namespace ockham
