// Lines {fingerprint, items: [...]}.
#include "ockham/eval/journal.h"

#include <limits>

#include "ockham/core/error.h"

namespace ockham {

Json item_json(const ItemResult& item) {
  return {{"id", item.id},       {"prompt_sha", item.prompt_sha}, {"prompt", item.prompt}, {"answer", item.answer},
          {"score", item.score}, {"refused", item.is_refusal},    {"extra", item.extra}};
}

ItemResult item_from_json(const Json& json, const std::string& where) {
  ItemResult item;
  item.id = json_text(json, "id", where);
  item.prompt_sha = json_text(json, "prompt_sha", where);
  item.prompt = json_text(json, "prompt", where);
  item.answer = json_text(json, "answer", where);
  // JSON has no NaN; it is written as null.
  item.score = json.contains("score") && json["score"].is_null() ? std::numeric_limits<double>::quiet_NaN()
                                                                 : json_real(json, "score", where);
  if (!json.contains("refused") || !json["refused"].is_boolean() || !json.contains("extra"))
    throw_input("{}: keys 'refused' (true or false) and 'extra' are missing, expected an item", where);
  item.is_refusal = json["refused"].get<bool>();
  item.extra = json["extra"];
  return item;
}

EvalJournal::EvalJournal(const std::string& path) : file_(path) {
  for (size_t i = 0; i < file_.lines().size(); ++i) {
    const std::string where = fmt::format("{}: line {}", path, i + 1);
    const Json line = parse_json(file_.lines()[i], where);
    if (!line.is_object() || !line.contains("items") || !line["items"].is_array())
      throw_input("{}: is no line of a journal, expected {{fingerprint, items}}; delete the file to start afresh",
                  where);
    std::vector<ItemResult>& items = finished_[json_text(line, "fingerprint", where)];
    for (const Json& item : line["items"]) items.push_back(item_from_json(item, where));
  }
}

std::vector<ItemResult> EvalJournal::find(const std::string& fingerprint) const {
  const auto known = finished_.find(fingerprint);
  return known == finished_.end() ? std::vector<ItemResult>{} : known->second;
}

void EvalJournal::attach(EvalOptions& options) {
  options.resume = [this](const std::string& fingerprint) {
    fingerprint_ = fingerprint;
    std::vector<ItemResult> known = find(fingerprint);
    resumed_ += static_cast<int64_t>(known.size());
    return known;
  };
  options.on_items = [this](const std::vector<ItemResult>& items) {
    Json line = {{"fingerprint", fingerprint_}, {"items", Json::array()}};
    for (const ItemResult& item : items) line["items"].push_back(item_json(item));
    file_.append(line.dump(-1, ' ', false, Json::error_handler_t::replace));
  };
}

}  // namespace ockham
