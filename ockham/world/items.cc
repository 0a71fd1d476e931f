#include "ockham/world/items.h"

#include <atomic>
#include <map>

#include "ockham/core/parallel.h"

namespace ockham::world {

void Suite::file() {
  FiledSuite filed{name_, {}, {}, {}};
  for (size_t i = 0; i < items_.size(); ++i) items_[i]["id"] = fmt::format("{}-{:04}", name_, i);
  for (const Json& item : items_) {
    const auto forbid = [&](const std::string& text) {
      const std::vector<uint64_t> words = hash_each(split_words(text));
      for (size_t k = 0; k + kGram <= words.size(); ++k)
        filed.grams.push_back(join_hashes(std::span(words).subspan(k, kGram)));
      // Longer texts are caught by their 13-grams, which see them inside of any other text too.
      if (words.size() < kGram) filed.prompts.push_back(join_hashes(words));
    };
    forbid(item.at("input").get<std::string>());
    if (item.contains("question")) forbid(item.at("question").get<std::string>());
    for (const Json& example : item.at("examples")) forbid(example.at(0).get<std::string>());
  }
  filed.items = std::move(items_);
  shelf_.suites.push_back(std::move(filed));
}

bool Suite::add(Json item) {
  const std::string key = item.value("system", "") + item.value("description", "") +
                          item.at("input").get<std::string>() + item.at("examples").dump();
  if (!seen_.insert(key).second) return false;
  items_.push_back(std::move(item));
  return true;
}

void Suite::mix() {
  // Round robin over the cells (part, group, label), in order of appearance.
  std::vector<std::string> order;
  std::map<std::string, std::vector<Json>> cells;
  for (Json& item : items_) {
    const std::string key =
        item.value("part", "") + "|" + item.value("group", "") + "|" +
        (item.at("option").empty() || item.at("option").size() > 3 ? "" : item.at("label").get<std::string>());
    if (!cells.contains(key)) order.push_back(key);
    cells[key].push_back(std::move(item));
  }
  const size_t total = items_.size();
  items_.clear();
  for (size_t round = 0; items_.size() < total; ++round) {
    for (const std::string& key : order) {
      if (round < cells[key].size()) items_.push_back(std::move(cells[key][round]));
    }
  }
}

Json make_item(const std::string& input, const std::string& label, const std::vector<std::string>& option) {
  Json item;
  item["id"] = "";
  item["input"] = input;
  item["label"] = label;
  item["option"] = option;
  item["examples"] = Json::array();
  return item;
}

Rng suite_rng(const World::State& state, const std::string& suite) {
  return Rng(mix_seed(state.seed, hash_seed("items " + suite)));
}

const std::vector<std::string>& options_of(Task task) {
  static const std::vector<std::string> kSentiment = {"positive", "negative"}, kEntailment = {"yes", "maybe", "no"},
                                        kYesNo = {"yes", "no"}, kAct = {"not wrong", "wrong"};
  switch (task) {
    case Task::kSentiment:
      return kSentiment;
    case Task::kEntailment:
      return kEntailment;
    case Task::kAct:
      return kAct;
    default:
      return kYesNo;
  }
}

void make_items(World::State& state) {
  std::vector<SuiteMaker> makers;
  for (const auto& family : {knowledge_suites, trust_suites, demonstration_suites, privacy_suites}) {
    for (SuiteMaker& maker : family()) makers.push_back(std::move(maker));
  }
  std::vector<Shelf> shelves(makers.size(), Shelf{state, {}});
  std::atomic<size_t> next = 0;  // some take much longer than others
  parallel_for(thread_count(), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < makers.size(); i = next++) makers[i](shelves[i]);
  });
  for (Shelf& shelf : shelves) {
    for (FiledSuite& suite : shelf.suites) {
      for (const uint64_t hash : suite.grams) state.grams.insert(hash);
      for (const uint64_t hash : suite.prompts) state.prompts.insert(hash);
      state.names.push_back(suite.name);
      state.suites[suite.name] = std::move(suite.items);
    }
  }
}

}  // namespace ockham::world
