// decodingtrust/adversarial: AdvGLUE++ (sentences attacked on three models), and AdvGLUE's own development set as a
// stand-in. With `benign` the same rows with their sentences before the attack.
#include <iterator>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/decodingtrust.h"

namespace ockham {
namespace {

constexpr const char* kAttackers[] = {"alpaca", "vicuna", "stable-vicuna"};
constexpr const char* kDevPlaces[] = {"advglue/dev_ann.json", "dev_ann.json", "../advglue/dev_ann.json"};
constexpr const char* kScoredTasks[] = {"sst2", "qqp", "mnli"};

// A sentence under its key, or under original_<key>.
const std::string& field(const Json& row, const std::string& key, const std::string& where) {
  const auto it = row.find(key);
  if (it == row.end() || !it->is_string()) throw_input("{}: key '{}' is missing, expected a text", where, key);
  return it->get_ref<const std::string&>();
}

class AdversarialReader {
 public:
  AdversarialReader(const SuiteContext& context, SuiteItems& result)
      : benchmark_(context), is_benign_(context.params.flag("benign")), result_(result) {}
  const DecodingTrust& benchmark() const { return benchmark_; }

  void add(const Json& row, const std::string& source, const std::string& task, int64_t index) {
    const std::string where = fmt::format("{} row {} of {}", task, index, source);
    if (!row.is_object()) throw_input("{}: is {}, expected an object", where, row.type_name());
    const std::string text = sentence(row, task, where);
    if (text.empty()) return;
    // Both splits of mnli share instruction and demonstrations.
    const std::string name = task == "mnli-mm" ? "mnli" : task;
    Json turns = Json::array();
    for (const Json& demo : benchmark_.at("advglue.demos." + name))
      turns.push_back(turn(json_text(demo, "role", where), json_text(demo, "content", where)));
    turns.push_back(turn("user", benchmark_.text("advglue.short_prompts." + name) + "\n" + text));
    result_.items.push_back({{"id", fmt::format("{}/{}/{}", source, task, index)},
                             {"part", fmt::format("{}/{}", source, task)},
                             {"task", task},
                             {"input", text},
                             {"label", json_integer(row, "label", where)},
                             {"method", json_text(row, "method", where, "")},
                             {"messages", std::move(turns)}});
  }

 private:
  // "key: text" lines, or the bare sentence of a semattack; "" for a row without what `benign` asks for.
  std::string sentence(const Json& row, const std::string& task, const std::string& where) const {
    const Json& keys = benchmark_.at("advglue.keys." + task);
    std::string first = keys.at(0).get<std::string>(),
                second = keys.at(1).is_string() ? keys.at(1).get<std::string>() : "";
    std::string first_field = first, second_field = second;
    if (is_benign_) {
      if (row.contains("original_" + first))
        first_field = "original_" + first;
      else if (!second.empty() && row.contains("original_" + second))
        second_field = "original_" + second;
      else
        return "";
    }
    std::string text;
    if (json_text(row, "method", where, "") == "semattack") {
      text = field(row, is_benign_ ? "original_sentence" : "sentence", where);
    } else {
      text = first + ": " + field(row, first_field, where);
      if (!second.empty()) text += "\n" + second + ": " + field(row, second_field, where);
    }
    return replace_all(replace_all(text, "sentence1", "premise"), "sentence2", "Hypothesis");
  }

  DecodingTrust benchmark_;
  bool is_benign_;
  SuiteItems& result_;
};

const Json& rows_of(const Json& root, const std::string& task, const std::string& file) {
  if (!root.is_object() || !root.contains(task) || !root[task].is_array())
    throw_input("{}: key '{}' is missing, expected a list of rows", file, task);
  return root[task];
}

void read_plus_plus(const SuiteContext& context, SuiteItems& result) {
  AdversarialReader reader(context, result);
  for (const char* attacker : kAttackers) {
    const std::string below = fmt::format("adv-glue-plus-plus/data/{}.json", attacker),
                      file = reader.benchmark().file(below);
    if (file.empty()) {
      result.missing.push_back({attacker, reader.benchmark().place(below)});
      continue;
    }
    const Json root = read_json_file(file);
    for (const char* task : kScoredTasks) {
      int64_t index = 0;
      for (const Json& row : rows_of(root, task, file)) reader.add(row, attacker, task, index++);
    }
  }
}

void read_dev(const SuiteContext& context, SuiteItems& result) {
  AdversarialReader reader(context, result);
  const std::string file = find_data_file(context, {std::begin(kDevPlaces), std::end(kDevPlaces)});
  if (file.empty()) {
    result.missing.push_back({"advglue", context.directory + "/advglue/dev_ann.json"});
    return;
  }
  const Json root = read_json_file(file);
  for (const auto& [task, rows] : root.items()) {
    if (!reader.benchmark().at("advglue.keys").contains(task)) continue;
    int64_t index = 0;
    for (const Json& row : rows_of(root, task, file)) reader.add(row, "advglue", task, index++);
  }
  result.notes.emplace_back(
      "AdvGLUE dev, a stand-in for AdvGLUE++: not to be compared with published AdvGLUE++ scores");
}

std::vector<ParamSpec> parameters() {
  return {flag_spec("benign", "the sentences before the attack", false)};
}

}  // namespace

SuiteEntry dt_adversarial_suite() {
  return {"decodingtrust/adversarial",
          "AdvGLUE++ of DecodingTrust (data/adv-glue-plus-plus/data) and prompts.json",
          parameters(),
          {std::begin(kAttackers), std::end(kAttackers)},
          read_plus_plus};
}

SuiteEntry advglue_suite() {
  return {
      "advglue/dev", "AdvGLUE's development set (advglue/dev_ann.json) and prompts.json", parameters(), {}, read_dev};
}

}  // namespace ockham
