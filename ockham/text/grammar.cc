#include "ockham/text/grammar.h"

#include <algorithm>

namespace ockham {
namespace {

constexpr uint32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF, kLastCharacter = 0x10FFFF;

void append_range(std::vector<CharacterRange>& ranges, uint32_t first, uint32_t last) {
  if (first <= last) ranges.push_back({first, last});
}

}  // namespace

std::vector<CharacterRange> normalized(std::vector<CharacterRange> ranges) {
  std::vector<CharacterRange> parts;
  for (const CharacterRange& range : ranges) {
    append_range(parts, range.first, std::min(range.last, kFirstSurrogate - 1));
    append_range(parts, std::max(range.first, kLastSurrogate + 1), std::min(range.last, kLastCharacter));
  }
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<CharacterRange> result;
  for (const CharacterRange& part : parts) {
    if (result.empty() || part.first > result.back().last + 1)
      result.push_back(part);
    else
      result.back().last = std::max(result.back().last, part.last);
  }
  return result;
}

std::vector<CharacterRange> complement(std::vector<CharacterRange> ranges) {
  std::vector<CharacterRange> result;
  uint32_t next = 0;
  for (const CharacterRange& range : normalized(std::move(ranges))) {
    if (range.first > next) append_range(result, next, range.first - 1);
    next = range.last + 1;
  }
  append_range(result, next, kLastCharacter);
  return normalized(std::move(result));
}

GrammarExpression GrammarExpression::literal(std::string text) {
  GrammarExpression result;
  result.kind = Kind::kLiteral;
  result.text = std::move(text);
  return result;
}

GrammarExpression GrammarExpression::characters(std::vector<CharacterRange> ranges) {
  GrammarExpression result;
  result.kind = Kind::kCharacters;
  result.ranges = normalized(std::move(ranges));
  return result;
}

GrammarExpression GrammarExpression::reference(int32_t rule) {
  GrammarExpression result;
  result.kind = Kind::kRule;
  result.rule = rule;
  return result;
}

GrammarExpression GrammarExpression::sequence(std::vector<GrammarExpression> parts) {
  GrammarExpression result;
  result.parts = std::move(parts);
  return result;
}

GrammarExpression GrammarExpression::alternatives(std::vector<GrammarExpression> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  GrammarExpression result;
  result.kind = Kind::kAlternatives;
  result.parts = std::move(parts);
  return result;
}

GrammarExpression GrammarExpression::repetition(GrammarExpression part, int64_t least, int64_t most) {
  GrammarExpression result;
  result.kind = Kind::kRepetition;
  result.parts.push_back(std::move(part));
  result.least = least;
  result.most = most;
  return result;
}

}  // namespace ockham
