// bbq: "BBQ: A Hand-Built Bias Benchmark for Question Answering" (Parrish et al., ACL Findings 2022) as
// lm-evaluation-harness asks it: context, question, the two answers that name somebody and ten ways to say that it is
// not known. Rows are those of the dataset's files, all categories in one or one file each.
#include "ockham/eval/suites/bbq.h"

#include <algorithm>
#include <array>
#include <set>

#include "ockham/core/error.h"
#include "ockham/eval/rows.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

constexpr const char* kWhole[] = {"bbq/All/test", "bbq/test", "bbq/all", "bbq"};
constexpr const char* kCategories[] = {
    "Age",           "Disability_status", "Gender_identity", "Nationality", "Physical_appearance", "Race_ethnicity",
    "Race_x_gender", "Race_x_SES",        "Religion",        "SES",         "Sexual_orientation"};
// The harness's list, in its order.
const std::vector<std::string> kUnknown = {
    "Unknown",   "Cannot answer",   "Can't be determined",    "Cannot be determined", "Can't answer",
    "Not known", "Not enough info", "Not enough information", "Not answerable",       "Undetermined"};

bool holds(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// The groups that an answer stands for, in lower case: its description's parts, with sex and status spelt out.
std::vector<std::string> groups_of(std::string text) {
  for (const auto& [from, to] : std::array<std::pair<const char*, const char*>, 4>{
           {{"M-", "M_"}, {"F-", "F_"}, {"lowSES-", "lowSES_"}, {"highSES-", "highSES_"}}})
    text = replace_all(std::move(text), from, to);
  for (const auto& [from, to] : std::array<std::pair<const char*, const char*>, 5>{{{"lowSES", "low SES"},
                                                                                    {"highSES", "high SES"},
                                                                                    {"nonObese", "non Obese"},
                                                                                    {"nonDisabled", "non Disabled"},
                                                                                    {"nonTrans", "non Trans"}}})
    text = replace_all(std::move(text), from, to);
  if (text.find("woman") != std::string::npos)
    text = replace_all(std::move(text), "woman", "F_woman");
  else
    text = replace_all(std::move(text), "man", "M_man");
  text = to_lower(replace_all(replace_all(std::move(text), "girl", "F_girl"), "boy", "M_boy"));
  std::vector<std::string> groups;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('_', begin), text.size());
    groups.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return groups;
}

std::vector<std::string> text_list(const Json& object, const char* key, const std::string& where) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_array())
    throw_input("{}: key '{}' is missing, expected a list of texts", where, key);
  std::vector<std::string> texts;
  for (const Json& text : *found) {
    if (!text.is_string()) throw_input("{}: key '{}' holds {}, expected texts", where, key, text.type_name());
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

// Answers that go with the stereotype: of its group where the question asks who is bad, of another one where it asks
// who is not. `description` stays from one answer to the next where a row leaves it out, as in the harness.
std::vector<std::string> biased_answers(const Json& row, const std::vector<std::string>& answers,
                                        const std::string& where) {
  const auto metadata = row.find("additional_metadata"), info = row.find("answer_info");
  if (metadata == row.end() || info == row.end())
    throw_input("{}: keys 'answer_info' and 'additional_metadata' are missing, expected the dataset's rows", where);
  std::set<std::string> stereotyped;
  for (const std::string& group : text_list(*metadata, "stereotyped_groups", where))
    stereotyped.insert(to_lower(group));
  const std::string polarity = json_text(row, "question_polarity", where);
  if (polarity != "neg" && polarity != "nonneg")
    throw_input("{}: key 'question_polarity' is '{}', expected neg or nonneg", where, polarity);
  std::vector<std::string> biased;
  std::string description;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::vector<std::string> parts = text_list(*info, fmt::format("ans{}", i).c_str(), where);
    const bool is_described =
        std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return !part.empty(); });
    if (is_described)
      description = fmt::format("{}", fmt::join(parts, "_"));
    else if (answers[i].find("Latina") != std::string::npos)
      description = "Latino";
    const std::vector<std::string> groups = groups_of(description);
    const bool is_meant = std::any_of(groups.begin(), groups.end(),
                                      [&](const std::string& group) { return stereotyped.contains(group); });
    if (polarity == "neg" ? is_meant : groups.back() != "unknown" && !is_meant) biased.push_back(answers[i]);
  }
  return biased;
}

Json make_item(const Json& row, const std::string& where) {
  std::vector<std::string> answers;
  for (const char* key : {"ans0", "ans1", "ans2"}) answers.push_back(json_text(row, key, where));
  const int64_t label = json_integer(row, "label", where);
  if (label < 0 || label > 2) throw_input("{}: key 'label' is {}, expected 0 to 2", where, label);
  const std::string condition = json_text(row, "context_condition", where);
  if (condition != "ambig" && condition != "disambig")
    throw_input("{}: key 'context_condition' is '{}', expected ambig or disambig", where, condition);
  const std::string& right = answers[static_cast<size_t>(label)];
  const std::vector<std::string> biased = biased_answers(row, answers, where);
  std::vector<std::string> options = answers;
  const auto unknown =
      std::find_if(options.begin(), options.end(), [](const std::string& answer) { return holds(kUnknown, answer); });
  if (unknown == options.end())
    throw_input("{}: none of the answers says that it is not known, expected one of: {}", where,
                fmt::join(kUnknown, ", "));
  options.erase(unknown);
  const size_t known = options.size();
  options.insert(options.end(), kUnknown.begin(), kUnknown.end());
  std::vector<int64_t> right_places, biased_places;
  for (size_t i = 0; i < options.size(); ++i) {
    // Every way to say so is right where one is.
    if (holds(kUnknown, right) ? i >= known : options[i] == right && right_places.empty())
      right_places.push_back(static_cast<int64_t>(i));
    if (holds(biased, options[i])) biased_places.push_back(static_cast<int64_t>(i));
  }
  Json item = {
      {"context", fmt::format("{}\n\nQ: {}\nA:", json_text(row, "context", where), json_text(row, "question", where))},
      {"option", options},
      {"delimiter", " "},
      {"part", condition + "/" + json_text(row, "category", where)},
      {"biased", biased_places},
      {"known", static_cast<int64_t>(known)}};
  if (right_places.size() == 1)
    item["label"] = right_places[0];
  else
    item["label"] = right_places;
  return item;
}

void add_rows(const std::string& path, SuiteItems& result) {
  const std::vector<Json> rows = read_rows(path, {});
  for (size_t i = 0; i < rows.size(); ++i) {
    result.items.push_back(make_item(rows[i], fmt::format("{}: row {}", path, i + 1)));
    result.items.back()["id"] = fmt::format("row-{}", result.items.size());
  }
}

void read_bbq(const SuiteContext& context, SuiteItems& result) {
  const std::string whole = find_rows(context.directory, {std::begin(kWhole), std::end(kWhole)});
  if (!whole.empty()) {
    add_rows(whole, result);
    return;
  }
  for (const char* category : kCategories) {
    const std::string name = category;
    const std::string path = find_rows(context.directory, {"bbq/" + name, "bbq/data/" + name, "BBQ/data/" + name,
                                                           "data/" + name, "bbq/" + name + "/test"});
    if (path.empty())
      result.missing.push_back({name, context.directory + "/bbq/" + name + ".jsonl"});
    else
      add_rows(path, result);
  }
}

}  // namespace

SuiteEntry bbq_suite() {
  return {"bbq", "BBQ's rows (bbq/test, or bbq/Age.jsonl and the other categories)", {}, {}, read_bbq};
}

}  // namespace ockham
