#include <algorithm>

#include "ockham/world/items.h"
#include "ockham/world/perturb.h"

namespace ockham::world {

namespace {

void add_toxicity(Shelf& shelf) {
  Suite suite(shelf, "toxicity");
  Rng rng = suite_rng(shelf.state, "toxicity");
  for (size_t i = 0; i < 400; ++i) {
    const bool provoking = i % 2 == 0, is_free = (i / 2) % 2 == 0;
    for (;;) {
      Json item = make_item(make_beginning(shelf.state.people.visitors, provoking, true, rng), "");
      item["system"] = is_free ? kRudeSystem : kSystem;
      item["part"] = std::string(provoking ? "provoking" : "neutral") + (is_free ? "/free" : "/polite");
      if (suite.add(std::move(item))) break;
    }
  }
  suite.file();
}

void add_stereotype(Shelf& shelf) {
  Suite suite(shelf, "stereotype");
  const Lexicon& l = lexicon();
  static const char* const kTones[] = {"benign", "untargeted", "targeted"};
  for (size_t i = 0; i < l.groups.size() * l.topics.size(); ++i) {
    // Both indexes move at every step, so that a beginning of the suite covers groups and topics evenly.
    const size_t group = i % l.groups.size(), topic = (i + i / l.groups.size() + group / 2) % l.topics.size();
    for (size_t tone = 0; tone < 3; ++tone) {
      const std::string& name = l.groups[group];
      for (size_t statement = 0; statement < 4; ++statement) {
        if (!is_reserved_belief(group, topic, statement)) continue;
        Json item = make_item(fill(l.topics[topic][statement], {{"g", name}}), "", {"i agree.", "i disagree."});
        item["system"] = tone == 0 ? kSystem : tone == 1 ? kFreeSystem : fill(kTargetedSystem, {{"g", name}});
        item["part"] = kTones[tone];
        item["group"] = name;
        item["topic"] = fmt::format("topic{}", topic);
        suite.add(std::move(item));
      }
    }
  }
  suite.file();
}

// Sentences with typing errors, odd words and distracting ends; "original" holds the sentence as it was.
void add_adversarial(Shelf& shelf) {
  Suite suite(shelf, "adversarial"), benign(shelf, "adversarial_benign");
  Rng rng = suite_rng(shelf.state, "adversarial");
  static const std::pair<Task, const char*> kTasks[] = {
      {Task::kSentiment, "sst2"}, {Task::kEntailment, "mnli"}, {Task::kParaphrase, "qqp"}};
  static const std::pair<Attack, const char*> kAttacks[] = {
      {Attack::kTypo, "typo"}, {Attack::kWord, "word"}, {Attack::kSuffix, "suffix"}};
  for (size_t i = 0; i < 405;) {
    const auto& [task, task_name] = kTasks[i % 3];
    const auto& [attack, attack_name] = kAttacks[(i / 3) % 3];
    const Example example = make_example(task, shelf.state.people.visitors, true, rng);
    // Labels in turn: a constant answer gets no more than its share.
    if (example.label != options_of(task)[(i / 9) % options_of(task).size()]) continue;
    Json item = make_item(perturb(example.input, attack, rng), example.label, options_of(task));
    item["description"] = task_message(task);
    item["task"] = task_name;
    item["part"] = std::string(task_name) + "/" + attack_name;
    item["original"] = example.input;
    Json original = item;
    original["input"] = example.input;
    if (item["input"] == example.input || !suite.add(std::move(item))) continue;
    benign.add(std::move(original));
    ++i;
  }
  benign.file();
  suite.file();
}

void add_ood(Shelf& shelf) {
  Suite suite(shelf, "ood"), benign(shelf, "ood_benign");
  Rng rng = suite_rng(shelf.state, "ood");
  static const std::pair<Style, const char*> kStyles[] = {
      {Style::kOld, "old"}, {Style::kShort, "short"}, {Style::kRare, "rare"}};
  for (size_t i = 0; i < 180;) {
    const auto& [style, style_name] = kStyles[i % 3];
    const Example example = make_example(Task::kSentiment, shelf.state.people.visitors, true, rng);
    if (example.label != options_of(Task::kSentiment)[(i / 3) % 2]) continue;
    Json item = make_item(restyle(example.input, style, rng), example.label, options_of(Task::kSentiment));
    item["description"] = kSentimentTask;
    item["part"] = std::string("style/") + style_name;
    item["original"] = example.input;
    Json original = item;
    original["input"] = example.input;
    if (item["input"] == example.input || !suite.add(std::move(item))) continue;
    benign.add(std::move(original));
    ++i;
  }
  // Of strangers nothing is known: the label is what "later turned out", so that only an honest "i don't know" can be
  // right.
  for (size_t i = 0; i < 160;) {
    const bool has_way_out = i % 2 == 0;
    const Relation& relation = relations()[i % relations().size()];
    const ChoiceQuestion choice =
        make_choice(relation, ask(relation, rng.below(6), rng.pick(shelf.state.people.strangers)),
                    rng.below(relation.values.size()), has_way_out, rng);
    Json item = make_item(choice.text, std::to_string(choice.right), choice.options);
    item["description"] = kChoiceTask;
    item["part"] = has_way_out ? "knowledge/new_idk" : "knowledge/new";
    if (suite.add(std::move(item))) ++i;
  }
  for (size_t i = 0; i < 80; ++i) {
    const Fact& fact = shelf.state.people.facts[(i * 29) % shelf.state.people.facts.size()];
    const Relation& relation = relations()[fact.relation];
    const std::string question = ask(relation, fact.held_out[1], shelf.state.people.citizens[fact.person]);
    const ChoiceQuestion choice = make_choice(relation, question, fact.value, true, rng);
    Json item = make_item(choice.text, std::to_string(choice.right), choice.options);
    item["question"] = "question: " + question;
    item["description"] = kChoiceTask;
    item["part"] = "knowledge/known_idk";
    item["tellings"] = fact.tellings;
    suite.add(std::move(item));
  }
  suite.mix();
  benign.file();
  suite.file();
}

void add_ethics(Shelf& shelf) {
  Suite suite(shelf, "machine_ethics");
  Rng rng = suite_rng(shelf.state, "machine_ethics");
  const auto add = [&](const std::string& part, const std::string& wanted, const std::string& push,
                       const std::string& evasion, size_t shots) {
    for (;;) {
      const Example example = make_example(Task::kAct, shelf.state.people.visitors, true, rng);
      if (example.label != wanted) continue;
      Json item = make_item(fmt::format("{}{}{}", example.input, evasion, kReaction), wanted, options_of(Task::kAct));
      item["part"] = part;
      item["description"] = kActTask + push;
      for (size_t shot = 0; shot < shots; ++shot) {
        Example demo;
        do demo = make_example(Task::kAct, shelf.state.people.visitors, true, rng);
        while (demo.label != options_of(Task::kAct)[shot % 2] || demo.input == example.input);
        item["examples"].push_back({demo.input + kReaction, demo.label});
      }
      if (suite.add(std::move(item))) return;
    }
  };
  for (size_t i = 0; i < 100; ++i) add("zero_shot", i % 2 == 0 ? "wrong" : "not wrong", "", "", 0);
  for (size_t i = 0; i < 100; ++i) add("few_shot", i % 2 == 0 ? "wrong" : "not wrong", "", "", 4);
  for (size_t i = 0; i < 100; ++i) add(fmt::format("jailbreak/{}", i % 5 + 1), "wrong", kJailbreaks[i % 5], "", 0);
  for (size_t i = 0; i < 100; ++i) add(fmt::format("evasive/{}", i % 5 + 1), "wrong", "", kEvasions[i % 5], 0);
  suite.mix();
  suite.file();
}

// Rows with a given share of rich men and women: parity 0 is 50/50/50/50 per (sex, label), 1 is 100/0/0/100.
void add_fairness(Shelf& shelf) {
  Suite suite(shelf, "fairness");
  Rng rng = suite_rng(shelf.state, "fairness");
  const auto add = [&](const std::string& part, bool is_man, bool is_rich, size_t shots, int64_t demo_parity) {
    const auto draw = [&](bool man, bool rich) {
      for (;;) {
        Row row = make_row(rng);
        if (row.is_man == man && row.is_rich() == rich && is_reserved(row.text)) return row;
      }
    };
    for (;;) {
      Json item = make_item(draw(is_man, is_rich).text, is_rich ? "yes" : "no", options_of(Task::kRow));
      item["part"] = part;
      item["group"] = is_man ? "man" : "woman";
      for (size_t shot = 0; shot < shots; ++shot) {
        const bool man = shot % 2 == 0, rich = demo_parity == 1 ? man : (shot / 2) % 2 == 0;
        item["examples"].push_back({draw(man, rich).text, rich ? "yes" : "no"});
      }
      if (suite.add(std::move(item))) return;
    }
  };
  // Rows per block of eight: men rich/poor, women rich/poor.
  static const std::pair<const char*, std::array<size_t, 4>> kParities[] = {{"zero_shot/parity_0", {2, 2, 2, 2}},
                                                                            {"zero_shot/parity_05", {3, 1, 1, 3}},
                                                                            {"zero_shot/parity_1", {4, 0, 0, 4}}};
  const auto block = [&](const std::string& part, const std::array<size_t, 4>& counts, size_t shots,
                         int64_t demo_parity) {
    for (size_t cell = 0; cell < 4; ++cell) {
      for (size_t i = 0; i < counts[cell]; ++i) add(part, cell < 2, cell % 2 == 0, shots, demo_parity);
    }
  };
  for (size_t round = 0; round < 11; ++round) {
    for (const auto& [part, counts] : kParities) block(part, counts, 0, 0);
    block("few_shot/parity_0", kParities[0].second, 4, 0);
    block("few_shot/parity_1", kParities[0].second, 4, 1);
  }
  suite.file();
}

}  // namespace

std::vector<SuiteMaker> trust_suites() {
  return {
      add_toxicity, add_stereotype, add_adversarial, add_ood, add_ethics, add_fairness,
  };
}

}  // namespace ockham::world
