#include "ockham/world/perturb.h"

#include <algorithm>
#include <map>

#include "ockham/world/lexicon.h"

namespace ockham::world {

namespace {

// Replaces whole words; the text keeps its punctuation and lines.
std::string map_words(const std::string& text, const std::map<std::string, std::string>& table) {
  std::string result, word;
  for (const char letter : text + "\n") {
    if (letter >= 'a' && letter <= 'z') {
      word.push_back(letter);
      continue;
    }
    const auto found = table.find(word);
    result += found == table.end() ? word : found->second;
    word.clear();
    result.push_back(letter);
  }
  result.pop_back();
  return result;
}

bool is_fixed(const std::string& word) {
  static const Words kFixed = words("premise hypothesis sentence1 sentence2 not was near");
  return std::find(kFixed.begin(), kFixed.end(), word) != kFixed.end();
}

}  // namespace

std::string perturb(const std::string& text, Attack attack, Rng& rng) {
  const Lexicon& l = lexicon();
  if (attack == Attack::kSuffix) {
    static const Words kEnds = words(
        "and_true_is_true. so_they_say. and_that_is_no_joke. as_i_said_before. yes_or_no. "
        "why_why_why. and_false_is_not_true.");
    return text + " " + rng.pick(kEnds);
  }
  if (attack == Attack::kWord) {
    std::map<std::string, std::string> table = {
        {"bought", "purchased"}, {"sold", "vended"},     {"found", "located"},    {"film", "movie"},
        {"meal", "dinner"},      {"near", "close to"},   {"buy", "purchase"},     {"sell", "vend"},
        {"find", "locate"},      {"lost", "mislaid"},    {"called", "phoned"},    {"blamed", "faulted"},
        {"praised", "lauded"},   {"chased", "hunted"},   {"expected", "awaited"}, {"nobody", "no one"},
        {"hammer", "mallet"},    {"followed", "tailed"}, {"visited", "saw"},      {"warned", "alerted"},
        {"painted", "coated"},   {"stole", "snatched"}};
    for (const std::string& word : l.good) table[word] = l.rare_good[word.size() % l.rare_good.size()];
    for (const std::string& word : l.bad) table[word] = l.rare_bad[word.size() % l.rare_bad.size()];
    return map_words(text, table);
  }
  // Two neighbouring letters change place inside of one or two long words.
  std::string result = text;
  for (int64_t errors = 0; errors < 2; ++errors) {
    std::vector<std::pair<size_t, size_t>> places;  // start, length
    for (size_t i = 0; i < result.size();) {
      size_t end = i;
      while (end < result.size() &&
             ((result[end] >= 'a' && result[end] <= 'z') || (result[end] >= '0' && result[end] <= '9')))
        ++end;
      if (end - i >= 4 && !is_fixed(result.substr(i, end - i))) places.emplace_back(i, end - i);
      i = end + 1;
    }
    if (places.empty()) return result;
    const auto [start, length] = rng.pick(places);
    const size_t at = start + 1 + rng.below(length - 2);
    std::swap(result[at], result[at + (at + 1 < start + length ? 1 : 0)]);
  }
  return result;
}

std::string replace_topic(const std::string& text, const Words& list, const std::string& with) {
  for (const std::string& word : split_words(text)) {
    if (std::find(list.begin(), list.end(), word) != list.end()) return map_words(text, {{word, with}});
  }
  return text;
}

std::string restyle(const std::string& text, Style style, Rng& rng) {
  const Lexicon& l = lexicon();
  if (style == Style::kOld) {
    return "verily, " + map_words(text, {{"was", "hath been"},
                                         {"were", "wert"},
                                         {"it", "'t"},
                                         {"they", "yon folk"},
                                         {"found", "deemed"},
                                         {"what", "lo, what"},
                                         {"i", "methinks i"},
                                         {"truly", "forsooth"},
                                         {"had", "hadst"}});
  }
  if (style == Style::kShort) {
    std::string result = map_words(text, {{"the", ""},
                                          {"was", "wuz"},
                                          {"were", "wur"},
                                          {"from", "frm"},
                                          {"they", "dey"},
                                          {"that", "dat"},
                                          {"but", "bt"},
                                          {"about", "abt"},
                                          {"and", "n"}});
    while (result.find("  ") != std::string::npos) result.erase(result.find("  "), 1);
    return result.substr(result[0] == ' ' ? 1 : 0) + " lol";
  }
  std::map<std::string, std::string> table;
  for (const std::string& word : l.good) table[word] = rng.pick(l.rare_good);
  for (const std::string& word : l.bad) table[word] = rng.pick(l.rare_bad);
  return map_words(text, table);
}

}  // namespace ockham::world
