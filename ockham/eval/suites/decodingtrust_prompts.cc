// Where each prompt stands in the benchmark's sources.
#include "ockham/eval/suites/decodingtrust_prompts.h"

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/python_literals.h"

namespace ockham {
namespace fs = std::filesystem;
namespace {

const std::string kPerspectives = "src/dt/perspectives/";

PythonSource open(const std::string& clone, const std::string& below) {
  const std::string path = (fs::path(clone) / below).string();
  if (!fs::is_regular_file(path))
    throw_input("{}: no such file, expected a clone of DecodingTrust; name its top folder", path);
  return PythonSource::read(path);
}

Json chat(const std::string& clone) {
  Json system = Json::array(), result = Json::object();
  for (const Json& message :
       open(clone, "src/dt/chat.py").dicts("role", "def do_classification", "def do_generation")) {
    const std::string role = message.value("role", ""), content = message.value("content", "");
    if (role == "system") system.push_back(content);
    if (role == "assistant") result["few_shot_ack"] = content;
  }
  if (system.size() < 2 || !result.contains("few_shot_ack"))
    throw_input(
        "{}/src/dt/chat.py: the three texts of do_classification are not found; this file is not the one that "
        "this program knows",
        clone);
  return {{"zero_shot_system", system[0]}, {"few_shot_system", system[1]}, {"few_shot_ack", result["few_shot_ack"]}};
}

Json toxicity(const std::string& clone) {
  const Json all = open(clone, kPerspectives + "toxicity/toxicity_prompts.py").value("PROMPTS");
  if (!all.is_array() || all.size() < 2) throw_input("{}: PROMPTS has fewer than two entries", clone);
  return {{"templates", {all[0], all[1]}},
          {"rejection_phrases",
           open(clone, kPerspectives + "toxicity/perspective_api_evaluate.py").value("templates", "def is_rejected")}};
}

Json stereotype(const std::string& clone, const std::string& fork) {
  const PythonSource rules = open(clone, kPerspectives + "stereotype/agreement_func.py"),
                     pipeline = open(clone, kPerspectives + "stereotype/bias_generation.py");
  const auto first = [&](const char* name, const char* after) {
    const Json list = pipeline.value(name, after);
    if (!list.is_array() || list.empty()) throw_input("{}: '{}' is no list of texts", clone, name);
    return list[0];
  };
  const char* body = "targeted_system_prompt";
  Json result = {{"statement_templates", rules.value("USER_PROMPT_TEMPLATES")}};
  result["task_desc"] = first("task_desc", "def main");
  result["benign"] = first("benign_system_prompt", "");
  result["untargeted"] = first("untargeted_system_prompt", "");
  result["targeted"] = first("targeted_system_prompt", "");
  result["groups"] = pipeline.value("target_groups", body);
  result["groups_kept_capitalised"] = pipeline.value("capitalized_target_groups", body);
  for (const char* name : {"AGREE_PHRASES", "DISAGREE_PHRASES", "NO_RESPONSE_PHRASES"})
    result["phrases"][name] = rules.value(name);
  if (fork.empty()) return result;
  const PythonSource other = open(fork, kPerspectives + "stereotype/agreement_func.py");
  for (const char* name : {"AGREE_PHRASES", "DISAGREE_PHRASES", "NO_RESPONSE_PHRASES", "GARBAGE_PHRASES"})
    result["phrases_compressed_trust"][name] = other.value(name);
  return result;
}

Json advglue(const std::string& clone) {
  const PythonSource source = open(clone, kPerspectives + "advglue/gpt_eval.py");
  return {{"keys", source.value("task_to_keys")},
          {"answer_mapping", source.value("answer_mapping")},
          {"short_prompts", source.value("TASK2SHORTPROMPT")},
          {"demos", source.value("TASK2DEMO")}};
}

Json ethics(const std::string& clone) {
  const PythonSource source = open(clone, kPerspectives + "machine_ethics/test_machine_ethics.py");
  Json result;
  for (const auto& [key, name] : {std::pair{"option_dic", "OPTION_DIC"},
                                  {"message_dic", "MESSAGE_DIC"},
                                  {"prompt_dic", "PROMPT_DIC"},
                                  {"jiminy_prompt_dic", "JIMINY_PROMPT_DIC"},
                                  {"evasive_dic", "EVASIVE_DIC"},
                                  {"jiminy_evasive_dic", "JIMINY_EVASIVE_DIC"}})
    result[key] = source.value(name);
  return result;
}

Json ood(const std::string& clone, const std::string& fork) {
  const std::string below = kPerspectives + "ood/evaluation_ood.py", function = "def load_task_messages";
  const PythonSource source = open(clone, below);
  Json result = {{"style", source.value("task_message", function, 2)}};
  if (!fork.empty()) result["style_compressed_trust"] = open(fork, below).value("task_message", function, 2);
  result["knowledge"] = source.value("task_message", function, 1);
  result["knowledge_idk"] = source.value("task_message", function, 0);
  return result;
}

Json privacy(const std::string& clone) {
  const PythonSource rules = open(clone, kPerspectives + "privacy/result_agg.py"),
                     prompts = open(clone, kPerspectives + "privacy/sys_prompts.py");
  PythonSource tools = open(clone, kPerspectives + "privacy/utils.py");
  tools.substitute("person_4", "{4}");
  tools.substitute("topic2word[topic][1]", "{topic second phrase}");
  Json result;
  result["reject"] = rules.value("REJECT_TEMPLATES");
  result["enron_reject"] = rules.value("ENRON_REJECT_TEMPLATES");
  result["understanding_leak"] = rules.value("PRIVACY_UNDERSTANDING_LEAK_TEMPLATES");
  result["system_templates"] = prompts.value("PROMPT_TEMPLATE");
  result["pii_types_generated"] = prompts.value("PII_INFO");
  result["pii_types_scored"] = rules.value("PII_INFO", "def calculate_scores_pii");
  result["pii_context"] = tools.value("context_template");
  result["pii_question"] = tools.value("question_template");
  result["pii_protect_answer"] = tools.value("protection_answer_template");
  const char* letters[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; ++i) {
    result["enron_zero"][letters[i]] = tools.value("template", "def get_prompts_0_shot", i);
    result["enron_shot"][letters[i]] = tools.value("few_shot_template", "def get_prompts_k_shot", i);
  }
  // In the order in which the sources show them.
  result["enron_known_domain_prefix"] = tools.value("domain_template");
  const char* function = "def get_privacy_understanding_messages";
  result["understanding_topics"] = tools.value("topic2word", function);
  result["understanding_secrets"] = tools.value("prompts", function);
  for (size_t i = 0; i < 3; ++i)
    result["understanding_questions"][std::to_string(i + 1)] = tools.value("question", function, i);
  return result;
}

int64_t count_rows(const fs::path& path) {
  if (!fs::is_regular_file(path)) return -1;
  if (path.extension() == ".json") {
    const Json root = read_json_file(path.string());
    return static_cast<int64_t>(root.size());
  }
  const std::string content = read_text_file(path.string());
  return std::count(content.begin(), content.end(), '\n');
}

}  // namespace

Json read_benchmark_prompts(const std::string& clone, const std::string& fork) {
  Json result;
  result["_note"] =
      "Literal prompts and phrases of DecodingTrust, read out of a clone's sources; CC BY-SA 4.0, as they are.";
  result["chat"] = chat(clone);
  result["toxicity"] = toxicity(clone);
  result["stereotype"] = stereotype(clone, fork);
  result["advglue"] = advglue(clone);
  result["adv_demonstration"]["tasks"] =
      open(clone, kPerspectives + "adv_demonstration/task_description.py").value("task_dic");
  result["machine_ethics"] = ethics(clone);
  result["fairness"]["tasks"] = open(clone, kPerspectives + "fairness/task_description.py").value("task_dic");
  result["ood"] = ood(clone, fork);
  result["privacy"] = privacy(clone);
  return result;
}

std::vector<DataFile> check_benchmark_data(const std::string& clone) {
  std::vector<DataFile> files = {
      {"toxicity", "toxicity/user_prompts/toxic.jsonl"},
      {"toxicity", "toxicity/user_prompts/nontoxic.jsonl"},
      {"toxicity", "toxicity/user_prompts/toxic.jsonl.gpt3.n=25.out1.split.annotated.jsonl.filtered.jsonl"},
      {"toxicity", "toxicity/user_prompts/toxic.jsonl.gpt4.n=25.out1.split.annotated.jsonl.filtered.jsonl"},
      {"stereotype", "stereotype/dataset/stereotype_bias_data.jsonl"},
      {"adversarial", "adv-glue-plus-plus/data/alpaca.json"},
      {"adversarial", "adv-glue-plus-plus/data/vicuna.json"},
      {"adversarial", "adv-glue-plus-plus/data/stable-vicuna.json"},
      {"ood", "ood/style.json"},
      {"ood", "ood/knowledge.json"},
      {"adv-demonstrations", "adv_demonstration/counterfactual/snli_premise_cf/42.jsonl"},
      {"adv-demonstrations", "adv_demonstration/spurious/PP/entail-bias/42.jsonl"},
      {"adv-demonstrations", "adv_demonstration/backdoor/experiment1/sst-2_setup1_badword_asr/42.jsonl"},
      {"privacy", "privacy/enron_data/email2name.json"},
      {"privacy", "privacy/enron_data/one_shot.json"},
      {"privacy", "privacy/enron_data/five_shot.json"},
      {"privacy", "privacy/enron_data/one_shot_non_domain.json"},
      {"privacy", "privacy/enron_data/five_shot_non_domain.json"},
      {"privacy", "privacy/enron_data/context.json"},
      {"machine-ethics", "machine_ethics/ethics/commonsense/cm_test.csv"},
      {"machine-ethics", "machine_ethics/ethics/commonsense/cm_train.csv"},
      {"fairness", "fairness/fairness_data/adult_0_200_test_base_rate_0.0.jsonl"},
      {"fairness", "fairness/fairness_data/adult_32_200_train_base_rate_0.0.jsonl"},
      {"fairness", "fairness/fairness_data/crime_0_300_test_base_rate_0.0.jsonl"}};
  for (DataFile& entry : files) {
    entry.file = "data/" + entry.file;
    entry.rows = count_rows(fs::path(clone) / entry.file);
  }
  return files;
}

}  // namespace ockham
