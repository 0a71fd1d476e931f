// exact_match: a written answer, cut out of the reply by filters, equals a known one (GSM8K, TriviaQA). Filters and
// comparison are those of lm-evaluation-harness: `filters` is a JSON list of pipelines
// [{"name": "strict-match", "filter": [{"function": "regex", "regex_pattern": "..."}, {"function": "take_first"}]}];
// the first one gives the score, the others metrics of their names.
#include "ockham/eval/scorers/exact_match.h"

#include <algorithm>
#include <map>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/combine.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/text/template.h"

namespace ockham {
namespace {

constexpr size_t kMostPipelines = 4;  // columns of an item

std::string upper_case(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

// What Python's findall()[group_select] gives: the match, or the first group that is not empty.
std::string regex_pick(const FilterStep& step, const std::string& text) {
  const std::vector<std::vector<std::string>> matches = find_all(step.pattern, text);
  const auto count = static_cast<int64_t>(matches.size());
  const int64_t place = step.group_select < 0 ? count + step.group_select : step.group_select;
  if (count == 0) return step.fallback;
  if (place < 0 || place >= count)
    throw_input("filter regex: group_select {} asks for a match beyond the {} that '{}' has; use 0 or -1",
                step.group_select, count, step.pattern);
  const std::vector<std::string>& match = matches[static_cast<size_t>(place)];
  if (match.size() == 1) return std::string(strip(match[0]));
  if (match.size() == 2) return std::string(strip(match[1]));
  const auto first =
      std::find_if(match.begin() + 1, match.end(), [](const std::string& group) { return !group.empty(); });
  return first == match.end() ? step.fallback : std::string(strip(*first));
}

FilterStep read_step(const Json& json, const std::string& where) {
  FilterStep step;
  step.function = json_text(json, "function", where);
  if (step.function == "regex") {
    step.pattern = json_text(json, "regex_pattern", where, "#### (\\-?[0-9\\.\\,]+)");
    step.group_select = json_integer(json, "group_select", where, 0);
    step.fallback = json_text(json, "fallback", where, "[invalid]");
    find_all(step.pattern, "");  // refuses a bad pattern now
  } else if (step.function != "take_first" && step.function != "remove_whitespace" && step.function != "lowercase" &&
             step.function != "uppercase") {
    throw_input("{}: filter '{}' is not known, expected regex, take_first, remove_whitespace, lowercase or uppercase",
                where, step.function);
  }
  return step;
}

}  // namespace

std::vector<FilterPipeline> read_filters(const std::string& text, const std::string& where) {
  std::vector<FilterPipeline> pipelines;
  if (text.empty()) return {{"none", {}}};
  const Json list = parse_json(text, where);
  if (!list.is_array() || list.empty() || list.size() > kMostPipelines)
    throw_input("{}: filters are {}, expected a list of 1 to {} pipelines", where, list.dump(), kMostPipelines);
  for (const Json& json : list) {
    if (!json.is_object() || !json.contains("filter") || !json["filter"].is_array())
      throw_input("{}: a pipeline is {}, expected {{\"name\": ..., \"filter\": [...]}}", where, json.dump());
    FilterPipeline pipeline{json_text(json, "name", where), {}};
    for (const Json& step : json["filter"]) pipeline.steps.push_back(read_step(step, where + ": " + pipeline.name));
    pipelines.push_back(std::move(pipeline));
  }
  return pipelines;
}

std::string apply_filters(const FilterPipeline& pipeline, std::string text) {
  for (const FilterStep& step : pipeline.steps) {
    if (step.function == "regex")
      text = regex_pick(step, text);
    else if (step.function == "remove_whitespace")
      text = std::string(strip(text));
    else if (step.function == "lowercase")
      text = to_lower(text);
    else if (step.function == "uppercase")
      text = upper_case(std::move(text));
  }
  return text;
}

std::string MatchRule::normalize(std::string text) const {
  for (const std::string& pattern : ignored) text = replace_matches(pattern, "", text);
  if (ignores_case) text = to_lower(text);
  const auto drop = [&text](const char* characters) {
    const std::string_view set = characters;
    std::erase_if(text, [set](char c) { return set.find(c) != std::string_view::npos; });
  };
  if (ignores_punctuation) drop("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
  if (ignores_numbers) drop("0123456789");
  return text;
}

namespace {

class ExactMatch final : public Scorer {
 public:
  explicit ExactMatch(const ScorerContext& context)
      : pipelines_(read_filters(context.params.text("filters"), context.task.file)) {
    rule_.ignored = list_param(context.params, "regexes_to_ignore");
    rule_.ignores_case = context.params.flag("ignore_case");
    rule_.ignores_punctuation = context.params.flag("ignore_punctuation");
    rule_.ignores_numbers = context.params.flag("ignore_numbers");
  }

  void judge(const Json& item, const std::vector<std::string>& texts, ItemResult& result) const override {
    const std::vector<std::string> answers = item_texts(item, "answers");
    if (answers.empty())
      throw_input("{}: key 'answers' is missing, expected the right answer; name a target", item_name(item));
    OCKHAM_CHECK(!texts.empty());
    Json hits = Json::object(), filtered = Json::object();
    for (size_t p = 0; p < pipelines_.size(); ++p) {
      const FilterPipeline& pipeline = pipelines_[p];
      const std::string reply = apply_filters(pipeline, texts[0]);  // lm-evaluation-harness's take_first
      const std::string compared = rule_.normalize(reply);
      const bool hit = std::any_of(answers.begin(), answers.end(),
                                   [&](const std::string& answer) { return rule_.normalize(answer) == compared; });
      if (p == 0) result.score = hit ? 1 : 0;
      hits[pipeline.name] = hit;
      filtered[pipeline.name] = reply;
    }
    result.extra["matched"] = std::move(hits);
    result.extra["filtered"] = std::move(filtered);
    result.extra["label"] = answers[0];
  }

  ItemValue value_of(const ItemResult& result) const override {
    ItemValue value = Scorer::value_of(result);
    const auto matched = result.extra.find("matched");
    for (size_t p = 0; matched != result.extra.end() && p < pipelines_.size(); ++p)
      value.other[p] = matched->value(pipelines_[p].name, false) ? 1 : 0;
    return value;
  }

  Combine combine(const std::string& aggregate) const override {
    static constexpr ItemNumber kColumns[kMostPipelines] = {
        [](const ItemValue& item) { return item.other[0]; }, [](const ItemValue& item) { return item.other[1]; },
        [](const ItemValue& item) { return item.other[2]; }, [](const ItemValue& item) { return item.other[3]; }};
    if (aggregate == "accuracy") return Scorer::combine("mean");
    if (!aggregate.starts_with("filter:")) return Scorer::combine(aggregate);
    for (size_t p = 0; p < pipelines_.size(); ++p) {
      if (aggregate.substr(7) != pipelines_[p].name) continue;
      return [number = kColumns[p]](const ItemTable& table, std::span<const int32_t> picked) {
        return plain_mean(table, picked, number);
      };
    }
    return {};
  }

  std::vector<std::string> aggregates() const override {
    return {"score", "accuracy", "filter:NAME", "empty", "part:NAME", "micro:NAME"};
  }

 private:
  std::vector<FilterPipeline> pipelines_;
  MatchRule rule_;
};

}  // namespace

ScorerEntry exact_match_entry() {
  return {
      "exact_match",
      "the filtered reply equals a known answer",
      {text_spec("filters", "pipelines as JSON; default: the reply as it is", ""),
       list_spec("regexes_to_ignore", "taken out of reply and answer"),
       flag_spec("ignore_case", "compare in lower case", false),
       flag_spec("ignore_punctuation", "compare without ASCII punctuation", false),
       flag_spec("ignore_numbers", "compare without digits", false)},
      [](const ScorerContext& context) -> std::unique_ptr<Scorer> { return std::make_unique<ExactMatch>(context); }};
}

}  // namespace ockham
