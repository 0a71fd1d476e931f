// mmlu: the multiple-choice exams of "Measuring Massive Multitask Language Understanding" (Hendrycks et al., 2021), in
// the authors' own layout: mmlu/test/SUBJECT_test.csv and mmlu/dev/SUBJECT_dev.csv without a header line. Prompts as in
// lm-evaluation-harness: a header that names the subject, the first `shots` dev rows, the question; the letters are
// scored. `part` is "field/sub-category/subject", the authors' own grouping.
#include <array>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/eval/rows.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/rows.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

struct Subject {
  const char* field;
  const char* category;
  const char* name;
};

constexpr std::array<Subject, 57> kSubjects = {{
    {"stem", "math", "abstract_algebra"},
    {"other", "health", "anatomy"},
    {"stem", "physics", "astronomy"},
    {"other", "business", "business_ethics"},
    {"other", "health", "clinical_knowledge"},
    {"stem", "biology", "college_biology"},
    {"stem", "chemistry", "college_chemistry"},
    {"stem", "computer_science", "college_computer_science"},
    {"stem", "math", "college_mathematics"},
    {"other", "health", "college_medicine"},
    {"stem", "physics", "college_physics"},
    {"stem", "computer_science", "computer_security"},
    {"stem", "physics", "conceptual_physics"},
    {"social_sciences", "economics", "econometrics"},
    {"stem", "engineering", "electrical_engineering"},
    {"stem", "math", "elementary_mathematics"},
    {"humanities", "philosophy", "formal_logic"},
    {"other", "other", "global_facts"},
    {"stem", "biology", "high_school_biology"},
    {"stem", "chemistry", "high_school_chemistry"},
    {"stem", "computer_science", "high_school_computer_science"},
    {"humanities", "history", "high_school_european_history"},
    {"social_sciences", "geography", "high_school_geography"},
    {"social_sciences", "politics", "high_school_government_and_politics"},
    {"social_sciences", "economics", "high_school_macroeconomics"},
    {"stem", "math", "high_school_mathematics"},
    {"social_sciences", "economics", "high_school_microeconomics"},
    {"stem", "physics", "high_school_physics"},
    {"social_sciences", "psychology", "high_school_psychology"},
    {"stem", "math", "high_school_statistics"},
    {"humanities", "history", "high_school_us_history"},
    {"humanities", "history", "high_school_world_history"},
    {"other", "health", "human_aging"},
    {"social_sciences", "culture", "human_sexuality"},
    {"humanities", "law", "international_law"},
    {"humanities", "law", "jurisprudence"},
    {"humanities", "philosophy", "logical_fallacies"},
    {"stem", "computer_science", "machine_learning"},
    {"other", "business", "management"},
    {"other", "business", "marketing"},
    {"other", "health", "medical_genetics"},
    {"other", "other", "miscellaneous"},
    {"humanities", "philosophy", "moral_disputes"},
    {"humanities", "philosophy", "moral_scenarios"},
    {"other", "health", "nutrition"},
    {"humanities", "philosophy", "philosophy"},
    {"humanities", "history", "prehistory"},
    {"other", "other", "professional_accounting"},
    {"humanities", "law", "professional_law"},
    {"other", "health", "professional_medicine"},
    {"social_sciences", "psychology", "professional_psychology"},
    {"social_sciences", "politics", "public_relations"},
    {"social_sciences", "politics", "security_studies"},
    {"social_sciences", "culture", "sociology"},
    {"social_sciences", "politics", "us_foreign_policy"},
    {"other", "health", "virology"},
    {"humanities", "philosophy", "world_religions"},
}};

std::string place(const std::string& split, const std::string& subject) {
  return "mmlu/" + split + "/" + subject + "_" + split + ".csv";
}

void read_subject(const SuiteContext& context, const Subject& subject, SuiteItems& result) {
  const std::string test = find_data_file(context, {place("test", subject.name)});
  if (test.empty()) {
    result.missing.push_back({subject.name, place("test", subject.name)});
    return;
  }
  RowsPlan plan;
  plan.where = context.task.file + " on " + test;
  plan.text = "{{question.strip()}}\nA. {{A}}\nB. {{B}}\nC. {{C}}\nD. {{D}}\nAnswer:";
  plan.choices = {"A", "B", "C", "D"};
  plan.target = "{{answer}}";
  plan.description = fmt::format("The following are multiple choice questions (with answers) about {}.\n\n",
                                 replace_all(subject.name, "_", " "));
  plan.shots = context.options.num_fewshot.value_or(context.params.integer("shots"));
  plan.takes_first_shots = true;
  RowsOptions form;
  form.columns = {"question", "A", "B", "C", "D", "answer"};
  std::vector<Json> pool;
  if (plan.shots > 0) {
    const std::string dev = find_data_file(context, {place("dev", subject.name)});
    if (dev.empty())
      throw_input("--data {}: no file {} with the examples of {} shots; add it or pass --num-fewshot 0",
                  context.directory, place("dev", subject.name), plan.shots);
    pool = read_rows(dev, form);
  }
  std::vector<Json> items = build_items(plan, read_rows(test, form), pool);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i]["id"] = fmt::format("{}-{}", subject.name, i);
    items[i]["part"] = fmt::format("{}/{}/{}", subject.field, subject.category, subject.name);
    result.items.push_back(std::move(items[i]));
  }
}

void read_mmlu(const SuiteContext& context, SuiteItems& result) {
  const std::string& only = context.params.text("subject");
  for (const Subject& subject : kSubjects)
    if (only.empty() || only == subject.name) read_subject(context, subject, result);
  if (result.items.empty() && result.missing.empty())
    throw_input("{}: parameter 'subject': '{}' is none of the 57 subjects", context.task.file, only);
  if (const int64_t shots = context.options.num_fewshot.value_or(context.params.integer("shots")); shots > 0)
    result.notes.push_back(fmt::format("{} examples before each question", shots));
}

std::vector<std::string> subject_names() {
  std::vector<std::string> names;
  for (const Subject& subject : kSubjects) names.emplace_back(subject.name);
  return names;
}

}  // namespace

SuiteEntry mmlu_entry() {
  return {"mmlu",
          "mmlu/test/SUBJECT_test.csv and mmlu/dev/SUBJECT_dev.csv, the files of the MMLU authors",
          {int_spec("shots", "examples before each question", 5, 0, 1000),
           text_spec("subject", "one subject; default: all 57", "")},
          subject_names(),
          read_mmlu};
}

}  // namespace ockham
