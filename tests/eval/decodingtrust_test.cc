// The benchmark's tasks on real subsets of its data: what prompts look like, what degenerate and perfect models score.
#include "ockham/eval/suites/decodingtrust.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "ockham/core/error.h"
#include "ockham/eval/data.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/decodingtrust_prompts.h"
#include "ockham/io/file.h"
#include "tests/eval/fake_model.h"
#include "tests/test_data.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

#define OCKHAM_REQUIRE_BENCHMARK()                                                                        \
  if (!fs::exists(test_data("data") + "/decodingtrust")) {                                                \
    GTEST_SKIP() << test_data("data") << " is absent: set OCKHAM_TEST_DATA to the test data's directory"; \
  }

Task task_of(const std::string& name) {
  return read_task(std::string(OCKHAM_SOURCE_DIR) + "/tasks/" + name + ".yaml");
}

EvalOptions full_options() {
  EvalOptions options;
  options.tier = Tier::kFull;
  options.data_directory = test_data("data");
  return options;
}

std::map<std::string, double> run(const std::string& name, const FakeModel::Answer& answer,
                                  EvalOptions options = full_options()) {
  Task task = task_of(name);
  for (auto& [tier, samples] : task.samples) samples = std::min<int64_t>(samples, 2);
  FakeModel model(answer);
  std::map<std::string, double> values;
  for (const MetricResult& metric : evaluate(model, task, options).metrics) values[metric.name] = metric.value;
  return values;
}

FakeModel::Answer always(const std::string& text) {
  return [text](const std::string&, uint64_t) { return text; };
}
constexpr const char* kRefusal = "I'm sorry, I cannot answer that.";

// Answers every item of a task with a field of its own.
FakeModel::Answer oracle(const std::string& name, const std::string& key) {
  const FakeModel fake(always(""));
  const Task task = task_of(name);
  const EvalOptions options = full_options();
  auto answers = std::make_shared<std::map<std::string, std::string>>();
  for (const Json& item : read_items(task, options).items) {
    const auto field = item.find(key);
    if (field == item.end()) continue;
    (*answers)[build_prompt(fake, task, item, options).text] =
        field->is_string() ? field->get<std::string>() : field->dump();
  }
  return [answers](const std::string& prompt, uint64_t) {
    const auto it = answers->find(prompt);
    return it == answers->end() ? std::string() : it->second;
  };
}

const std::vector<std::string> kTasks = {
    "trust/toxicity",           "trust/stereotype", "advglue/dev",          "trust/ood",
    "trust/adv-demonstrations", "trust/privacy",    "trust/machine-ethics", "trust/fairness"};

TEST(DecodingTrust, DistinctItemsGiveDistinctPrompts) {
  OCKHAM_REQUIRE_BENCHMARK();
  const FakeModel fake(always(""));
  for (const std::string& name : kTasks) {
    const Task task = task_of(name);
    const SuiteItems read = read_items(task, full_options());
    // What differs in the benchmark's files differs in the prompt; rows that a file holds twice stay twice.
    std::set<std::string> prompts, rows;
    for (const Json& item : read.items) {
      const std::string part = json_text(item, "part", name, "");
      prompts.insert(part + build_prompt(fake, task, item).text);
      rows.insert(part + "\n" + item_label(item, "input"));
    }
    EXPECT_GE(prompts.size(), rows.size()) << name;
    EXPECT_GE(read.items.size(), 200U) << name;
  }
}

TEST(DecodingTrust, PromptsAreLaidOutAsTheBenchmarkDoes) {
  OCKHAM_REQUIRE_BENCHMARK();
  const Json prompts = read_json_file(test_data("data") + "/decodingtrust/prompts.json");
  const auto first = [&](const std::string& task, const std::string& part) {
    for (const Json& item : read_items(task_of(task), full_options()).items)
      if (item["part"] == part) return item;
    throw std::runtime_error(part);
  };
  const auto text = [](const Json& node) { return node.get<std::string>(); };

  const Json toxic = first("trust/toxicity", "toxic/adversarial");
  EXPECT_EQ(toxic["messages"][0]["content"], prompts["toxicity"]["templates"][1]["sys_prompt"]);
  // The description ends in a line break of its own, so an empty line stands before the prompt.
  EXPECT_EQ(toxic["messages"][1]["content"],
            text(prompts["toxicity"]["templates"][1]["task_desc"]) + "\n" + text(toxic["input"]));

  for (const Json& item : read_items(task_of("trust/stereotype"), full_options()).items) {
    if (item["part"] != "targeted") continue;
    const std::string system = text(item["messages"][0]["content"]), group = text(item["group"]);
    const auto& kept = prompts["stereotype"]["groups_kept_capitalised"];
    const bool keeps = std::find(kept.begin(), kept.end(), group) != kept.end();
    EXPECT_EQ(system.find("[target_group]"), std::string::npos);
    EXPECT_EQ(system.find(group) != std::string::npos, keeps) << group;
    EXPECT_TRUE(text(item["messages"][1]["content"]).starts_with(text(prompts["stereotype"]["task_desc"]) + "\n"));
  }

  const Json qqp = first("advglue/dev", "advglue/qqp");
  const std::string asked = text(qqp["messages"].back()["content"]);
  EXPECT_TRUE(asked.starts_with(text(prompts["advglue"]["short_prompts"]["qqp"]) + "\nquestion1: ")) << asked;
  EXPECT_NE(asked.find("\nquestion2: "), std::string::npos);
  EXPECT_EQ(qqp["messages"].size(), prompts["advglue"]["demos"]["qqp"].size() + 1);
  const std::string rte = text(first("advglue/dev", "advglue/rte")["messages"].back()["content"]);
  EXPECT_NE(rte.find("\npremise: "), std::string::npos);
  EXPECT_NE(rte.find("\nHypothesis: "), std::string::npos);

  const Json idk = first("trust/ood", "knowledge/qa_2023_idk");
  const std::string question = text(idk["input"]);
  EXPECT_TRUE(question.starts_with("Today is 2023"));
  EXPECT_NE(question.find("\n 0 : "), std::string::npos);
  EXPECT_TRUE(question.ends_with(" \n4 : I don't know \n"));
  const Json shots = first("trust/ood", "knowledge_fewshot/qa_2020_global_facts_1");
  EXPECT_EQ(shots["messages"].size(), 3U + 10U + 1U);
  EXPECT_TRUE(text(shots["messages"][3]["content"]).starts_with("Question: "));
  EXPECT_NE(text(shots["messages"][3]["content"]).find("\n0 : "), std::string::npos);

  const Json twin = first("trust/adv-demonstrations", "counterfactual/snli_premise");
  EXPECT_EQ(twin["messages"].size(), 3U + 2 * 17U + 1U);
  EXPECT_EQ(twin["messages"][1]["content"], prompts["adv_demonstration"]["tasks"]["nli3"]);
  EXPECT_EQ(text(twin["messages"][4]["content"]), "Maybe");

  const Json act = first("trust/machine-ethics", "evasive/2");
  EXPECT_TRUE(text(act["messages"][1]["content"])
                  .ends_with(text(prompts["machine_ethics"]["evasive_dic"]["2"]) + "\nReaction: This is "));
  const Json excused = first("trust/machine-ethics", "jailbreak/3");
  EXPECT_TRUE(text(excused["messages"][1]["content"])
                  .starts_with(text(prompts["machine_ethics"]["message_dic"]["ethics_commonsense_short"]) +
                               text(prompts["machine_ethics"]["prompt_dic"]["3"]) + "\n"));
  EXPECT_EQ(first("trust/machine-ethics", "few/short")["messages"].size(), 3U + 64U + 1U);
}

TEST(DecodingTrust, PersonalDataAreTheBenchmarksOwn) {
  OCKHAM_REQUIRE_BENCHMARK();
  const std::vector<Json> items = read_items(task_of("trust/privacy"), full_options()).items;
  std::map<std::string, int64_t> count;
  for (const Json& item : items) ++count[item["part"].get<std::string>()];
  EXPECT_EQ(std::count_if(count.begin(), count.end(), [](const auto& cell) { return cell.first.starts_with("pii/"); }),
            36);
  EXPECT_EQ(
      std::count_if(count.begin(), count.end(), [](const auto& cell) { return cell.first.starts_with("enron/"); }), 24);
  EXPECT_EQ(count["pii/phone number_0shot_attack"], 100);
  EXPECT_EQ(count["enron/zero-shot-a"], 250);
  EXPECT_EQ(count["understanding/divorce"], 17);
  for (const Json& item : items) {
    if (item["part"] != "pii/phone number_0shot_attack") continue;
    // Python's generator seeded with 0: the first ten digits drawn.
    EXPECT_EQ(item["secret"], "6604876475");
    EXPECT_NE(item["messages"][1]["content"].get<std::string>().find("'s phone number is 6604876475. "),
              std::string::npos);
    break;
  }
}

TEST(DecodingTrust, ASilentModel) {
  OCKHAM_REQUIRE_BENCHMARK();
  EvalOptions judged = full_options();
  judged.toxicity_judge = [](const std::string&) { return 0.9; };
  auto values = run("trust/toxicity", always(""), judged);
  EXPECT_NEAR(values["toxicity"], 100, 1e-9);
  EXPECT_NEAR(values["blank"], 1, 1e-9);
  for (const char* name : {"trust/stereotype", "trust-dt/stereotype"}) {
    values = run(name, always(""));
    EXPECT_NEAR(values["stereotype"], 100, 1e-9) << name;
    EXPECT_NEAR(values["refusal"], 1, 1e-9) << name;
  }
  values = run("advglue/dev", always(""));
  EXPECT_NEAR(values["accuracy"], 0, 1e-9);
  EXPECT_NEAR(values["no_answer"], 1, 1e-9);
  EXPECT_NEAR(run("trust/adv-demonstrations", always(""))["adv_demonstrations"], 100.0 / 3, 1e-9);
  EXPECT_NEAR(run("trust/ood", always(""))["ood"], 0, 1e-9);
  values = run("trust/privacy", always(""));
  EXPECT_NEAR(values["privacy"], 100, 1e-9);
  EXPECT_NEAR(values["refusal"], 0, 1e-9);
  EXPECT_NEAR(run("trust/machine-ethics", always(""))["machine_ethics"], 50, 1e-9);
  values = run("trust/fairness", always(""));
  EXPECT_NEAR(values["fairness"], 100, 1e-9);
  EXPECT_NEAR(values["no_answer"], 1, 1e-9);
}

TEST(DecodingTrust, ARefusingModel) {
  OCKHAM_REQUIRE_BENCHMARK();
  auto values = run("trust/ood", always(kRefusal));
  EXPECT_NEAR(values["knowledge_fewshot"], 0, 1e-9);
  // Refusing is fully rewarded in the two knowledge cells, which are one of four parts.
  EXPECT_NEAR(values["ood"], 25, 1e-9);
  EXPECT_NEAR(run("trust/adv-demonstrations", always(kRefusal))["refusal"], 1, 1e-9);
  values = run("trust/privacy", always(kRefusal));
  EXPECT_NEAR(values["privacy"], 100, 1e-9);
  EXPECT_NEAR(values["refusal"], 1, 1e-9);
  // "cannot" holds "no": read as an answer, not as a refusal.
  EXPECT_NEAR(run("trust/fairness", always(kRefusal))["no_answer"], 3.0 * 100 / (8 * 0 + 3 * 100) * 300 / 1028, 0.2);
  EXPECT_NEAR(run("advglue/dev", always(kRefusal))["refusal"], 0, 0.5);
}

TEST(DecodingTrust, AgreeingAndConstantModels) {
  OCKHAM_REQUIRE_BENCHMARK();
  EXPECT_NEAR(run("trust/stereotype", always("I agree."))["stereotype"], 0, 1e-9);
  EXPECT_NEAR(run("trust-dt/stereotype", always("I agree."))["stereotype"], 0, 1e-9);
  EXPECT_NEAR(run("trust-dt/fairness-adult", always("Yes"))["fairness"], 100, 1e-9);
  EXPECT_NEAR(run("trust-dt/fairness-adult", always("Yes"))["demographic_parity"], 0, 1e-9);
}

TEST(DecodingTrust, AnOracle) {
  OCKHAM_REQUIRE_BENCHMARK();
  auto values = run("trust/adv-demonstrations", oracle("trust/adv-demonstrations", "label"));
  EXPECT_NEAR(values["counterfactual"], 1, 1e-9);
  EXPECT_NEAR(values["spurious"], 1, 1e-9);
  EXPECT_NEAR(values["attack_success"], 1, 1e-9);
  EXPECT_NEAR(values["adv_demonstrations"], 200.0 / 3, 1e-9);
  // A perfect classifier scores 50, a constant one 100.
  values = run("trust/fairness", oracle("trust/fairness", "label"));
  EXPECT_NEAR(values["fairness"], 50, 1e-9);
  EXPECT_NEAR(values["accuracy"], 1, 1e-9);
  values = run("trust/machine-ethics", oracle("trust/machine-ethics", "label"));
  EXPECT_NEAR(values["machine_ethics"], 100, 1e-9);
  values = run("trust/privacy", oracle("trust/privacy", "secret"));
  EXPECT_NEAR(values["enron"], 0, 1e-9);
  EXPECT_NEAR(values["pii"], 0, 1e-9);
}

TEST(DecodingTrust, MissingScenariosMakeAScorePartial) {
  OCKHAM_REQUIRE_BENCHMARK();
  FakeModel model(always("yes"));
  EvalOptions options = full_options();
  options.max_items = 50;
  const TaskResult privacy = evaluate(model, task_of("trust/privacy"), options);
  EXPECT_EQ(privacy.scenarios, 4);
  EXPECT_EQ(privacy.missing_scenarios, std::vector<std::string>{"enron/context"});
  bool is_said = false;
  for (const std::string& note : privacy.notes) is_said = is_said || note.starts_with("partial 3/4: ");
  EXPECT_TRUE(is_said);
  try {
    evaluate(model, task_of("trust/adversarial"), options);
    FAIL() << "accepted without data";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("alpaca.json"), std::string::npos) << error.what();
  }
}

// A made-up folder of the benchmark's shape.
class MadeUpBenchmark {
 public:
  MadeUpBenchmark() {
    std::string pattern = (fs::temp_directory_path() / "ockham-dt-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~MadeUpBenchmark() { fs::remove_all(path_); }
  MadeUpBenchmark(const MadeUpBenchmark&) = delete;
  MadeUpBenchmark& operator=(const MadeUpBenchmark&) = delete;
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string error_of(const MadeUpBenchmark& scratch, const std::string& task) {
  EvalOptions options;
  options.data_directory = scratch.path();
  try {
    read_items(task_of(task), options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
    return error.what();
  }
  return "";
}

// Sources of the benchmark's shape with texts of their own.
void write_sources(const MadeUpBenchmark& scratch) {
  const std::string folder = "src/dt/perspectives/";
  scratch.write("src/dt/chat.py",
                "def do_classification(self):\n"
                "  m = [{\"role\": \"system\", \"content\": \"zero\"}, {\"role\": \"user\", \"content\": task}]\n"
                "  m = [{\"role\": \"system\", \"content\": \"few \" + task}]\n"
                "  m = [{\"role\": \"system\", \"content\": \"few\"},\n"
                "       {\"role\": \"assistant\", \"content\": \"gladly\"}]\n"
                "def do_generation(self):\n  m = [{\"role\": \"system\", \"content\": \"late\"}]\n");
  scratch.write(folder + "toxicity/toxicity_prompts.py",
                "PROMPTS = [{'sys_prompt': 's', 'task_desc': 't \\n'}, {'a': 'b'}, {}]\n");
  scratch.write(folder + "toxicity/perspective_api_evaluate.py", "def is_rejected(o):\n  templates = ['never']\n");
  scratch.write(folder + "stereotype/agreement_func.py",
                "AGREE_PHRASES = ['aye']\nDISAGREE_PHRASES = ['nay']\nNO_RESPONSE_PHRASES = ['hm']\n"
                "GARBAGE_PHRASES = ['x'] + ['user: ' + p for p in AGREE_PHRASES]\n"
                "USER_PROMPT_TEMPLATES = {'t': ['[target_group] are.']}\n");
  scratch.write(
      folder + "stereotype/bias_generation.py",
      "def main():\n  task_desc = [f'say']\n  benign_system_prompt = ['b']\n  untargeted_system_prompt = ['u']\n"
      "  targeted_system_prompt = ['t [target_group]']\n  target_groups = ['G']\n"
      "  capitalized_target_groups = ['G']\n");
  scratch.write(folder + "advglue/gpt_eval.py",
                "task_to_keys = {'sst2': ('sentence', None)}\nanswer_mapping = {'sst2': {'bad': 0}}\n"
                "TASK2SHORTPROMPT = {'sst2': 'label'}\n"
                "TASK2DEMO = {'sst2': [{'role': 'user', 'content': f\"{TASK2SHORTPROMPT['sst2']}\\nsentence: x\"}]}\n");
  for (const char* dimension : {"adv_demonstration", "fairness"})
    scratch.write(folder + dimension + "/task_description.py", "task_dic = {'a': 'b'}\n");
  scratch.write(folder + "machine_ethics/test_machine_ethics.py",
                "OPTION_DIC = {'o': ['w']}\nMESSAGE_DIC = {}\nPROMPT_DIC = {1: 'p'}\nJIMINY_PROMPT_DIC = {}\n"
                "EVASIVE_DIC = {}\nJIMINY_EVASIVE_DIC = {}\n");
  scratch.write(folder + "ood/evaluation_ood.py",
                "def load_task_messages(a):\n  if a:\n    task_message = 'idk'\n  else:\n    task_message = 'know'\n"
                "  task_message = 'style'\n");
  scratch.write(folder + "privacy/sys_prompts.py",
                "PROMPT_TEMPLATE = [{}, {'sys_prompt': 'keep {}'}]\nPII_INFO = ['n']\n");
  scratch.write(folder + "privacy/result_agg.py",
                "REJECT_TEMPLATES = ['no']\nENRON_REJECT_TEMPLATES = REJECT_TEMPLATES + ['hi']\n"
                "PRIVACY_UNDERSTANDING_LEAK_TEMPLATES = ['yes']\ndef calculate_scores_pii(m):\n  PII_INFO=['n']\n");
  std::string tools = "def get_prompts_0_shot():\n";
  for (const char* letter : {"a", "b", "c", "d"}) tools += std::string("  template = '") + letter + " {}'\n";
  tools += "def known():\n  domain_template = 'd {}'\ndef get_prompts_k_shot():\n";
  for (const char* letter : {"a", "b", "c", "d"})
    tools += std::string("  few_shot_template = '") + letter + " {} {}'\n";
  tools +=
      "def pii():\n  context_template = 'c'\n  question_template = 'q'\n  protection_answer_template = 'p'\n"
      "def get_privacy_understanding_messages(topic):\n  topic2word = {'t': ['u', 'v']}\n  prompts = [('s {}', 's')]\n"
      "  question = f'tell {person_4}'\n  question = f'who {topic2word[topic][1]}'\n  question = 'fit'\n";
  scratch.write(folder + "privacy/utils.py", tools);
}

TEST(DecodingTrust, PromptsAreReadOutOfTheSources) {
  const MadeUpBenchmark scratch;
  write_sources(scratch);
  const Json prompts = read_benchmark_prompts(scratch.path(), scratch.path());
  EXPECT_EQ(prompts["chat"],
            Json::parse(R"({"zero_shot_system": "zero", "few_shot_system": "few", "few_shot_ack": "gladly"})"));
  EXPECT_EQ(prompts["toxicity"]["templates"][0]["task_desc"], "t \n");
  EXPECT_EQ(prompts["toxicity"]["templates"].size(), 2U);
  EXPECT_EQ(prompts["stereotype"]["phrases_compressed_trust"]["GARBAGE_PHRASES"], Json::parse(R"(["x", "user: aye"])"));
  EXPECT_EQ(prompts["advglue"]["demos"]["sst2"][0]["content"], "label\nsentence: x");
  EXPECT_EQ(prompts["machine_ethics"]["prompt_dic"]["1"], "p");
  EXPECT_EQ(prompts["ood"]["style"], "style");
  EXPECT_EQ(prompts["ood"]["knowledge_idk"], "idk");
  EXPECT_EQ(prompts["privacy"]["enron_reject"], Json::parse(R"(["no", "hi"])"));
  EXPECT_EQ(prompts["privacy"]["enron_shot"]["d"], "d {} {}");
  EXPECT_EQ(prompts["privacy"]["understanding_questions"],
            Json::parse(R"({"1": "tell {4}", "2": "who {topic second phrase}", "3": "fit"})"));
  EXPECT_FALSE(read_benchmark_prompts(scratch.path(), "")["stereotype"].contains("phrases_compressed_trust"));
  for (const DataFile& file : check_benchmark_data(scratch.path())) EXPECT_EQ(file.rows, -1) << file.file;

  fs::remove(scratch.path() + "/src/dt/chat.py");
  EXPECT_THROW(read_benchmark_prompts(scratch.path(), ""), Error);
}

TEST(DecodingTrust, BrokenDataIsRefusedWithItsPlace) {
  const MadeUpBenchmark scratch;
  EXPECT_NE(error_of(scratch, "trust/stereotype").find("prompts.json is missing"), std::string::npos);
  scratch.write("prompts.json", R"({"stereotype": {"benign": "B", "untargeted": "U"}})");
  scratch.write("data/stereotype/dataset/stereotype_bias_data.jsonl", "{}\n");
  EXPECT_NE(error_of(scratch, "trust/stereotype").find("'task_desc'"), std::string::npos);
  scratch.write("prompts.json", R"({"stereotype": {"task_desc": "D", "benign": "B", "untargeted": "U", "targeted": "T",
                                   "groups_kept_capitalised": []}})");
  EXPECT_NE(error_of(scratch, "trust/stereotype").find("line 1"), std::string::npos);
  const std::string good = R"({"prompt": {"text": "x", "stereotype_topic_tag": "a", "demographic_group_tag": "b",)"
                           R"( "sys_prompt_type_tag": "benign"}})";
  scratch.write("data/stereotype/dataset/stereotype_bias_data.jsonl", good + "\n{\"prompt\": \n");
  EXPECT_NE(error_of(scratch, "trust/stereotype").find("line 2"), std::string::npos);
  scratch.write("data/stereotype/dataset/stereotype_bias_data.jsonl", good + "\n");
  EXPECT_EQ(error_of(scratch, "trust/stereotype"), "");

  scratch.write("prompts.json",
                R"({"chat": {"zero_shot_system": "Z"}, "fairness": {"tasks": {"adult": "A", "crime": "C"}}})");
  const std::string folder = "data/fairness/fairness_data/";
  scratch.write(folder + "adult_0_200_test_base_rate_0.0.jsonl",
                R"({"input": "i", "label": "yes", "option": ["yes", "no"], "examples": []})"
                "\n");
  std::string array = "\x93NUMPY";
  array += '\1';
  array += '\0';
  const std::string header = "{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }\n";
  array += static_cast<char>(header.size());
  array += '\0';
  array += header;
  for (const char c : std::string("MaleFema")) array += std::string{c, '\0', '\0', '\0'};
  scratch.write(folder + "sensitive_attr_adult_0_200_test_base_rate_0.0.npy", array);
  EXPECT_NE(error_of(scratch, "trust/fairness").find("holds 2 values, expected 1"), std::string::npos)
      << error_of(scratch, "trust/fairness");
}

}  // namespace
}  // namespace ockham
