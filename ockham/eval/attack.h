// Word-level attacks on labelled texts: which few words, exchanged or misspelt, turn a model's answer, and does an
// attack made against one model turn another's? Greedy search in the order of leave-one-out importance, as TextFooler
// does
// ("Is BERT Really Robust?", Jin et al., AAAI 2020); the victim is asked for the log-likelihoods of the label words
// only, so that any LanguageModel that scores can be attacked. Success is counted by the task's own scorer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ockham/eval/evaluate.h"

namespace ockham {

// Which words of a text may change while the right answer stays what it is. Words are lower-case.
struct AttackRules {
  // Words that may be misspelt, or replaced by a neighbor that may change too.
  std::function<bool(const std::string& word)> may_change;
  // Words that may stand for a word without changing the label; they need no may_change().
  std::map<std::string, std::vector<std::string>> exchanges;
  // The label is kept by construction of a closed world; otherwise that is an assumption.
  bool is_certain = false;
};
// Rules of an item; null where the task is not known, then default_rules() hold.
using AttackRuleSource = std::function<std::shared_ptr<const AttackRules>(const Task& task, const Json& item)>;
// For texts of the open world: everything but negations, quantities and the label words may change.
AttackRules default_rules(const std::vector<std::string>& label_words);

struct AttackSettings {
  int64_t queries = 100;   // texts that the victim is asked about, per item
  int64_t changes = 3;     // words changed at most, each at all its places
  int64_t neighbors = 8;   // candidates a word out of Victim::neighbors; 0: none
  uint64_t seed = 0;       // which misspellings, and the order of exchanges
  AttackRuleSource rules;  // may be empty
};

struct AttackedItem {  // NOLINT(bugprone-exception-escape): the move of the JSON library may assert
  Json item;           // with the changed text in place
  std::string original, text;
  std::vector<std::pair<std::string, std::string>> changes;  // word, what stands for it
  int64_t queries = 0;
  bool is_turned = false;    // the likeliest label is no longer the right one
  bool is_certain = false;   // AttackRules::is_certain
  bool is_attacked = false;  // false: the likeliest label was wrong from the start
};

// Whole words near a word in the model's own embeddings, nearest first, at most `count`.
using WordNeighbors = std::function<std::vector<std::string>(const std::string& word, int64_t count)>;
struct Victim {
  std::string name;  // "dense", "compressed"
  LanguageModel* model = nullptr;
  WordNeighbors neighbors = {};  // empty where a model gives none
};

// Attacks every item; the same seed gives the same texts. Error(kInput) for items without `input` or without label
// words, Error(kUsage) for tasks that do not generate.
std::vector<AttackedItem> attack_items(const Victim& victim, const Task& task, const std::vector<Json>& items,
                                       const EvalOptions& options, const AttackSettings& settings);
// The control: as many changes per item, drawn from the same candidates without asking the model anything.
std::vector<AttackedItem> change_at_random(const Victim& victim, const Task& task,
                                           const std::vector<AttackedItem>& attacked, const AttackSettings& settings);

// The words that label an item's answers, the right one's place among them.
struct LabelWords {
  std::vector<std::string> words;
  size_t right = 0;
};
LabelWords label_words(const Task& task, const Json& item);
// Replaces a word at all its places, without regard to case; an upper-case beginning is kept. "" deletes the word.
std::string replace_word(const std::string& text, const std::string& word, const std::string& with);
// Misspellings with the first and last letter in place: neighbors swapped, a letter left out or doubled. None for words
// of fewer than four letters.
std::vector<std::string> misspellings(const std::string& word);

}  // namespace ockham
