// Reading, choosing and cutting of evaluation data.
#include "ockham/eval/data.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/documents.h"
#include "ockham/io/file.h"
#include "ockham/io/table.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

std::string data_path(const Task& task, const EvalOptions& options) {
  if (fs::path(task.data_file).is_absolute() || task.name == "perplexity:" + task.data_file) return task.data_file;
  if (options.data_directory.empty())
    throw_input("{}: the task needs the file '{}'; pass --data DIR with the folder that holds it", task.file,
                task.data_file);
  return (fs::path(options.data_directory) / task.data_file).string();
}

std::vector<Json> rows_of_table(const std::string& path, char separator) {
  const std::vector<std::vector<std::string>> rows = read_csv(path, separator);
  if (rows.empty()) throw_input("{}: empty, expected a header line and rows", path);
  std::vector<Json> items;
  for (size_t r = 1; r < rows.size(); ++r) {
    if (rows[r].size() != rows[0].size())
      throw_input("{}: row {} has {} fields, the header {}; correct the file", path, r + 1, rows[r].size(),
                  rows[0].size());
    Json item = Json::object();
    for (size_t c = 0; c < rows[0].size(); ++c) item[rows[0][c]] = rows[r][c];
    items.push_back(std::move(item));
  }
  return items;
}

std::vector<Json> rows_of_file(const std::string& path) {
  const std::string ending = fs::path(path).extension().string();
  if (ending == ".jsonl") return read_jsonl_file(path);
  if (ending == ".csv") return rows_of_table(path, ',');
  if (ending == ".tsv") return rows_of_table(path, '\t');
  if (ending == ".json") {
    const Json root = read_json_file(path);
    if (!root.is_array()) throw_input("{}: found {}, expected a list of items", path, root.type_name());
    return {root.begin(), root.end()};
  }
  throw_input("{}: cannot read items from a '{}' file, expected .jsonl, .json, .csv or .tsv", path, ending);
}

// WikiText's raw file marks an empty row by a line holding one blank; rows keep their line end and are joined by
// "\n\n".
std::string join_wikitext(const std::string& text) {
  std::string joined;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    if (begin > 0) joined += "\n\n";
    if (line != " " && !line.empty()) joined += line + "\n";
    begin = end + 1;
  }
  return joined;
}

const ParamValue* param(const Task& task, const std::string& name) {
  const auto it = task.scorer_params.find(name);
  return it == task.scorer_params.end() ? nullptr : &it->second;
}

}  // namespace

SuiteItems read_items(const Task& task, const EvalOptions& options) {
  SuiteItems read;
  std::vector<Json>& items = read.items;
  if (!task.suite.empty()) {
    read = read_suite(task, options);
  } else if (!task.world_suite.empty()) {
    if (!options.world_items)
      throw_input("{}: the task asks for items of an embedded world, which this caller has not got", task.file);
    items = options.world_items(task.world_suite);
  } else {
    items = rows_of_file(data_path(task, options));
  }
  if (items.empty()) throw_input("{}: no items; check key 'data'", task.file);
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    Json& item = items[i];
    if (!item.is_object()) throw_input("{}: item {} is {}, expected an object", task.file, i + 1, item.type_name());
    std::string id = item_label(item, "id");
    if (id.empty()) id = fmt::format("row-{}", i + 1);
    item["id"] = id;
    if (const auto [it, is_new] = seen.emplace(id, i); !is_new)
      throw_input("{}: items {} and {} share the id '{}'; give each its own", task.file, it->second + 1, i + 1, id);
  }
  return read;
}

int64_t item_limit(const Task& task, const EvalOptions& options) {
  return options.max_items > 0 ? options.max_items : task.items.at(options.tier);
}

std::vector<Json> select_items(const Task& task, std::vector<Json> items, int64_t limit) {
  const auto n = static_cast<int64_t>(items.size());
  if (limit <= 0 || limit >= n) return items;
  struct Ranked {
    int64_t index = 0;
    uint64_t hash = 0;
    double place = 0;
  };
  std::map<std::string, std::vector<Ranked>> strata;
  for (int64_t i = 0; i < n; ++i) {
    const Json& item = items[static_cast<size_t>(i)];
    std::string key = item_label(item, "part") + "\n" + item_label(item, "group");
    if (item.contains("option") || item.contains("group")) key += "\n" + item_label(item);
    strata[key].push_back({i, hash_seed(task.name + "\n" + item_label(item, "id")), 0});
  }
  // Each stratum is spread evenly over (0, 1]; the first `limit` places then hold every stratum in proportion.
  std::vector<Ranked> all;
  for (auto& [key, members] : strata) {
    std::sort(members.begin(), members.end(), [](const Ranked& a, const Ranked& b) { return a.hash < b.hash; });
    for (size_t r = 0; r < members.size(); ++r) {
      members[r].place = (static_cast<double>(r) + 0.5) / static_cast<double>(members.size());
      all.push_back(members[r]);
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Ranked& a, const Ranked& b) { return a.place != b.place ? a.place < b.place : a.hash < b.hash; });
  all.resize(static_cast<size_t>(limit));
  std::sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) { return a.index < b.index; });
  std::vector<Json> chosen;
  for (const Ranked& ranked : all) chosen.push_back(std::move(items[static_cast<size_t>(ranked.index)]));
  return chosen;
}

std::vector<Json> task_items(const Task& task, const EvalOptions& options) {
  return select_items(task, read_items(task, options).items, item_limit(task, options));
}

std::vector<std::vector<int32_t>> read_windows(const LanguageModel& model, const Task& task, const EvalOptions& options,
                                               std::string& note, std::string& sha256) {
  const int64_t context = model.info().context_length;
  std::string text, source;
  if (!task.world_suite.empty()) {
    if (!options.world_text)
      throw_input("{}: the task asks for the text of an embedded world, which this caller has not got", task.file);
    text = options.world_text(task.world_suite);
    source = task.world_suite + " text of the world";
    sha256 = sha256_text(text);
  } else {
    source = data_path(task, options);
    const ParamValue* layout = param(task, "layout");
    if (layout != nullptr && to_text(*layout) == to_text(std::string("wikitext"))) {
      const std::string raw = read_text_file(source);
      text = join_wikitext(raw);
      sha256 = sha256_text(raw);
    } else {
      DocumentSet set = read_documents(source);
      sha256 = set.sha256;
      for (const std::vector<int32_t>& sequence : set.sequences) {
        if (static_cast<int64_t>(sequence.size()) <= context && sequence.size() >= 2) continue;
        throw_input("{}: sequences of {} tokens, expected 2 to {} (the model's context length); cut the file", source,
                    sequence.size(), context);
      }
      if (!set.sequences.empty()) {
        note = fmt::format("{} sequences of {} token ids as given", set.sequences.size(), set.sequences[0].size());
        return std::move(set.sequences);
      }
      for (const Document& document : set.documents) {
        if (!text.empty()) text += "\n\n";
        for (const ChatMessage& message : document.messages) text += message.content + "\n";
        text += document.text;
      }
    }
  }
  const std::vector<int32_t> ids = model.tokenize(text, true);
  if (ids.size() < 2) throw_input("{}: {} tokens, expected at least 2 to predict one", source, ids.size());
  const ParamValue* wish = param(task, "window");
  int64_t length = wish != nullptr && std::holds_alternative<int64_t>(*wish) ? std::get<int64_t>(*wish) : 0;
  if (length <= 0 || length > context) length = context;
  length = std::max<int64_t>(2, std::min<int64_t>(length, static_cast<int64_t>(ids.size())));
  const int64_t count = static_cast<int64_t>(ids.size()) / length;
  std::vector<std::vector<int32_t>> windows;
  for (int64_t w = 0; w < count; ++w) windows.emplace_back(ids.begin() + w * length, ids.begin() + (w + 1) * length);
  note = fmt::format("{}: {} tokens in {} windows of {}, not overlapping; the last {} tokens are left out", source,
                     ids.size(), count, length, static_cast<int64_t>(ids.size()) - count * length);
  return windows;
}

}  // namespace ockham
