// Grammars: what is read, how texts are matched, what is refused and how.
#include "ockham/text/grammar.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/text/byte_grammar.h"
#include "ockham/text/grammar_matcher.h"

namespace ockham {
namespace {

GrammarMatcher matcher_of(const std::string& grammar) {
  return GrammarMatcher(compile_grammar(parse_grammar(grammar, "g"), ByteSet().set(), "g"));
}

// 'y' the text belongs to the grammar, 'p' it may become one that does, 'n' it may not.
char match(GrammarMatcher& matcher, const std::string& text) {
  int32_t state = matcher.start();
  for (const char c : text) {
    state = matcher.next(state, static_cast<uint8_t>(c));
    if (state == GrammarMatcher::kDead) return 'n';
  }
  return matcher.is_accepting(state) ? 'y' : 'p';
}

void expect_matches(const std::string& grammar, const std::vector<std::pair<std::string, char>>& texts) {
  GrammarMatcher matcher = matcher_of(grammar);
  for (const auto& [text, wanted] : texts)
    EXPECT_EQ(match(matcher, text), wanted) << grammar << " with '" << text << "'";
}

std::string error_of(const std::string& grammar) {
  try {
    matcher_of(grammar);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    return error.what();
  }
  return "no error";
}

TEST(Grammar, LiteralsClassesAndAlternatives) {
  expect_matches("root ::= \"ab\" | [x-z] | [^a-z]", {{"", 'p'},
                                                      {"a", 'p'},
                                                      {"ab", 'y'},
                                                      {"abc", 'n'},
                                                      {"y", 'y'},
                                                      {"c", 'n'},
                                                      {"1", 'y'},
                                                      {"\n", 'y'},
                                                      {"é", 'y'},
                                                      {"\xC3", 'p'}});
  expect_matches(R"(root ::= "\x41\u00e9\U0001F600\n\"\\" [\]\-a])",
                 {{"Aé😀\n\"\\]", 'y'}, {"Aé😀\n\"\\-", 'y'}, {"Ae", 'n'}});
  expect_matches("root ::= [a-]+ .", {{"a-x", 'y'}, {"-\n", 'y'}, {"-", 'p'}});
}

TEST(Grammar, RepetitionsGroupsCommentsAndLines) {
  expect_matches("# a list\nroot ::= item (\",\" item)* # of items\nitem ::= [0-9]{1,3} |\n  \"-\"{2} \"x\"{1,}\n",
                 {{"1,22,333", 'y'}, {"1234", 'n'}, {"--", 'p'}, {"--xxx,1", 'y'}, {"1,", 'p'}, {"", 'p'}});
  expect_matches("root ::= (\n  \"a\"\n  \"b\"?\n)+ \"\"", {{"aaba", 'y'}, {"abb", 'n'}, {"", 'p'}});
  expect_matches("root ::= \"x\"{0} \"y\"{0,2}", {{"", 'y'}, {"yy", 'y'}, {"x", 'n'}, {"yyy", 'n'}});
  expect_matches("root ::= | \"a\"", {{"", 'y'}, {"a", 'y'}});
}

TEST(Grammar, Recursion) {
  expect_matches("root ::= \"(\" root \")\" | \"x\"", {{"((x))", 'y'}, {"((x)", 'p'}, {"((x)))", 'n'}});
  // Empty parts repeated, and recursion at the end: no stack grows.
  GrammarMatcher matcher = matcher_of("root ::= (\"a\"*)* list\nlist ::= \"b\" list | \"\"");
  const size_t states = matcher.states();
  EXPECT_EQ(match(matcher, std::string(5000, 'a') + std::string(5000, 'b')), 'y');
  EXPECT_LE(matcher.states(), states + 4);
}

TEST(Grammar, CharactersAreWholeUtf8) {
  for (const uint32_t edge : {0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;  // UTF-8 by hand
    if (edge < 0x80) {
      text = {static_cast<char>(edge)};
    } else if (edge < 0x800) {
      text = {static_cast<char>(0xC0 | edge >> 6), static_cast<char>(0x80 | (edge & 63))};
    } else if (edge < 0x10000) {
      text = {static_cast<char>(0xE0 | edge >> 12), static_cast<char>(0x80 | (edge >> 6 & 63)),
              static_cast<char>(0x80 | (edge & 63))};
    } else {
      text = {static_cast<char>(0xF0 | edge >> 18), static_cast<char>(0x80 | (edge >> 12 & 63)),
              static_cast<char>(0x80 | (edge >> 6 & 63)), static_cast<char>(0x80 | (edge & 63))};
    }
    const auto matches = [&](std::vector<CharacterRange> ranges) {
      Grammar grammar;
      grammar.rules.push_back({"root", GrammarExpression::characters(std::move(ranges))});
      GrammarMatcher matcher(compile_grammar(grammar, ByteSet().set(), "g"));
      return match(matcher, text) == 'y';
    };
    EXPECT_TRUE(matches({{edge, edge}})) << edge;
    EXPECT_TRUE(matches({{edge - 1, edge}}) && matches({{0, edge}}) && matches({{edge, 0x10FFFF}})) << edge;
    EXPECT_FALSE(matches({{0, edge - 1}, {edge + 1, 0x10FFFF}})) << edge;
    EXPECT_FALSE(matches(complement({{edge, edge}}))) << edge;
  }
  expect_matches("root ::= .", {{"\xED\xA0\x80", 'n'}, {"\xC0\x80", 'n'}, {"\xF5", 'n'}, {"\x80", 'n'}});
}

TEST(Grammar, MistakesAreNamedWithTheirPlace) {
  EXPECT_EQ(error_of("root ::= \"a\"\nb ::= [a-"), "g, line 2, column 7: found no end of this class, expected ']'");
  EXPECT_EQ(error_of("root ::= (\"a\""), "g, line 1, column 14: found the end, expected ')' at the end of the group");
  EXPECT_EQ(error_of("root = \"a\""), "g, line 1, column 6: found '=', expected '::=' behind the name 'root'");
  EXPECT_EQ(
      error_of("root ::= \"é\" ß"),
      "g, line 1, column 14: found 'ß', expected a literal, a class, a name, a group, '|' or the end of the line");
  EXPECT_EQ(error_of("root ::= a\n"), "g, line 1, column 10: rule 'a' is used, but nowhere defined");
  EXPECT_EQ(error_of("root ::= \"a\"\nroot ::= \"b\""), "g, line 2, column 1: rule 'root' is defined a second time");
  EXPECT_EQ(error_of("a ::= \"a\""),
            "g, line 1, column 10: found no rule named 'root', expected one: the text as a whole");
  EXPECT_EQ(error_of("root ::= \"\\q\""),
            R"(g, line 1, column 12: found 'q', expected one of n r t x u U \ " [ ] - ^ behind '\')");
  EXPECT_EQ(error_of("root ::= [z-a]"),
            "g, line 1, column 11: the range runs backwards, expected the lower character first");
  EXPECT_EQ(error_of("root ::= \"a\"{3,2}"), "g, line 1, column 13: found {3,2}, expected the smaller number first");
  EXPECT_EQ(error_of("root ::= \"\\uD800\""), "g, line 1, column 11: U+D800 is not a character");
  EXPECT_EQ(error_of("root ::= \"a\"*+"),
            "g, line 1, column 14: found '+', expected a group around what is repeated twice");
  EXPECT_NE(error_of(std::string(200, '(')).find("line 1, column 1: found '('"), std::string::npos);
  EXPECT_NE(error_of("root ::= " + std::string(200, '(')).find("groups in each other"), std::string::npos);
  EXPECT_EQ(error_of("root ::= \xFF"), "g: byte 9 is not UTF-8; convert the text");
}

TEST(Grammar, WhatCannotBeFollowedIsRefused) {
  const std::string direct = error_of("root ::= root \"a\" | \"b\"");
  EXPECT_NE(direct.find("rule 'root' begins with itself (left recursion"), std::string::npos) << direct;
  EXPECT_NE(error_of("root ::= a\na ::= b* c\nb ::= \"x\"\nc ::= \"\" a \"y\" | \"z\"").find("left recursion"),
            std::string::npos);
  EXPECT_NE(error_of("root ::= \"a\" root").find("rules 'root' never end"), std::string::npos);
  std::string large = "root ::=";
  for (char c = 'a'; c <= 'l'; ++c) large += std::string(" \"") + c + "\"{100000}";
  EXPECT_NE(error_of(large).find("rule 'root' makes the grammar larger than"), std::string::npos);
  // A dead alternative is left out, the others stay.
  expect_matches("root ::= \"a\" dead | \"ab\"\ndead ::= \"c\" dead", {{"ab", 'y'}, {"ac", 'n'}});
}

TEST(Grammar, OnlyWritableBytesAreAskedFor) {
  ByteSet letters;
  for (int c = 'a'; c <= 'z'; ++c) letters.set(static_cast<size_t>(c));
  const Grammar grammar = parse_grammar("root ::= . | \"1\" | \"ab\" root", "g");
  GrammarMatcher matcher(compile_grammar(grammar, letters, "g"));
  EXPECT_EQ(match(matcher, "abx"), 'y');
  EXPECT_EQ(match(matcher, "1"), 'n');
  EXPECT_EQ(match(matcher, "é"), 'n');
  EXPECT_THROW(compile_grammar(parse_grammar("root ::= \"A\"", "g"), letters, "g"), Error);
}

TEST(Grammar, AmbiguousTextsStaySmall) {
  GrammarMatcher matcher = matcher_of("root ::= s\ns ::= \"a\" | \"a\" s \"b\"? | \"a\" s s");
  int32_t state = matcher.start();
  for (int i = 0; i < 60; ++i) ASSERT_NE(state = matcher.next(state, 'a'), GrammarMatcher::kDead) << i;
}

}  // namespace
}  // namespace ockham
