// The search, in lock-step over all items so that every round is one batch for the model.
#include "ockham/eval/attack.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>
#include <span>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/eval/scorers/parsers.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

constexpr size_t kBatch = 256;       // texts in one call of the model
constexpr size_t kMisspellings = 4;  // candidates a word
constexpr size_t kExchanges = 8;

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || c == '\'' || byte >= 0x80;
}

struct WordPlace {
  size_t begin = 0, length = 0;
};

std::vector<WordPlace> word_places(const std::string& text) {
  std::vector<WordPlace> places;
  for (size_t i = 0; i < text.size();) {
    if (!is_word_byte(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && is_word_byte(text[end])) ++end;
    places.push_back({i, end - i});
    i = end;
  }
  return places;
}

// The distinct words of a text in order, without the names of fields ("premise:" at the head of a line).
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::set<std::string> seen;
  const std::vector<WordPlace> places = word_places(text);
  for (const WordPlace& place : places) {
    const size_t end = place.begin + place.length;
    if ((place.begin == 0 || text[place.begin - 1] == '\n') && end < text.size() && text[end] == ':')
      seen.insert(to_lower(text.substr(place.begin, place.length)));
  }
  for (const WordPlace& place : places) {
    std::string word = to_lower(text.substr(place.begin, place.length));
    if (seen.insert(word).second) words.push_back(std::move(word));
  }
  return words;
}

std::string input_of(const Task& task, const Json& item) {
  const std::string input = item_label(item, "input");
  if (input.empty() || item.contains("context") || item.contains("contexts"))
    throw_input("{}: {}: there is no text to attack, expected items with 'input'; choose a task that labels texts",
                task.name, item_name(item));
  return input;
}

// The item with another text, in its own turns too.
Json with_input(const Task& task, const Json& item, const std::string& text) {
  Json changed = item;
  const std::string before = input_of(task, item);
  changed["input"] = text;
  if (!item.contains("messages")) return changed;
  for (size_t i = changed["messages"].size(); i-- > 0;) {
    Json& turn = changed["messages"][i];
    std::string content = json_text(turn, "content", item_name(item));
    const size_t at = content.rfind(before);
    if (at == std::string::npos) continue;
    turn["content"] = content.replace(at, before.size(), text);
    return changed;
  }
  throw_input("{}: {}: no turn holds the text of 'input'; correct the item", task.name, item_name(item));
}

struct Search {
  AttackedItem result;
  const Json* item = nullptr;
  LabelWords labels;
  std::shared_ptr<const AttackRules> rules;
  std::string text;                // changed so far
  double margin = 0;               // log p of the right label less that of the best other one, nats
  std::vector<std::string> order;  // words, most important first
  size_t next = 0;                 // in `order`
  bool is_done = false;
};

// A text that somebody's search wants to know about.
struct Question {
  size_t search = 0;
  std::string text, word, with;
};

class Candidates {
 public:
  Candidates(const Victim& victim, const AttackSettings& settings) : victim_(victim), settings_(settings) {}

  // What may stand for the word, best kept meaning first.
  std::vector<std::string> of(const std::string& word, const std::string& text, const AttackRules& rules,
                              const std::string& id) {
    Rng rng(mix_seed(mix_seed(settings_.seed, hash_seed(id)), hash_seed(word)));
    const std::vector<std::string> present = words_of(text);
    std::vector<std::string> found;
    const auto add = [&](const std::string& other) {
      // A word that stands there already would merge two things into one.
      if (std::find(present.begin(), present.end(), other) == present.end() &&
          std::find(found.begin(), found.end(), other) == found.end())
        found.push_back(other);
    };
    if (const auto own = rules.exchanges.find(word); own != rules.exchanges.end()) {
      std::vector<std::string> others = own->second;
      rng.shuffle(others);
      for (const std::string& other : others)
        if (found.size() < kExchanges && other != word) add(other);
    }
    if (!rules.may_change(word)) return found;
    std::vector<std::string> wrong = misspellings(word);
    rng.shuffle(wrong);
    wrong.resize(std::min(wrong.size(), kMisspellings));
    for (const std::string& other : wrong)
      if (!rules.exchanges.contains(other)) add(other);  // no misspelling, another word
    for (const std::string& other : neighbors(word))
      if (rules.may_change(other)) add(other);
    return found;
  }

 private:
  const std::vector<std::string>& neighbors(const std::string& word) {
    const auto known = neighbors_.find(word);
    if (known != neighbors_.end()) return known->second;
    std::vector<std::string> words;
    if (settings_.neighbors > 0 && victim_.neighbors)
      for (const std::string& other : victim_.neighbors(word, settings_.neighbors)) words.push_back(to_lower(other));
    return neighbors_.emplace(word, std::move(words)).first->second;
  }
  const Victim& victim_;
  const AttackSettings& settings_;
  std::map<std::string, std::vector<std::string>> neighbors_;
};

std::shared_ptr<const AttackRules> rules_of(const Task& task, const Json& item, const AttackSettings& settings,
                                            const std::vector<std::string>& labels) {
  if (settings.rules)
    if (std::shared_ptr<const AttackRules> rules = settings.rules(task, item)) return rules;
  return std::make_shared<const AttackRules>(default_rules(labels));
}

class Attack {
 public:
  Attack(const Victim& victim, const Task& task, const EvalOptions& options, const AttackSettings& settings)
      : victim_(victim),
        model_(*victim.model),
        task_(task),
        options_(options),
        settings_(settings),
        candidates_(victim, settings) {}

  std::vector<AttackedItem> run(const std::vector<Json>& items) {
    start(items);
    find_order();
    for (int64_t round = 1; step(); ++round)
      report_progress({"attack " + victim_.name, done(), static_cast<int64_t>(searches_.size()), "items"});
    std::vector<AttackedItem> results;
    for (Search& search : searches_) {
      search.result.text = search.text;
      search.result.item = with_input(task_, *search.item, search.text);
      results.push_back(std::move(search.result));
    }
    return results;
  }

 private:
  int64_t done() const {
    return std::count_if(searches_.begin(), searches_.end(), [](const Search& search) { return search.is_done; });
  }
  int64_t left(const Search& search) const { return settings_.queries - search.result.queries; }

  // Margins of the texts, each counted as a query.
  std::vector<double> ask(const std::vector<Question>& questions) {
    std::vector<double> margins;
    for (size_t begin = 0; begin < questions.size(); begin += kBatch) {
      std::vector<ScoreRequest> requests;
      const auto part = std::span(questions).subspan(begin, std::min(kBatch, questions.size() - begin));
      for (const Question& question : part) {
        Search& search = searches_[question.search];
        ++search.result.queries;
        requests.push_back({build_prompt(model_, task_, with_input(task_, *search.item, question.text), options_), {}});
        for (const std::string& word : search.labels.words)
          requests.back().continuations.push_back(task_.is_chat ? word : " " + word);
      }
      const std::vector<ScoreAnswer> answers = model_.score(requests);
      OCKHAM_CHECK(answers.size() == requests.size());
      for (size_t i = 0; i < answers.size(); ++i) {
        const size_t right = searches_[part[i].search].labels.right;
        double best = -std::numeric_limits<double>::infinity();
        for (size_t o = 0; o < answers[i].scores.size(); ++o)
          if (o != right) best = std::max(best, answers[i].scores[o].logprob);
        margins.push_back(answers[i].scores.at(right).logprob - best);
      }
      check_interrupt();
    }
    return margins;
  }

  void start(const std::vector<Json>& items) {
    std::vector<Question> questions;
    for (const Json& item : items) {
      Search search;
      search.item = &item;
      search.text = search.result.original = input_of(task_, item);
      search.labels = label_words(task_, item);
      search.rules = rules_of(task_, item, settings_, search.labels.words);
      search.result.is_certain = search.rules->is_certain;
      questions.push_back({searches_.size(), search.text, "", ""});
      searches_.push_back(std::move(search));
    }
    const std::vector<double> margins = ask(questions);
    for (size_t i = 0; i < searches_.size(); ++i) {
      searches_[i].margin = margins[i];
      searches_[i].result.is_attacked = margins[i] > 0;
      searches_[i].is_done = !(margins[i] > 0);
    }
  }

  // Words by how much the margin falls without them.
  void find_order() {
    std::vector<Question> questions;
    for (size_t s = 0; s < searches_.size(); ++s) {
      Search& search = searches_[s];
      if (search.is_done) continue;
      int64_t budget = left(search) / 2;  // the rest is for candidates
      for (const std::string& word : words_of(search.text)) {
        if (budget == 0) break;
        if (candidates_.of(word, search.text, *search.rules, item_label(*search.item, "id")).empty()) continue;
        questions.push_back({s, replace_word(search.text, word, ""), word, ""});
        --budget;
      }
    }
    const std::vector<double> margins = ask(questions);
    std::vector<std::vector<std::pair<double, std::string>>> ranked(searches_.size());
    for (size_t q = 0; q < questions.size(); ++q)
      ranked[questions[q].search].emplace_back(margins[q], questions[q].word);
    for (size_t s = 0; s < searches_.size(); ++s) {
      std::stable_sort(ranked[s].begin(), ranked[s].end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      for (auto& [margin, word] : ranked[s]) searches_[s].order.push_back(std::move(word));
    }
  }

  // The next word of every search that is not done; false when all are.
  bool step() {
    std::vector<Question> questions;
    for (size_t s = 0; s < searches_.size(); ++s) {
      Search& search = searches_[s];
      if (search.is_done) continue;
      if (search.next == search.order.size() || left(search) == 0 ||
          static_cast<int64_t>(search.result.changes.size()) == settings_.changes) {
        search.is_done = true;
        continue;
      }
      const std::string& word = search.order[search.next++];
      std::vector<std::string> others =
          candidates_.of(word, search.text, *search.rules, item_label(*search.item, "id"));
      if (static_cast<int64_t>(others.size()) > left(search)) others.resize(static_cast<size_t>(left(search)));
      for (const std::string& other : others)
        questions.push_back({s, replace_word(search.text, word, other), word, other});
    }
    if (done() == static_cast<int64_t>(searches_.size())) return false;
    const std::vector<double> margins = ask(questions);
    for (size_t q = 0; q < questions.size();) {
      size_t best = q;
      const size_t s = questions[q].search;
      for (; q < questions.size() && questions[q].search == s; ++q)
        if (margins[q] < margins[best]) best = q;
      Search& search = searches_[s];
      if (!(margins[best] < search.margin)) continue;
      search.margin = margins[best];
      search.text = questions[best].text;
      search.result.changes.emplace_back(questions[best].word, questions[best].with);
      search.is_done = search.result.is_turned = search.margin < 0;
    }
    return true;
  }

  const Victim& victim_;
  LanguageModel& model_;
  const Task& task_;
  const EvalOptions& options_;
  const AttackSettings& settings_;
  Candidates candidates_;
  std::vector<Search> searches_;
};

}  // namespace

AttackRules default_rules(const std::vector<std::string>& label_words) {
  static const std::set<std::string> kKept = {
      "no",     "not",    "never",  "nor",      "neither", "none",  "nobody", "nothing", "nowhere", "without",
      "hardly", "barely", "cannot", "can't",    "won't",   "don't", "didn't", "doesn't", "isn't",   "wasn't",
      "aren't", "n't",    "but",    "although", "however", "only",  "few",    "all",     "some",    "any",
      "every",  "each",   "most",   "many",     "more",    "less",  "if",     "unless",  "or",      "and"};
  std::set<std::string> labels;
  for (const std::string& label : label_words) labels.insert(to_lower(label));
  AttackRules rules;
  rules.may_change = [labels](const std::string& word) {
    const bool has_digit = std::any_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    return word.size() >= 3 && !has_digit && !kKept.contains(word) && !labels.contains(word);
  };
  return rules;
}

LabelWords label_words(const Task& task, const Json& item) {
  LabelWords result;
  std::vector<std::string> options = item_texts(item, "option");
  if (!options.empty()) {
    result.right = static_cast<size_t>(label_index(item, options));
  } else {
    const std::string label = item_label(item);
    for (const auto& [word, index] : advglue_labels(item_label(item, "task"))) {
      if (std::to_string(index) == label || word == to_lower(label)) result.right = options.size();
      options.push_back(word);
    }
  }
  if (options.size() < 2)
    throw_input("{}: {}: there are no label words, expected a list 'option'; choose a task that labels texts",
                task.name, item_name(item));
  // Where demonstrations show labels with a capital, answers have one too.
  const bool is_capital = task.capitalizes_labels && item.contains("examples") && !item["examples"].empty();
  for (const std::string& option : options) result.words.push_back(is_capital ? capitalize(option) : option);
  return result;
}

std::string replace_word(const std::string& text, const std::string& word, const std::string& with) {
  std::string result;
  size_t taken = 0;
  for (const WordPlace& place : word_places(text)) {
    const std::string found = text.substr(place.begin, place.length);
    if (to_lower(found) != word) continue;
    result += text.substr(taken, place.begin - taken);
    taken = place.begin + place.length;
    if (with.empty()) {
      // One of the two blanks around it goes too.
      if (taken < text.size() && text[taken] == ' ') ++taken;
      continue;
    }
    const bool is_upper = found[0] >= 'A' && found[0] <= 'Z';
    result +=
        is_upper && with[0] >= 'a' && with[0] <= 'z' ? static_cast<char>(with[0] - 'a' + 'A') + with.substr(1) : with;
  }
  return result + text.substr(taken);
}

std::vector<std::string> misspellings(const std::string& word) {
  std::vector<std::string> result;
  const bool is_plain =
      std::all_of(word.begin(), word.end(), [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
  if (word.size() < 4 || !is_plain) return result;
  const auto add = [&](const std::string& other) {
    if (other != word && std::find(result.begin(), result.end(), other) == result.end()) result.push_back(other);
  };
  for (size_t i = 1; i + 2 < word.size(); ++i) {
    std::string other = word;
    std::swap(other[i], other[i + 1]);
    add(other);
  }
  for (size_t i = 1; i + 1 < word.size(); ++i) {
    add(word.substr(0, i) + word.substr(i + 1));
    add(word.substr(0, i) + word[i] + word.substr(i));
  }
  return result;
}

std::vector<AttackedItem> attack_items(const Victim& victim, const Task& task, const std::vector<Json>& items,
                                       const EvalOptions& options, const AttackSettings& settings) {
  if (task.kind != RequestKind::kGenerate)
    throw_error(ErrorKind::kUsage, "attack: '{}' does not ask for a label in words; choose a task that generates",
                task.name);
  return Attack(victim, task, options, settings).run(items);
}

std::vector<AttackedItem> change_at_random(const Victim& victim, const Task& task,
                                           const std::vector<AttackedItem>& attacked, const AttackSettings& settings) {
  Candidates candidates(victim, settings);
  std::vector<AttackedItem> results;
  for (const AttackedItem& made : attacked) {
    AttackedItem result;
    result.is_certain = made.is_certain;
    result.original = result.text = made.original;
    const std::string id = item_label(made.item, "id");
    const auto rules = rules_of(task, made.item, settings, label_words(task, made.item).words);
    Rng rng(mix_seed(mix_seed(settings.seed, hash_seed("random changes")), hash_seed(id)));
    std::vector<std::string> words = words_of(made.original);
    rng.shuffle(words);
    for (const std::string& word : words) {
      if (result.changes.size() == made.changes.size()) break;
      const std::vector<std::string> others = candidates.of(word, result.text, *rules, id);
      if (others.empty()) continue;
      const std::string& other = rng.pick(others);
      result.text = replace_word(result.text, word, other);
      result.changes.emplace_back(word, other);
    }
    result.item = with_input(task, made.item, result.text);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace ockham
