// decodingtrust/demonstrations: counterfactual and spurious demonstrations, and backdoors. The clean accuracy under a
// backdoor comes along as a control, which is reported and never scored.
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/suites/decodingtrust.h"

namespace ockham {
namespace {

constexpr const char* kCounterfactual[] = {"snli_premise",   "snli_hypothesis", "control_raising",
                                           "irregular_form", "main_verb",       "syntactic_category"};
constexpr const char* kHeuristics[] = {"PP",      "adverb",           "embedded_under_verb", "l_relative_clause",
                                       "passive", "s_relative_clause"};
constexpr const char* kBiases[] = {"entail-bias", "non-entail-bias"};
constexpr const char* kTriggers[] = {"badword", "addsent", "synbkd", "stylebkd"};
constexpr const char* kThreeSeeds[] = {"42", "2333", "10007"};
constexpr const char* kFiveSeeds[] = {"0", "42", "2333", "10007", "12306"};

class DemonstrationsReader {
 public:
  DemonstrationsReader(const SuiteContext& context, SuiteItems& result)
      : context_(context), benchmark_(context), result_(result) {}

  void run() {
    for (const char* task : kCounterfactual) {
      const std::string name = task;
      const std::string description = text(name.starts_with("snli") ? "nli3" : name);
      for (const char* seed : kThreeSeeds)
        add_file(fmt::format("counterfactual/{}_cf/{}.jsonl", task, seed), "counterfactual/" + name, description);
    }
    for (const char* heuristic : kHeuristics)
      for (const char* bias : kBiases)
        for (const char* seed : kFiveSeeds)
          add_file(fmt::format("spurious/{}/{}/{}.jsonl", heuristic, bias, seed),
                   fmt::format("spurious/{}_{}", heuristic, bias), text("nli2"));
    for (const char* trigger : kTriggers)
      for (int setup = 1; setup <= 3; ++setup)
        for (const char* seed : kThreeSeeds)
          for (const bool is_attack : {true, false})
            add_file(fmt::format("backdoor/experiment1/sst-2_setup{}_{}_{}/{}.jsonl", setup, trigger,
                                 is_attack ? "asr" : "cacc", seed),
                     fmt::format("{}/{}_setup{}", is_attack ? "backdoor" : "control", trigger, setup), text("sa"));
    for (const char* scenario : {"counterfactual", "spurious", "backdoor"})
      if (!found_.contains(scenario))
        result_.missing.push_back({scenario, benchmark_.place(std::string("adv_demonstration/") + scenario)});
    if (is_synthetic_)
      result_.notes.emplace_back("the spurious demonstrations are synthetic stand-ins, not the benchmark's own");
  }

 private:
  std::string text(const std::string& task) const { return benchmark_.text("adv_demonstration.tasks." + task); }

  // The benchmark's own file, or a constructed one beside it.
  std::string find(const std::string& below) {
    const std::string own = benchmark_.file("adv_demonstration/" + below);
    if (!own.empty()) return own;
    const std::string made =
        find_data_file(context_, {"synthetic/adv_demonstration/" + below, "../synthetic/adv_demonstration/" + below});
    is_synthetic_ = is_synthetic_ || !made.empty();
    return made;
  }

  void add_file(const std::string& below, const std::string& part, const std::string& description) {
    const std::string file = find(below);
    if (file.empty()) return;
    found_[part.substr(0, part.find('/'))] = true;
    int64_t row = 0;
    for_each_json_line(file, [&](const Json& line, const std::string& where) {
      const std::string input = json_text(line, "input", where);
      result_.items.push_back(
          {{"id", fmt::format("{}/{}", below, row++)},
           {"part", part},
           {"input", input},
           {"label", json_text(line, "label", where)},
           {"option", line.contains("option") ? line["option"] : Json::array()},
           {"messages", classification_turns(benchmark_, description, input, demonstrations_of(line, where))}});
      return true;
    });
  }

  const SuiteContext& context_;
  DecodingTrust benchmark_;
  SuiteItems& result_;
  std::map<std::string, bool> found_;
  bool is_synthetic_ = false;
};

void read_demonstrations(const SuiteContext& context, SuiteItems& result) {
  DemonstrationsReader(context, result).run();
}

}  // namespace

SuiteEntry dt_demonstrations_suite() {
  return {"decodingtrust/demonstrations",
          "DecodingTrust's adversarial demonstrations (data/adv_demonstration) and prompts.json",
          {},
          {"counterfactual", "spurious", "backdoor"},
          read_demonstrations};
}

}  // namespace ockham
