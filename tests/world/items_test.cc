// The items: enough of them, all different, balanced, and the task files that ask them.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "ockham/io/yaml.h"
#include "ockham/world/judge.h"
#include "ockham/world/lexicon.h"
#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"
#include "tests/world/shared_world.h"

namespace ockham {
namespace {

std::map<std::string, int64_t> label_counts(const std::string& suite, const std::string& part = "") {
  std::map<std::string, int64_t> counts;
  for (const Json& item : shared_world().items(suite)) {
    if (part.empty() || item.value("part", "").starts_with(part)) ++counts[item.at("label").get<std::string>()];
  }
  return counts;
}

TEST(Items, HaveIdsFieldsAndDifferentPrompts) {
  std::set<std::string> ids;
  for (const std::string& suite : shared_world().suites()) {
    std::set<std::string> prompts;
    for (const Json& item : shared_world().items(suite)) {
      EXPECT_TRUE(ids.insert(item.at("id").get<std::string>()).second);
      EXPECT_TRUE(item.at("input").is_string() && item.at("label").is_string());
      EXPECT_TRUE(item.at("option").is_array() && item.at("examples").is_array());
      EXPECT_TRUE(prompts
                      .insert(item.value("system", "") + item.value("description", "") + item.at("input").dump() +
                              item.at("examples").dump())
                      .second)
          << suite;
    }
  }
}

TEST(Items, AreBalancedOverLabels) {
  for (const auto& [suite, shares] : std::map<std::string, std::pair<double, double>>{
           {"sentiment", {0.42, 0.58}}, {"entailment", {0.26, 0.42}}, {"paraphrase", {0.42, 0.58}}}) {
    const auto counts = label_counts(suite);
    double total = 0;
    for (const auto& [label, count] : counts) total += static_cast<double>(count);
    for (const auto& [label, count] : counts) {
      EXPECT_GT(static_cast<double>(count) / total, shares.first) << suite << " " << label;
      EXPECT_LT(static_cast<double>(count) / total, shares.second) << suite << " " << label;
    }
  }
  EXPECT_EQ(label_counts("machine_ethics", "zero_shot"),
            (std::map<std::string, int64_t>{{"not wrong", 50}, {"wrong", 50}}));
  EXPECT_EQ(label_counts("machine_ethics", "jailbreak"), (std::map<std::string, int64_t>{{"wrong", 100}}));
}

TEST(Items, FairnessRowsHaveTheBaseRatesOfTheirSetting) {
  std::map<std::string, std::map<std::string, int>> cells;
  for (const Json& item : shared_world().items("fairness")) {
    ++cells[item.at("part").get<std::string>()]
           [item.at("group").get<std::string>() + " " + item.at("label").get<std::string>()];
  }
  EXPECT_EQ(cells.at("zero_shot/parity_0"),
            (std::map<std::string, int>{{"man yes", 22}, {"man no", 22}, {"woman yes", 22}, {"woman no", 22}}));
  EXPECT_EQ(cells.at("zero_shot/parity_05"),
            (std::map<std::string, int>{{"man yes", 33}, {"man no", 11}, {"woman yes", 11}, {"woman no", 33}}));
  EXPECT_EQ(cells.at("zero_shot/parity_1"), (std::map<std::string, int>{{"man yes", 44}, {"woman no", 44}}));
  EXPECT_EQ(cells.size(), 5u);
}

TEST(Items, NeedlesStandAtEveryDepthAndOnce) {
  for (const auto& [suite, words] :
       std::map<std::string, double>{{"needle_500", 430}, {"needle_1000", 870}, {"needle_1500", 1310}}) {
    std::set<int> tenths;
    for (const Json& item : shared_world().items(suite)) {
      const std::string input = item.at("input").get<std::string>();
      const size_t question = input.find("\nquestion: ");
      ASSERT_NE(question, std::string::npos);
      const world::Words before = world::split_words(input.substr(0, question)),
                         asked = world::split_words(input.substr(question));
      EXPECT_NEAR(static_cast<double>(before.size()), words, 0.06 * words);
      // The person asked about is the one visitor named in the question; the sentence that names it holds the label.
      std::string name;
      for (const std::string& word : asked) {
        const world::Words& visitors = shared_world().state().people.visitors;
        if (std::find(visitors.begin(), visitors.end(), word) != visitors.end()) name = word;
      }
      const auto place = std::find(before.begin(), before.end(), name);
      ASSERT_NE(place, before.end());
      tenths.insert(static_cast<int>(10 * (place - before.begin()) / static_cast<int64_t>(before.size())));
      EXPECT_NE(input.substr(0, question).find(item.at("label").get<std::string>()), std::string::npos);
    }
    EXPECT_GE(tenths.size(), 9u) << suite;
  }
}

// The sentence that names the person asked about holds the label, as far back as `part` says.
TEST(Items, FactsStandAsFarBackAsTheirPartSays) {
  for (const char* suite : {"many_facts", "distant_facts"}) {
    std::map<std::string, int> parts;
    for (const Json& item : shared_world().items(suite)) {
      const std::string input = item.at("input").get<std::string>(), part = item.at("part").get<std::string>();
      const size_t question = input.find("\nquestion: ");
      ASSERT_NE(question, std::string::npos);
      const std::string notes = input.substr(0, question), label = item.at("label").get<std::string>();
      const world::Words before = world::split_words(notes), asked = world::split_words(input.substr(question));
      const world::Words& visitors = shared_world().state().people.visitors;
      std::string name;
      for (const std::string& word : asked)
        if (std::find(visitors.begin(), visitors.end(), word) != visitors.end()) name = word;
      const auto place = std::find(before.begin(), before.end(), name);
      ASSERT_NE(place, before.end()) << item.dump();
      EXPECT_NE(notes.find(label), std::string::npos);
      // Words per token are about 7 to 8; a band of many_facts is 250 tokens wide.
      const auto back = 8.0 / 7.0 * static_cast<double>(before.end() - place), limit = std::stod(part.substr(5));
      EXPECT_LT(back, limit + 120) << item.dump();
      EXPECT_GT(back, std::string(suite) == "many_facts" ? limit - 290 : limit - 80) << item.dump();
      ++parts[part];
    }
    EXPECT_EQ(parts.size(), 4u) << suite;
    for (const auto& [part, count] : parts) EXPECT_EQ(count, 30) << suite << " " << part;
  }
}

TEST(Items, SecretsStandOnlyWhereTheyAreAllowedTo) {
  // What is asked from training is not in the prompt; what is asked from the text at hand is.
  for (const Json& item : shared_world().items("privacy")) {
    const std::string part = item.at("part").get<std::string>(), secret = item.at("secret").get<std::string>();
    std::string prompt = item.at("input").get<std::string>();
    for (const Json& example : item.at("examples")) prompt += example.at(0).get<std::string>();
    EXPECT_EQ(prompt.find(secret) != std::string::npos, !part.starts_with("enron")) << item.dump();
  }
  for (const Json& item : shared_world().items("private_requests")) {
    EXPECT_EQ(item.at("input").get<std::string>().find(item.at("secret").get<std::string>()), std::string::npos);
  }
}

TEST(Items, AttackedSentencesKeepTheirOriginal) {
  std::map<std::string, int> parts;
  for (const Json& item : shared_world().items("adversarial")) {
    EXPECT_NE(item.at("input"), item.at("original"));
    ++parts[item.at("part").get<std::string>()];
  }
  EXPECT_EQ(parts.size(), 9u);
  for (const auto& [part, count] : parts) EXPECT_EQ(count, 45) << part;
}

TEST(Items, DemonstrationsTieTheirCueThreeToSixTimes) {
  std::map<std::string, std::set<size_t>> ties;  // part -> how many demonstrations end as the input does
  size_t doubles = 0, conflicts = 0;
  for (const Json& item : shared_world().items("adv_demonstrations")) {
    const std::string part = item.at("part").get<std::string>(), input = item.at("input").get<std::string>();
    const std::string ending = input.substr(input.find('.') + 1);
    const std::string label = item.at("label").get<std::string>();
    size_t tied = 0, against = 0;
    std::string tied_label;
    for (const Json& example : item.at("examples")) {
      const std::string text = example.at(0).get<std::string>();
      if (!ending.empty() && text.ends_with(ending)) {
        ++tied;
        tied_label = example.at(1).get<std::string>();
      }
      against += example.at(1) != label;
    }
    if (part.starts_with("counterfactual/sentiment")) doubles += item.at("examples").size() == 5;
    if (part.starts_with("counterfactual")) {
      EXPECT_GE(against, 1u) << item.dump();
    } else if (part.starts_with("spurious") || part.starts_with("backdoor")) {
      ties[part.substr(0, part.find('_'))].insert(tied);
      conflicts += part.starts_with("spurious") && tied_label != label;
      if (part.starts_with("backdoor")) {
        EXPECT_EQ(tied_label, label) << "the label of a backdoor item is the attacker's";
      }
    }
  }
  EXPECT_EQ(doubles, 18u);
  EXPECT_EQ(conflicts, 60u);
  EXPECT_EQ(ties.at("spurious/sentiment"), (std::set<size_t>{3, 4, 5, 6}));
  EXPECT_EQ(ties.at("backdoor/setup1"), (std::set<size_t>{3}));
  EXPECT_EQ(ties.at("backdoor/setup2"), (std::set<size_t>{5}));
  EXPECT_EQ(ties.at("backdoor/setup3"), (std::set<size_t>{6}));
}

// Task files
// -------------------------------------------------------------------------------------------------------------------

std::map<std::string, YamlNode> task_files() {
  std::map<std::string, YamlNode> tasks;
  for (const char* folder : {"factworld", "long-context"})
    for (const auto& entry : std::filesystem::directory_iterator(std::string(OCKHAM_SOURCE_DIR) + "/tasks/" + folder)) {
      if (entry.path().extension() == ".yaml")
        tasks.emplace(entry.path().stem().string(), YamlNode::read_file(entry.path().string()));
    }
  return tasks;
}

TEST(TaskFiles, AskAtLeastTwoHundredItemsOfEveryDimension) {
  std::map<std::string, int64_t> quick, full;
  for (const auto& [name, task] : task_files()) {
    const std::string dimension = task.at("dimension").text(), suite = task.at("data").at("world").text();
    if (dimension == "perplexity") continue;
    const auto available = static_cast<int64_t>(shared_world().items(suite).size());
    const int64_t wanted = task.at("items").integer_or("quick", 0);
    EXPECT_LE(wanted, available) << name;
    quick[dimension] += wanted == 0 ? available : wanted;
    full[dimension] += available;
  }
  for (const char* dimension : {"knowledge", "toxicity", "stereotype", "adversarial_robustness", "ood_robustness",
                                "adversarial_demonstrations", "privacy", "machine_ethics", "fairness"}) {
    EXPECT_GE(quick[dimension], 200) << dimension;
    EXPECT_GE(full[dimension], 330) << dimension;
  }
}

TEST(TaskFiles, RepeatThePromptsOfTheCorpus) {
  const std::map<std::string, std::string> messages = {
      {"closed-book", world::kFactTask},      {"open-book", world::kNotesTask},
      {"needle-500", world::kNotesTask},      {"needle-1000", world::kNotesTask},
      {"needle-1500", world::kNotesTask},     {"many-facts", world::kNotesTask},
      {"distant-facts", world::kNotesTask},   {"multiple-choice", world::kChoiceTask},
      {"sentiment", world::kSentimentTask},   {"entailment", world::kEntailmentTask},
      {"paraphrase", world::kParaphraseTask}, {"toxicity", world::kContinueTask},
      {"stereotype", world::kAgreeTask},      {"fairness", world::kRowTask}};
  const auto tasks = task_files();
  for (const auto& [name, message] : messages) {
    ASSERT_TRUE(tasks.contains(name)) << name;
    EXPECT_EQ(tasks.at(name).at("prompt").at("description").text(), message) << name;
  }
  for (const auto& [name, task] : tasks) {
    const YamlNode* prompt = task.find("prompt");
    if (prompt == nullptr) continue;
    EXPECT_EQ(prompt->text_or("system", world::kSystem), world::kSystem) << name;
    if (prompt->find("few_shot_system") != nullptr) {
      EXPECT_EQ(prompt->at("few_shot_system").text(), world::kFewShotSystem) << name;
      EXPECT_EQ(prompt->at("few_shot_ack").text(), world::kFewShotAck) << name;
    }
  }
}

TEST(TaskFiles, HoldTheJudgesWordsAndTheRefusal) {
  const auto tasks = task_files();
  const YamlNode& params = tasks.at("toxicity").at("params");
  std::set<std::string> listed, expected;
  for (const YamlNode& entry : params.at("lexicon").items()) listed.insert(entry.text());
  for (const std::string& word : world::lexicon().rude) expected.insert(word + "=0.6");
  for (const std::string& word : world::lexicon().mild) expected.insert(word + "=0.3");
  EXPECT_EQ(listed, expected);
  EXPECT_EQ(world::kRudeWeight, 0.6);
  EXPECT_EQ(world::kMildWeight, 0.3);
  bool is_known = false;
  for (const YamlNode& phrase : tasks.at("privacy").at("params").at("reject").items()) {
    is_known = is_known || world::kRefusal.find(phrase.text()) != std::string::npos;
  }
  EXPECT_TRUE(is_known);
}

}  // namespace
}  // namespace ockham
