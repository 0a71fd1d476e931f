// Attacks on models whose truth is known: which word turns which model is scripted, so the whole matrix is.
#include <gtest/gtest.h>

#include <set>

#include "ockham/core/error.h"
#include "ockham/eval/attack_matrix.h"
#include "ockham/eval/scorers/text.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

// Says "positive" where the words' weights add up to more than zero, with twice that sum as odds.
class WeighingModel final : public LanguageModel {
 public:
  explicit WeighingModel(std::map<std::string, double> weights) : weights_(std::move(weights)) {
    info_.name = "weighing";
    info_.parameters = 1000;
    info_.context_length = 512;
  }
  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool) const override { return {messages.back().content, true}; }
  double weigh(const std::string& text) const {
    double sum = 0;
    std::string word;
    for (const char c : to_lower(text) + " ") {
      if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
        word += c;
        continue;
      }
      const auto found = weights_.find(word);
      if (found != weights_.end()) sum += found->second;
      word.clear();
    }
    return sum;
  }
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override {
    std::vector<ScoreAnswer> answers;
    for (const ScoreRequest& request : requests) {
      ++asked;
      ScoreAnswer answer;
      for (const std::string& option : request.continuations)
        answer.scores.push_back({(option == "positive" ? 1 : -1) * weigh(request.context.text) - 5, 1, false});
      answers.push_back(std::move(answer));
    }
    return answers;
  }
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override {
    std::vector<GenerateAnswer> answers;
    for (const GenerateRequest& request : requests)
      answers.push_back({{weigh(request.prompt.text) > 0 ? "positive" : "negative"}, {false}, 0});
    return answers;
  }
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>>) override { return {}; }
  std::vector<int32_t> tokenize(const std::string&, bool) const override { return {}; }

  int64_t asked = 0;

 private:
  std::map<std::string, double> weights_;
  ModelInfo info_;
};

Victim victim(WeighingModel& model) {
  return {"it", &model, [](const std::string& word, int64_t) {
            return word == "film" ? std::vector<std::string>{"Movie", "not"} : std::vector<std::string>{};
          }};
}

Task review_task() {
  Task task;
  task.name = "test/reviews";
  task.file = "test.yaml";
  task.scorer = "ood";
  task.scorer_params = {{"kind", std::string("style")}};
  task.world_suite = "reviews";
  task.system = "be: \"kind\"";
  task.description = "is it good?";
  task.items = {{Tier::kQuick, 0}, {Tier::kFull, 0}};
  task.samples = {{Tier::kQuick, 1}, {Tier::kFull, 1}};
  task.metrics = {{"accuracy", "score", true, true}};
  task.chance = 50;
  return task;
}

// Two of three are good; what is red may be green or blue as well.
std::vector<Json> reviews(int count) {
  std::vector<Json> items;
  for (int i = 0; i < count; ++i) {
    const bool is_good = i % 3 != 0;
    items.push_back({{"id", fmt::format("r{}", i)},
                     {"input", fmt::format("The Red film number {} was {}.", i, is_good ? "lovely" : "dull")},
                     {"label", is_good ? "positive" : "negative"},
                     {"option", {"positive", "negative"}}});
  }
  return items;
}

EvalOptions options_with(const std::vector<Json>& items) {
  EvalOptions options;
  options.world_items = [items](const std::string&) { return items; };
  return options;
}

AttackSettings color_settings() {
  AttackSettings settings;
  settings.neighbors = 0;
  settings.rules = [](const Task&, const Json&) {
    AttackRules rules;
    rules.may_change = [](const std::string& word) { return word == "film"; };
    rules.exchanges = {{"red", {"green", "blue"}}};
    rules.is_certain = true;
    return std::make_shared<const AttackRules>(rules);
  };
  return settings;
}

const std::map<std::string, double> kFearsGreen = {{"lovely", 2}, {"dull", -2}, {"green", -5}},
                                    kFearsBlue = {{"lovely", 2}, {"dull", -2}, {"blue", -5}};

TEST(Attack, FindsTheWordThatTurnsTheModel) {
  WeighingModel model(kFearsGreen);
  const std::vector<AttackedItem> attacked =
      attack_items(victim(model), review_task(), reviews(6), options_with({}), color_settings());
  int64_t queries = 0;
  for (size_t i = 0; i < attacked.size(); ++i) {
    const AttackedItem& one = attacked[i];
    queries += one.queries;
    EXPECT_TRUE(one.is_attacked);
    EXPECT_EQ(one.is_turned, i % 3 != 0) << one.text;
    if (i % 3 == 0) continue;
    EXPECT_EQ(one.text, fmt::format("The Green film number {} was lovely.", i));
    EXPECT_EQ(one.item["input"], one.text);
    ASSERT_EQ(one.changes.size(), 1U);
    EXPECT_EQ(one.changes[0], std::make_pair(std::string("red"), std::string("green")));
  }
  EXPECT_EQ(queries, model.asked);
}

TEST(Attack, KeepsToItsBudgetAndItsSeed) {
  const std::vector<Json> items = reviews(9);
  std::set<std::string> texts;
  for (const int64_t budget : {2, 4, 5, 30}) {
    WeighingModel first(kFearsGreen), second(kFearsGreen);
    AttackSettings settings = color_settings();
    settings.queries = budget;
    const auto one = attack_items(victim(first), review_task(), items, options_with({}), settings),
               two = attack_items(victim(second), review_task(), items, options_with({}), settings);
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_LE(one[i].queries, budget);
      EXPECT_EQ(one[i].text, two[i].text);
    }
    texts.insert(one[1].text);
  }
  EXPECT_EQ(texts.size(), 2U) << "a small budget must leave the text as it was";
}

TEST(Attack, ANeighborComesFromTheModelAndNeverANegation) {
  WeighingModel model({{"lovely", 1}, {"movie", -3}, {"not", -9}});
  AttackSettings settings;
  const auto attacked = attack_items(victim(model), review_task(), {reviews(2)[1]}, options_with({}), settings);
  EXPECT_TRUE(attacked[0].is_turned);
  EXPECT_NE(attacked[0].text.find("The Red movie number 1 was"), std::string::npos) << attacked[0].text;
  EXPECT_FALSE(attacked[0].is_certain);
  settings.neighbors = 0;
  EXPECT_FALSE(attack_items(victim(model), review_task(), {reviews(2)[1]}, options_with({}), settings)[0].is_turned);
}

TEST(Attack, WrongFromTheStartIsNotAttacked) {
  WeighingModel model({{"lovely", -1}});
  const auto attacked = attack_items(victim(model), review_task(), {reviews(2)[1]}, options_with({}), color_settings());
  EXPECT_FALSE(attacked[0].is_attacked);
  EXPECT_EQ(attacked[0].text, attacked[0].original);
  EXPECT_EQ(attacked[0].queries, 1);
}

TEST(Attack, TurnsThatHoldTheTextChangeWithIt) {
  WeighingModel model(kFearsGreen);
  Json item = reviews(2)[1];
  item["messages"] = Json::array({{{"role", "user"}, {"content", "Say it.\n" + item["input"].get<std::string>()}}});
  EXPECT_EQ(attack_items(victim(model), review_task(), {item}, options_with({}), color_settings())[0]
                .item["messages"][0]["content"],
            "Say it.\nThe Green film number 1 was lovely.");
  item["messages"][0]["content"] = "another text";
  EXPECT_THROW(attack_items(victim(model), review_task(), {item}, options_with({}), color_settings()), Error);
}

TEST(Attack, RefusesWhatCannotBeAttacked) {
  WeighingModel model(kFearsGreen);
  Json item = reviews(2)[1];
  item.erase("option");
  EXPECT_THROW(attack_items(victim(model), review_task(), {item}, options_with({}), color_settings()), Error);
  item = {{"id", "x"}, {"context", "c"}, {"option", {"a", "b"}}, {"label", 0}};
  EXPECT_THROW(attack_items(victim(model), review_task(), {item}, options_with({}), color_settings()), Error);
  Task task = review_task();
  task.kind = RequestKind::kChoice;
  EXPECT_THROW(attack_items(victim(model), task, reviews(2), options_with({}), color_settings()), Error);
}

TEST(Attack, WordsAndMisspellings) {
  EXPECT_EQ(replace_word("Red, red and bored", "red", "green"), "Green, green and bored");
  EXPECT_EQ(replace_word("a red film", "red", ""), "a film");
  EXPECT_EQ(replace_word("premise: red", "premise", "x"), "x: red");
  EXPECT_TRUE(misspellings("red").empty());
  EXPECT_TRUE(misspellings("48ab").empty());
  for (const std::string& wrong : misspellings("film")) {
    EXPECT_EQ(wrong.front(), 'f');
    EXPECT_EQ(wrong.back(), 'm');
    EXPECT_NE(wrong, "film");
  }
  EXPECT_EQ(misspellings("film"), (std::vector<std::string>{"flim", "flm", "fiilm", "fim", "fillm"}));
  const AttackRules rules = default_rules({"positive", "negative"});
  for (const char* word : {"not", "never", "positive", "but", "42nd", "an"})
    EXPECT_FALSE(rules.may_change(word)) << word;
  EXPECT_TRUE(rules.may_change("film"));
}

TEST(Attack, LabelsComeFromTheItemOrFromItsTask) {
  const Task task = review_task();
  Json item = {{"id", 1}, {"input", "x"}, {"task", "mnli"}, {"label", 2}};
  EXPECT_EQ(label_words(task, item).words, (std::vector<std::string>{"yes", "maybe", "no"}));
  EXPECT_EQ(label_words(task, item).right, 2U);
  item["examples"] = Json::array({Json::array({"a", "no"})});
  EXPECT_EQ(label_words(task, item).words[1], "Maybe");
}

TEST(AttackMatrix, TransferIsWhatTheScriptSays) {
  WeighingModel dense(kFearsGreen), compressed(kFearsBlue);
  const AttackOutcome outcome = attack_models({{"dense", &dense}, {"compressed", &compressed}}, review_task(),
                                              options_with(reviews(60)), color_settings());
  EXPECT_EQ(outcome.common, 60);
  EXPECT_TRUE(outcome.is_certain);
  const double turned = 100.0 * 40 / 60;
  EXPECT_NEAR(outcome.cells[0][0].success.value, turned, 1e-9);
  EXPECT_NEAR(outcome.cells[0][1].success.value, 0, 1e-9);
  EXPECT_NEAR(outcome.cells[1][0].success.value, 0, 1e-9);
  EXPECT_NEAR(outcome.cells[1][1].success.value, turned, 1e-9);
  EXPECT_NEAR(outcome.accuracy[0][0], 100 - turned, 1e-9);
  EXPECT_EQ(outcome.clean_accuracy, (std::vector<double>{100, 100}));
  // Half of the random changes hit the color, half of those the one that is feared.
  EXPECT_GT(outcome.cells[0][0].random.value, 3);
  EXPECT_LT(outcome.cells[0][0].random.value, 45);
  EXPECT_GT(outcome.cells[0][0].beyond_random.interval.low, 0);
  EXPECT_LT(outcome.cells[0][0].beyond_adjusted, 0.01);
  // No attack turns nothing for sure.
  EXPECT_GT(outcome.cells[0][1].success.interval.high, 4);
  ASSERT_EQ(outcome.comparisons.size(), 3U);
  EXPECT_NEAR(outcome.comparisons[0].difference.value, 0, 1e-9);
  EXPECT_NEAR(outcome.comparisons[1].difference.value, -turned, 1e-9);
  EXPECT_NEAR(outcome.comparisons[2].difference.value, turned, 1e-9);
  EXPECT_NEAR(outcome.comparisons[2].difference.mcnemar_p, std::pow(2.0, -39), 1e-14);
  EXPECT_EQ(outcome.comparisons[0].difference.mcnemar_p, 1);
}

TEST(AttackMatrix, RatesAreOverWhatBothAnswerRightly) {
  WeighingModel dense(kFearsGreen), other({{"lovely", 2}, {"dull", 1}});
  const AttackOutcome outcome = attack_models({{"dense", &dense}, {"compressed", &other}}, review_task(),
                                              options_with(reviews(30)), color_settings());
  EXPECT_EQ(outcome.items, 30);
  EXPECT_EQ(outcome.common, 20);
  EXPECT_NEAR(outcome.cells[0][0].success.value, 100, 1e-9);
  EXPECT_NEAR(outcome.cells[1][1].success.value, 0, 1e-9);
  const AttackOutcome pooled = pool_attacks({outcome, outcome});
  EXPECT_EQ(pooled.common, 40);
  EXPECT_NEAR(pooled.cells[0][0].success.value, 100, 1e-9);
  EXPECT_LT(pooled.cells[1][1].success.interval.high, outcome.cells[1][1].success.interval.high);
}

TEST(AttackMatrix, NothingInCommonIsNoRate) {
  WeighingModel never({{"lovely", -1}, {"dull", 1}});
  const AttackOutcome outcome =
      attack_models({{"dense", &never}}, review_task(), options_with(reviews(6)), color_settings());
  EXPECT_EQ(outcome.common, 0);
  EXPECT_EQ(outcome.cells[0][0].success.n, 0);
  EXPECT_TRUE(outcome.comparisons.empty());
}

TEST(AttackMatrix, TextsBecomeATaskForAnyModel) {
  const Scratch scratch;
  WeighingModel dense(kFearsGreen), compressed(kFearsBlue);
  const Task task = review_task();
  const AttackOutcome outcome = attack_models({{"dense", &dense}}, task, options_with(reviews(30)), color_settings());
  const std::string path = write_attack_task(scratch.path(), task, outcome, 0);
  const std::vector<Task> read = find_tasks({path}, scratch.path());
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].name, "attack/test-reviews-against-dense");
  EXPECT_EQ(read[0].dimension, "adversarial_robustness");
  EXPECT_EQ(read[0].control, "test/reviews");
  EXPECT_EQ(read[0].system, task.system);
  const TaskResult turned = evaluate(dense, read[0], {}), kept = evaluate(compressed, read[0], {});
  EXPECT_NEAR(turned.metrics[0].value, 100.0 / 3, 1e-6);
  EXPECT_NEAR(kept.metrics[0].value, 100, 1e-6);
  EXPECT_EQ(turned.items.size(), 30U);
}

}  // namespace
}  // namespace ockham
