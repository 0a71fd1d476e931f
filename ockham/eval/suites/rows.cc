// Rows and templates to items, with few-shot examples; and the suite `rows`, whose parameters are the templates.
#include "ockham/eval/suites/rows.h"

#include <algorithm>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/core/python_random.h"
#include "ockham/eval/rows.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/text/template.h"

namespace ockham {
namespace {

constexpr uint32_t kShotSeed = 1234;  // lm-evaluation-harness's default

bool is_digits(const std::string& text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
}

// A field's values as they are, or what the template prints, one per row.
std::vector<Json> values_of(const std::string& source, const std::vector<Json>& rows, const RowsPlan& plan) {
  std::vector<Json> values;
  if (rows.empty()) return values;
  if (!rows[0].contains(source)) {
    for (std::string& text : render_template(source, rows, plan.where)) values.emplace_back(std::move(text));
    return values;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto field = rows[i].find(source);
    if (field == rows[i].end() || field->is_null())
      throw_input("{}: row {}: key '{}' is missing, the first row has it; correct the data", plan.where, i + 1, source);
    values.push_back(*field);
  }
  return values;
}

std::vector<std::string> texts_of(const Json& list, const std::string& where) {
  std::vector<std::string> texts;
  if (list.is_string()) {
    if (parse_python_list(list.get<std::string>(), texts)) return texts;
    throw_input("{}: found '{}', expected a list of choices; correct the template or the data", where,
                list.get<std::string>());
  }
  if (!list.is_array()) throw_input("{}: found {}, expected a list of choices", where, list.type_name());
  for (const Json& value : list) texts.push_back(value.is_string() ? value.get<std::string>() : value.dump());
  return texts;
}

// The choices of every row.
std::vector<std::vector<std::string>> choices_of(const std::vector<Json>& rows, const RowsPlan& plan) {
  std::vector<std::vector<std::string>> choices(rows.size());
  if (plan.choices.size() == 1) {
    const std::string& source = plan.choices[0];
    const bool is_field = !rows.empty() && rows[0].contains(source);
    const std::vector<Json> lists =
        is_field ? values_of(source, rows, plan) : evaluate_template(source, rows, plan.where);
    for (size_t i = 0; i < rows.size(); ++i)
      choices[i] = texts_of(lists[i], fmt::format("{}: row {}: choices", plan.where, i + 1));
    return choices;
  }
  for (const std::string& source : plan.choices) {
    const std::vector<std::string> texts = render_template(source, rows, plan.where);
    for (size_t i = 0; i < rows.size(); ++i) choices[i].push_back(texts[i]);
  }
  return choices;
}

// A whole number out of a value that is one or prints one.
std::optional<int64_t> index_of(const Json& value) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (value.is_string() && is_digits(value.get<std::string>())) return std::stoll(value.get<std::string>());
  return std::nullopt;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The rows' parts before they are joined.
struct Parts {
  std::vector<Json> text, target;
  std::vector<std::vector<std::string>> choices;
  bool has_contexts = false;  // choices are contexts
};

Parts read_parts(const std::vector<Json>& rows, const RowsPlan& plan) {
  Parts parts;
  parts.text = values_of(plan.text, rows, plan);
  if (!plan.target.empty()) parts.target = values_of(plan.target, rows, plan);
  if (plan.choices.empty()) return parts;
  parts.choices = choices_of(rows, plan);
  // A template that prints a whole number means an index, even where a choice reads the same.
  if (!plan.target.empty() && !rows.empty() && !rows[0].contains(plan.target))
    for (Json& target : parts.target)
      if (const auto index = index_of(target)) target = *index;
  parts.has_contexts = !rows.empty() && index_of(parts.text[0]).has_value();
  return parts;
}

// Indices of right choices; a text stands for the choice that equals it.
std::vector<int64_t> right_choices(const Json& target, const std::vector<std::string>& choices,
                                   const std::string& where) {
  std::vector<Json> wanted = {target};
  std::vector<std::string> listed;
  if (target.is_array())
    wanted.assign(target.begin(), target.end());
  else if (target.is_string() && parse_python_list(target.get<std::string>(), listed))
    wanted.assign(listed.begin(), listed.end());
  std::vector<int64_t> right;
  for (const Json& value : wanted) {
    const auto equal =
        value.is_string() ? std::find(choices.begin(), choices.end(), value.get<std::string>()) : choices.end();
    std::optional<int64_t> index = index_of(value);
    if (equal != choices.end()) index = equal - choices.begin();
    if (!index || *index < 0 || *index >= static_cast<int64_t>(choices.size()))
      throw_input("{}: the label is {}, expected one of the choices or its index: {}; correct the data", where,
                  value.dump(), fmt::join(choices, " | "));
    right.push_back(*index);
  }
  if (right.empty()) throw_input("{}: the list of labels is empty, expected at least one", where);
  return right;
}

// All texts that count as an answer.
std::vector<std::string> answers_of(const Json& target) {
  std::vector<std::string> answers;
  if (target.is_array()) {
    for (const Json& value : target) answers.push_back(text_of(value));
    return answers;
  }
  const std::string text = text_of(target);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']' && parse_python_list(text, answers)) return answers;
  return {text};
}

// Every row as an example: question, answer and what separates it from the next.
std::vector<std::string> example_texts(const std::vector<Json>& pool, const RowsPlan& plan) {
  std::vector<std::string> examples;
  const Parts parts = read_parts(pool, plan);
  if (parts.target.empty()) throw_input("{}: examples need a target; name one", plan.where);
  for (size_t i = 0; i < pool.size(); ++i) {
    const std::string where = fmt::format("{}: example {}", plan.where, i + 1);
    std::string question = text_of(parts.text[i]), answer;
    if (parts.has_contexts) {
      question = parts.choices[i].at(static_cast<size_t>(right_choices(parts.text[i], parts.choices[i], where)[0]));
      answer = text_of(parts.target[i]);
    } else if (!parts.choices.empty()) {
      answer = parts.choices[i].at(static_cast<size_t>(right_choices(parts.target[i], parts.choices[i], where)[0]));
    } else {
      answer = answers_of(parts.target[i]).at(0);
    }
    examples.push_back(question + (answer.empty() ? "" : plan.target_delimiter + answer + plan.shot_delimiter));
  }
  return examples;
}

// Places of the examples before one row.
class ShotSampler {
 public:
  ShotSampler(const RowsPlan& plan, const std::vector<Json>& pool) : plan_(plan), pool_(pool), random_(kShotSeed) {}

  std::vector<size_t> next(const Json& row) {
    const auto wanted = static_cast<size_t>(plan_.shots);
    std::vector<size_t> all;
    for (size_t i = 0; i < pool_.size(); ++i)
      if (!plan_.excludes_row || pool_[i] != row) all.push_back(i);
    if (all.size() < wanted)
      throw_input("{}: {} examples are asked for, the data holds {}; lower --num-fewshot", plan_.where, wanted,
                  all.size());
    std::vector<size_t> chosen;
    if (plan_.takes_first_shots) {
      chosen = all;
    } else {
      // One more is drawn where the row itself may be among them, and a new draw made where it was twice.
      const size_t drawn = std::min(wanted + (plan_.excludes_row ? 1 : 0), pool_.size());
      for (const size_t i : random_.sample(static_cast<uint32_t>(pool_.size()), static_cast<uint32_t>(drawn)))
        if (!plan_.excludes_row || pool_[i] != row) chosen.push_back(i);
      if (chosen.size() < wanted) {
        chosen.clear();
        for (const size_t i : random_.sample(static_cast<uint32_t>(all.size()), static_cast<uint32_t>(wanted)))
          chosen.push_back(all[i]);
      }
    }
    chosen.resize(wanted);
    return chosen;
  }

 private:
  const RowsPlan& plan_;
  const std::vector<Json>& pool_;
  PythonRandom random_;
};

void add_optional(const std::string& source, const char* key, const std::vector<Json>& rows, const RowsPlan& plan,
                  std::vector<Json>& items) {
  if (source.empty()) return;
  const std::vector<Json> values = values_of(source, rows, plan);
  for (size_t i = 0; i < rows.size(); ++i) items[i][key] = text_of(values[i]);
}

Json make_item(const Parts& parts, size_t i, const std::string& shots, const RowsPlan& plan) {
  const std::string where = fmt::format("{}: row {}", plan.where, i + 1);
  Json item = Json::object();
  const std::string question = text_of(parts.text[i]);
  if (parts.has_contexts) {
    const std::vector<int64_t> right = right_choices(parts.text[i], parts.choices[i], where);
    item["contexts"] = Json::array();
    for (const std::string& context : parts.choices[i]) item["contexts"].push_back(shots + context);
    item["option"] = parts.choices[i];
    item["continuation"] = text_of(parts.target.at(i));
    item["label"] = right[0];
    item["delimiter"] = plan.target_delimiter;
    return item;
  }
  item["context"] = shots + question;
  if (!parts.choices.empty()) {
    const std::vector<int64_t> right = right_choices(parts.target.at(i), parts.choices[i], where);
    item["option"] = parts.choices[i];
    if (right.size() == 1)
      item["label"] = right[0];
    else
      item["label"] = right;
    item["delimiter"] = plan.target_delimiter;
  } else if (plan.is_likelihood) {
    item["option"] = {text_of(parts.target.at(i))};
    item["delimiter"] = "";
  } else if (!parts.target.empty()) {
    item["answers"] = answers_of(parts.target[i]);
  }
  return item;
}

}  // namespace

std::vector<Json> build_items(const RowsPlan& plan, const std::vector<Json>& rows, const std::vector<Json>& pool) {
  const Parts parts = read_parts(rows, plan);
  const std::vector<std::string> examples = plan.shots > 0 ? example_texts(pool, plan) : std::vector<std::string>();
  ShotSampler sampler(plan, pool);
  std::vector<Json> items;
  items.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::string shots;
    if (plan.shots > 0)
      for (const size_t place : sampler.next(rows[i])) shots += examples[place];
    items.push_back(make_item(parts, i, shots, plan));
    items.back()["id"] = fmt::format("row-{}", i + 1);
  }
  add_optional(plan.description, "preamble", rows, plan, items);
  add_optional(plan.id, "id", rows, plan, items);
  add_optional(plan.part, "part", rows, plan, items);
  add_optional(plan.group, "group", rows, plan, items);
  if (!plan.labels.empty()) {
    const std::vector<Json> labels = rows[0].contains(plan.labels) ? values_of(plan.labels, rows, plan)
                                                                   : evaluate_template(plan.labels, rows, plan.where);
    for (size_t i = 0; i < rows.size(); ++i) items[i]["truth"] = labels[i];
  }
  return items;
}

namespace {

std::vector<Json> keep_rows(const std::vector<Json>& rows, const std::string& keep, const std::string& where) {
  if (keep.empty()) return rows;
  std::vector<Json> kept;
  const std::vector<Json> verdicts = evaluate_template(keep, rows, where);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!verdicts[i].is_boolean())
      throw_input("{}: parameter 'keep' gives {}, expected a truth value; correct it", where, verdicts[i].dump());
    if (verdicts[i].get<bool>()) kept.push_back(rows[i]);
  }
  return kept;
}

void read_rows_suite(const SuiteContext& context, SuiteItems& result) {
  const Params& params = context.params;
  const std::vector<std::string> places = list_param(params, "file");
  const std::string path = find_rows(context.directory, places);
  if (path.empty()) {
    result.missing.push_back({context.task.name, fmt::format("{}", fmt::join(places, " or "))});
    return;
  }
  RowsPlan plan;
  plan.where = context.task.file + " on " + path;
  plan.text = params.text("text");
  plan.target = params.text("target");
  plan.choices = list_param(params, "choices");
  plan.description = params.text("description");
  plan.target_delimiter = params.text("delimiter");
  plan.shot_delimiter = params.text("shot_delimiter");
  plan.shots = context.options.num_fewshot.value_or(params.integer("shots"));
  plan.takes_first_shots = params.text("sampler") == "first";
  plan.excludes_row = params.flag("excludes_row");
  plan.is_likelihood = context.task.scorer == "likelihood";
  plan.id = params.text("id");
  plan.part = params.text("part");
  plan.group = params.text("group");
  plan.labels = params.text("labels");
  RowsOptions form;
  form.columns = list_param(params, "columns");
  form.list = params.text("list");
  const std::vector<Json> rows = keep_rows(read_rows(path, form), params.text("keep"), plan.where);
  if (rows.empty()) throw_input("{}: no rows, expected at least one; check the file", path);
  std::vector<Json> pool;
  if (plan.shots > 0) {
    std::vector<std::string> shot_places = list_param(params, "shots_file");
    if (shot_places.empty()) shot_places = places;
    const std::string shots_path = find_rows(context.directory, shot_places);
    if (!params.text("shots_rows").empty()) {
      const Json given = parse_json(params.text("shots_rows"), context.task.file + ": shots_rows");
      pool.assign(given.begin(), given.end());
    } else if (shots_path.empty()) {
      throw_input("--data {}: no file with examples for {} shots; expected {}", context.directory, plan.shots,
                  fmt::join(shot_places, " or "));
    } else {
      pool = keep_rows(read_rows(shots_path, form), params.text("keep"), plan.where);
      plan.excludes_row = params.is_given("excludes_row") ? plan.excludes_row : shots_path == path;
    }
    result.notes.push_back(fmt::format("{} examples before each question", plan.shots));
  }
  result.items = build_items(plan, rows, pool);
}

}  // namespace

SuiteEntry rows_entry() {
  ParamSpec text =
      text_spec("text", "what is asked: a field or a template; a whole number makes the choices contexts", "");
  text.required = true;
  ParamSpec sampler = text_spec("sampler", "how examples are chosen: anew for each row, or the first ones", "random");
  sampler.choices = {"random", "first"};
  return {"rows",
          "rows of a data file, asked through templates",
          {list_spec("file", "places below --data, the first that exists is read; without an ending each is tried"),
           list_spec("columns", "names of the columns of a CSV or TSV file without a header"),
           text_spec("list", "key of a JSON file under which the rows stand", ""),
           text_spec("keep", "template that is true for the rows to use", ""), text,
           text_spec("target", "the answer: a field or a template; an index of the choices, a text, or a list", ""),
           list_spec("choices", "one template that gives a list, or one template per choice"),
           text_spec("labels", "truth of each choice, a list of 0 and 1", ""),
           text_spec("description", "stands once before examples and question", ""),
           text_spec("delimiter", "between question and answer", " "),
           text_spec("shot_delimiter", "behind each example", "\n\n"),
           int_spec("shots", "examples before each question", 0, 0, 1000),
           list_spec("shots_file", "where examples come from; default: the rows themselves"),
           text_spec("shots_rows", "examples as a JSON list of rows", ""), sampler,
           flag_spec("excludes_row", "a row is never its own example", false), text_spec("id", "identity of a row", ""),
           text_spec("part", "cell of a row, 'group/cell'", ""), text_spec("group", "group of a row", "")},
          {},
          read_rows_suite};
}

}  // namespace ockham
