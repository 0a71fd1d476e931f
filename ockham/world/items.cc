#include "ockham/world/items.h"

#include <map>

namespace ockham::world {

Suite::~Suite() {
  for (size_t i = 0; i < items_.size(); ++i) items_[i]["id"] = fmt::format("{}-{:04}", name_, i);
  for (const Json& item : items_) {
    const auto forbid = [&](const std::string& text) {
      const Words all = split_words(text);
      for (size_t k = 0; k + kGram <= all.size(); ++k) state_.grams.insert(hash_words(all, k, kGram));
      // Longer texts are caught by their 13-grams, which see them inside of any other text too.
      if (all.size() < kGram) state_.prompts.insert(hash_words(all, 0, all.size()));
    };
    forbid(item.at("input").get<std::string>());
    if (item.contains("question")) forbid(item.at("question").get<std::string>());
    for (const Json& example : item.at("examples")) forbid(example.at(0).get<std::string>());
  }
  state_.names.push_back(name_);
  state_.suites[name_] = std::move(items_);
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
  state.grams.reserve(size_t{1} << 19);  // some 400,000 are made
  add_knowledge_items(state);
  add_trust_items(state);
  add_demonstration_items(state);
  add_privacy_items(state);
}

}  // namespace ockham::world
