// Reading, choosing and cutting of evaluation data.
#include "ockham/eval/data.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/eval/protocols.h"
#include "ockham/eval/rows.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/documents.h"
#include "ockham/io/file.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

std::string data_path(const Task& task, const EvalOptions& options) {
  if (fs::path(task.data_file).is_absolute() || task.name == "perplexity:" + task.data_file) return task.data_file;
  const fs::path below = fs::path(options.data_directory) / task.data_file,
                 beside = fs::path(task.file).parent_path() / task.data_file;
  if (!options.data_directory.empty() && (fs::exists(below) || !fs::exists(beside))) return below.string();
  if (fs::exists(beside)) return beside.string();
  throw_input(
      "{}: the task needs the file '{}'; pass --data DIR with the folder that holds it, or put it beside the task",
      task.file, task.data_file);
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
    items = read_rows(data_path(task, options));
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

namespace {

ProtocolWish protocol_wish(const Task& task, const EvalOptions& options) {
  ProtocolWish wish;
  const auto text = [&](const char* name) {
    const ParamValue* value = param(task, name);
    const auto* held = value == nullptr ? nullptr : std::get_if<std::string>(value);
    return held == nullptr ? std::string() : *held;
  };
  const auto number = [&](const char* name) {
    const ParamValue* value = param(task, name);
    const auto* held = value == nullptr ? nullptr : std::get_if<int64_t>(value);
    return held == nullptr ? int64_t{0} : *held;
  };
  if (!text("protocol").empty()) wish.name = text("protocol");
  wish.window = number("window");
  wish.stride = number("stride");
  if (!options.protocol.empty() && options.protocol != wish.name) wish = {options.protocol, 0, 0};
  return wish;
}

// Sequences of token ids as a file gives them, each scored whole.
TextWindows given_windows(std::vector<std::vector<int32_t>> sequences, int64_t context, const std::string& source) {
  TextWindows result;
  result.protocol = "as given";
  result.note = fmt::format("{} sequences of {} token ids as given", sequences.size(), sequences[0].size());
  for (std::vector<int32_t>& sequence : sequences) {
    if ((context > 0 && static_cast<int64_t>(sequence.size()) > context) || sequence.size() < 2)
      throw_input("{}: sequences of {} tokens, expected 2 to {} (the model's context length); cut the file", source,
                  sequence.size(), context);
    result.windows.push_back({std::move(sequence), 1, 0});
  }
  return result;
}

TextWindows file_windows(const LanguageModel& model, const Task& task, const EvalOptions& options,
                         std::string& sha256) {
  const ProtocolWish wish = protocol_wish(task, options);
  const std::string source = data_path(task, options);
  const ParamValue* layout = param(task, "layout");
  if (layout != nullptr && to_text(*layout) == to_text(std::string("wikitext"))) {
    const std::string raw = read_text_file(source);
    sha256 = sha256_text(raw);
    if (wish.name == "lm-eval") return roll_windows(model, wikitext_pages(raw), wish, source);
    // llama.cpp reads the file as it stands.
    return cut_windows(model, wish.name == "llama.cpp" ? raw : join_wikitext(raw), wish, source);
  }
  DocumentSet set = read_documents(source);
  sha256 = set.sha256;
  if (!set.sequences.empty()) return given_windows(std::move(set.sequences), model.info().context_length, source);
  std::vector<RollingDocument> documents;
  std::string text;
  for (const Document& document : set.documents) {
    std::string own;
    for (const ChatMessage& message : document.messages) own += message.content + "\n";
    own += document.text;
    if (!text.empty()) text += "\n\n";
    text += own;
    documents.push_back({own, own});
  }
  return wish.name == "lm-eval" ? roll_windows(model, documents, wish, source) : cut_windows(model, text, wish, source);
}

}  // namespace

TextWindows read_windows(const LanguageModel& model, const Task& task, const EvalOptions& options,
                         std::string& sha256) {
  std::string source = task.data_file;
  TextWindows result;
  if (!task.suite.empty()) {
    std::vector<RollingDocument> documents;
    std::string all;
    for (const Json& item : read_suite(task, options).items) {
      const std::string text = item_label(item, "context");
      documents.push_back({text, text});
      all += text + "\n";
    }
    sha256 = sha256_text(all);
    source = task.name;
    result = roll_windows(model, documents, protocol_wish(task, options), source);
  } else if (!task.world_suite.empty()) {
    if (!options.world_text)
      throw_input("{}: the task asks for the text of an embedded world, which this caller has not got", task.file);
    const std::string text = options.world_text(task.world_suite);
    source = task.world_suite + " text of the world";
    sha256 = sha256_text(text);
    result = cut_windows(model, text, protocol_wish(task, options), source);
  } else {
    result = file_windows(model, task, options, sha256);
  }
  result.note = fmt::format("protocol {}: {}: {}", result.protocol, source, result.note);
  return result;
}

}  // namespace ockham
