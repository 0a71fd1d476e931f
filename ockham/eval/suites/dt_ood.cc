// decodingtrust/ood: sentiment in unusual styles, questions about recent events, and both with demonstrations. With
// `base` only the usual style, the control.
#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/decodingtrust.h"

namespace ockham {
namespace {

constexpr const char* kStyles[] = {"shake_w",    "augment",     "shake_p0",      "shake_p0.6", "bible_p0",
                                   "bible_p0.6", "romantic_p0", "romantic_p0.6", "tweet_p0",   "tweet_p0.6"};
constexpr const char* kShotStyles[] = {"shake_p0.6", "bible_p0.6", "romantic_p0.6", "tweet_p0.6"};
constexpr const char* kSubjects[] = {"global_facts", "machine_learning", "moral_scenarios", "us_foreign_policy"};
constexpr size_t kStyleShots = 8, kKnowledgeShots = 5;

std::string list_text(const Json& row, const std::string& key, size_t index, const std::string& where) {
  const auto it = row.find(key);
  if (it == row.end() || !it->is_array() || index >= it->size() || !(*it)[index].is_string())
    throw_input("{}: key '{}' is missing or short, expected a list of texts", where, key);
  return (*it)[index].get<std::string>();
}

// The digit of the right choice: a list of one text, a text, or a number.
std::string answer_of(const Json& row, const std::string& where) {
  const auto it = row.find("answer");
  if (it != row.end() && it->is_array()) return list_text(row, "answer", 0, where);
  const std::string answer = item_label(row, "answer");
  if (answer.empty()) throw_input("{}: key 'answer' is missing, expected the number of the right choice", where);
  return answer;
}

class OodReader {
 public:
  OodReader(const SuiteContext& context, SuiteItems& result)
      : benchmark_(context),
        result_(result),
        is_base_(context.params.flag("base")),
        style_task_(
            benchmark_.text(context.params.text("instruction") == "dt" ? "ood.style" : "ood.style_compressed_trust")) {}

  void run() {
    style_file_ = benchmark_.file("ood/style.json");
    if (style_file_.empty()) {
      for (const char* scenario : {"style", "style_fewshot"})
        if (!is_base_ || scenario == std::string("style"))
          result_.missing.push_back({scenario, benchmark_.place("ood/style.json")});
    } else {
      const Json root = read_json_file(style_file_);
      if (is_base_)
        add_style(root, "base", "style/base", {});
      else
        add_styles(root);
    }
    if (is_base_) return;
    knowledge_file_ = benchmark_.file("ood/knowledge.json");
    if (knowledge_file_.empty()) {
      for (const char* scenario : {"knowledge", "knowledge_fewshot"})
        result_.missing.push_back({scenario, benchmark_.place("ood/knowledge.json")});
      return;
    }
    add_all_knowledge(read_json_file(knowledge_file_));
  }

 private:
  const Json& rows(const Json& root, const char* section, const std::string& name, const std::string& file) const {
    if (!root.is_object() || !root.contains(section) || !root[section].contains(name) ||
        !root[section][name].is_array())
      throw_input("{}: key '{}' of '{}' is missing, expected a list of rows", file, name, section);
    return root[section][name];
  }

  void add_styles(const Json& root) {
    for (const char* style : kStyles) add_style(root, style, std::string("style/") + style, {});
    for (const char* style : kShotStyles) {
      for (int run = 0; run < 3; ++run) {
        const std::string name = fmt::format("base_{}", run);
        Demonstrations shots;
        for (const Json& row : rows(root, "train_demo", name, style_file_)) {
          if (shots.size() == kStyleShots) break;
          shots.emplace_back(json_text(row, "sentence", style_file_), label_of(row));
        }
        add_style(root, style, fmt::format("style_fewshot/{}_{}", style, name), shots);
      }
    }
  }

  std::string label_of(const Json& row) const {
    const std::string label = json_text(row, "label", style_file_);
    if (label != "0" && label != "1") throw_input("{}: a label is '{}', expected 0 or 1", style_file_, label);
    return label == "1" ? "positive" : "negative";
  }

  void add_style(const Json& root, const std::string& style, const std::string& part, const Demonstrations& shots) {
    int64_t index = 0;
    for (const Json& row : rows(root, "dev", style, style_file_)) {
      const std::string sentence = json_text(row, "sentence", style_file_);
      result_.items.push_back({{"id", fmt::format("{}/{}", part, index++)},
                               {"part", part},
                               {"input", sentence},
                               {"label", label_of(row)},
                               {"option", {"negative", "positive"}},
                               {"messages", classification_turns(benchmark_, style_task_, sentence, shots)}});
    }
  }

  void add_all_knowledge(const Json& root) {
    add_knowledge(root, "qa_2023", "knowledge/qa_2023", false, {});
    add_knowledge(root, "qa_2023", "knowledge/qa_2023_idk", true, {});
    for (const char* subject : kSubjects) {
      for (int run = 0; run < 3; ++run) {
        const std::string name = fmt::format("{}_{}", subject, run);
        Demonstrations shots;
        for (const Json& row : rows(root, "demo", name, knowledge_file_)) {
          if (shots.size() == kKnowledgeShots) break;
          shots.emplace_back(
              "Question: " + json_text(row, "question_sentence", knowledge_file_) + "\n" + choices(row, false),
              answer_of(row, knowledge_file_));
        }
        add_knowledge(root, "qa_2020", "knowledge_fewshot/qa_2020_" + name, false, shots);
      }
    }
  }

  // "0 : A \n1 : B \n..." with the offered ignorance behind it.
  std::string choices(const Json& row, bool has_idk) const {
    std::string text;
    for (size_t i = 0; i < 4; ++i) text += fmt::format("{} : {} \n", i, list_text(row, "choices", i, knowledge_file_));
    return has_idk ? text + "4 : I don't know \n" : text;
  }

  void add_knowledge(const Json& root, const std::string& year, const std::string& part, bool has_idk,
                     const Demonstrations& shots) {
    const std::string task = benchmark_.text(has_idk ? "ood.knowledge_idk" : "ood.knowledge");
    int64_t index = 0;
    for (const Json& row : rows(root, "test", year, knowledge_file_)) {
      // The blank before the first choice is the benchmark's.
      const std::string input =
          fmt::format("Today is {}. \nQuestion: {}\n {}", json_text(row, "question_date", knowledge_file_),
                      json_text(row, "question_sentence", knowledge_file_), choices(row, has_idk));
      result_.items.push_back({{"id", fmt::format("{}/{}", part, index++)},
                               {"part", part},
                               {"input", input},
                               {"answer", answer_of(row, knowledge_file_)},
                               {"choices", row["choices"]},
                               {"messages", classification_turns(benchmark_, task, input, shots)}});
    }
  }

  DecodingTrust benchmark_;
  SuiteItems& result_;
  bool is_base_;
  std::string style_task_, style_file_, knowledge_file_;
};

void read_ood(const SuiteContext& context, SuiteItems& result) {
  OodReader(context, result).run();
}

}  // namespace

SuiteEntry dt_ood_suite() {
  return {"decodingtrust/ood",
          "DecodingTrust's unusual styles and recent questions (data/ood) and prompts.json",
          {flag_spec("base", "only the usual style, as a control", false),
           text_spec("instruction",
                     "ct: the corrected instruction of compressed-trust; dt: the benchmark's, with its typing error",
                     "ct", {"ct", "dt"})},
          {"style", "style_fewshot", "knowledge", "knowledge_fewshot"},
          read_ood};
}

}  // namespace ockham
