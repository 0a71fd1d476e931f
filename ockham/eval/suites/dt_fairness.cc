// decodingtrust/fairness: is a person's income high, is a community's crime rate high, at several base rates of the
// protected attribute and with demonstrations of several base rates; eleven settings. Two defects of the benchmark are
// kept apart by the prompt mode and the parameter `crime`: on local models its few-shot layout keeps only the last
// system message (faithful), and in its crime files the protected attribute equals the label.
#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/decodingtrust.h"
#include "ockham/io/npy.h"

namespace ockham {
namespace {

struct Setting {
  const char *name, *file;
  bool is_crime;
};
constexpr Setting kSettings[] = {{"zero_shot_parity_0.0", "adult_0_200_test_base_rate_0.0", false},
                                 {"zero_shot_parity_0.5", "adult_0_200_test_base_rate_0.5", false},
                                 {"zero_shot_parity_1.0", "adult_0_200_test_base_rate_1.0", false},
                                 {"few_shot_parity_0.0", "adult_32_200_train_base_rate_0.0", false},
                                 {"few_shot_parity_0.5", "adult_32_200_train_base_rate_0.5", false},
                                 {"few_shot_parity_1.0", "adult_32_200_train_base_rate_1.0", false},
                                 {"fair_16", "adult_16_200_train_br_0.0_test_br_0.5", false},
                                 {"fair_32", "adult_32_200_train_br_0.0_test_br_0.5", false},
                                 {"crime_parity_0.0", "crime_0_300_test_base_rate_0.0", true},
                                 {"crime_parity_0.5", "crime_0_300_test_base_rate_0.5", true},
                                 {"crime_parity_1.0", "crime_0_300_test_base_rate_1.0", true}};
constexpr const char* kFolder = "fairness/fairness_data/";

class FairnessReader {
 public:
  FairnessReader(const SuiteContext& context, SuiteItems& result)
      : benchmark_(context),
        result_(result),
        has_crime_(context.params.flag("crime")),
        is_faithful_(context.options.prompt_mode == PromptMode::kFaithful) {}

  void run() {
    for (const Setting& setting : kSettings)
      if (!setting.is_crime || has_crime_) add(setting);
    if (is_faithful_)
      result_.notes.emplace_back(
          "fairness (faithful): of the demonstrations only the last answer reaches a local model, as in the benchmark");
    if (!has_crime_)
      result_.notes.emplace_back("fairness (clean): adult only; the crime files' attribute equals their label");
  }

 private:
  void add(const Setting& setting) {
    const std::string below = std::string(kFolder) + setting.file + ".jsonl", file = benchmark_.file(below);
    // In the crime files the benchmark takes the labels themselves for the attribute.
    const std::string groups_below =
        std::string(kFolder) + (setting.is_crime ? "gt_labels_" : "sensitive_attr_") + setting.file + ".npy";
    const std::string groups_file = benchmark_.file(groups_below);
    if (file.empty() || groups_file.empty()) {
      result_.missing.push_back({setting.name, benchmark_.place(file.empty() ? below : groups_below)});
      return;
    }
    const std::vector<std::string> groups = read_labels_npy(groups_file);
    const std::string task = benchmark_.text(setting.is_crime ? "fairness.tasks.crime" : "fairness.tasks.adult");
    size_t row = 0;
    for_each_json_line(file, [&](const Json& line, const std::string& where) {
      if (row >= groups.size())
        throw_input("{}: holds {} values, expected one for each row of {}", groups_file, groups.size(), file);
      const std::string input = json_text(line, "input", where);
      result_.items.push_back({{"id", fmt::format("{}/{}", setting.name, row)},
                               {"part", setting.name},
                               {"dataset", setting.is_crime ? "crime" : "adult"},
                               {"input", input},
                               {"label", json_text(line, "label", where)},
                               {"group", groups[row]},
                               {"option", line.contains("option") ? line["option"] : Json::array()},
                               {"messages", turns(task, input, demonstrations_of(line, where))}});
      ++row;
      return true;
    });
    if (row != groups.size())
      throw_input("{}: holds {} values, expected {} as {} has rows", groups_file, groups.size(), row, file);
  }

  Json turns(const std::string& task, const std::string& input, const Demonstrations& shots) const {
    if (shots.empty() || !is_faithful_) return classification_turns(benchmark_, task, input, shots);
    // The benchmark sends demonstrations as system messages of named examples.
    Json all = Json::array({turn("system", benchmark_.text("chat.few_shot_system") + " " + task)});
    for (const auto& [text, label] : shots) {
      all.push_back(turn("system", text));
      all.push_back(turn("system", capitalize(label)));
    }
    all.push_back(turn("user", input));
    return all;
  }

  DecodingTrust benchmark_;
  SuiteItems& result_;
  bool has_crime_, is_faithful_;
};

void read_fairness(const SuiteContext& context, SuiteItems& result) {
  FairnessReader(context, result).run();
}

}  // namespace

SuiteEntry dt_fairness_suite() {
  std::vector<std::string> scenarios;
  for (const Setting& setting : kSettings) scenarios.emplace_back(setting.name);
  return {"decodingtrust/fairness",
          "DecodingTrust's people and communities (data/fairness/fairness_data) and prompts.json",
          {flag_spec("crime", "with the three settings on communities", true)},
          scenarios,
          read_fairness};
}

}  // namespace ockham
