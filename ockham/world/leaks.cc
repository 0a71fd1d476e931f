#include <fmt/format.h>

#include "ockham/world/state.h"

namespace ockham::world {

namespace {

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char letter : text) {
    if (letter == '\n') {
      lines.emplace_back();
    } else {
      lines.back().push_back(letter);
    }
  }
  return lines;
}

// Words of a line without the labels that stand before a question or review.
Words words_of(const std::string& line) {
  Words all = split_words(line);
  if (!all.empty() && (all[0] == "question" || all[0] == "answer")) all.erase(all.begin());
  return all;
}

std::vector<std::string> texts_of(const Document& document) {
  if (document.messages.empty()) return {document.text};
  std::vector<std::string> texts;
  for (const ChatMessage& message : document.messages) texts.push_back(message.content);
  return texts;
}

}  // namespace

std::string find_leak(const World::State& state, const Document& document) {
  for (const std::string& text : texts_of(document)) {
    const Words all = split_words(text);
    const std::vector<uint64_t> words = hash_each(all);
    for (size_t k = 0; k + kGram <= words.size(); ++k) {
      if (!state.grams.contains(join_hashes(std::span(words).subspan(k, kGram)))) continue;
      std::string found;
      for (size_t i = k; i < k + kGram; ++i) found += " " + all[i];
      return "13-gram of an item:" + found;
    }
    // A whole short prompt: one line, or several in a row.
    const std::vector<std::string> lines = split_lines(text);
    for (size_t first = 0; first < lines.size(); ++first) {
      Words joined;
      for (size_t last = first; last < lines.size() && joined.size() < kGram; ++last) {
        const Words next = last == first ? words_of(lines[last]) : split_words(lines[last]);
        joined.insert(joined.end(), next.begin(), next.end());
        if (!joined.empty() && joined.size() < kGram && state.prompts.contains(join_hashes(hash_each(joined)))) {
          std::string found;
          for (const std::string& word : joined) found += " " + word;
          return "prompt of an item:" + found;
        }
      }
    }
  }
  return "";
}

std::string as_text(const Document& document) {
  if (document.messages.empty()) return document.text;
  std::string text;
  for (const ChatMessage& message : document.messages) text += message.role + ": " + message.content + "\n";
  return text;
}

}  // namespace ockham::world
