// JSON Schemas as grammars: which texts they hold, what is refused by name.
#include "ockham/text/json_grammar.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/text/byte_grammar.h"
#include "ockham/text/grammar_matcher.h"

namespace ockham {
namespace {

bool holds(GrammarMatcher& matcher, const std::string& text) {
  int32_t state = matcher.start();
  for (const char c : text) {
    state = matcher.next(state, static_cast<uint8_t>(c));
    if (state == GrammarMatcher::kDead) return false;
  }
  return matcher.is_accepting(state);
}

void expect_schema(const std::string& schema, const std::vector<std::string>& valid,
                   const std::vector<std::string>& others) {
  GrammarMatcher matcher(compile_grammar(json_schema_grammar(parse_json(schema, "s"), "s"), ByteSet().set(), "s"));
  for (const std::string& text : valid) EXPECT_TRUE(holds(matcher, text)) << schema << "\n" << text;
  for (const std::string& text : others) EXPECT_FALSE(holds(matcher, text)) << schema << "\n" << text;
}

std::string refusal_of(const std::string& schema) {
  try {
    compile_grammar(json_schema_grammar(parse_json(schema, "s"), "s"), ByteSet().set(), "s");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(JsonGrammar, Scalars) {
  expect_schema(R"({"type": "integer"})", {"0", "-7", "1234567890123456"},
                {"01", "1.0", "--1", "", "12345678901234567"});
  expect_schema(R"({"type": "number"})", {"0.5", "-1e-9", "3E+10", "4"}, {".5", "1.", "1e", "1e999", "NaN"});
  expect_schema(R"({"type": ["boolean", "null"]})", {"true", "false", "null"}, {"nul", "True", "0"});
  expect_schema(R"({"type": "string"})", {R"("")", R"("a\n\u00e9é😀\"")", "\"\x7F\""},
                {R"("a)", "\"\n\"", R"("\x")", R"("\ud83d\ude00")", R"("\uDFFF")", "\"\xFF\""});
  expect_schema(R"({"enum": ["a\"b", 3, null, {"k": [1]}]})", {R"("a\"b")", "3", "null", R"({"k":[1]})"}, {"a", "4"});
  expect_schema(R"({"type": "string", "enum": ["a", 3]})", {R"("a")"}, {"3"});
  expect_schema(R"({"const": "x"})", {R"("x")"}, {R"("y")"});
}

TEST(JsonGrammar, StringsOfALength) {
  expect_schema(R"({"type": "string", "minLength": 2, "maxLength": 3})", {R"("ab")", R"("é😀\n")", R"("\u0041bc")"},
                {R"("a")", R"("abcd")", R"("\n")"});
  expect_schema(R"({"maxLength": 0})", {R"("")"}, {R"("a")"});
}

TEST(JsonGrammar, Patterns) {
  expect_schema(R"({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"})", {R"("AB-12")"},
                {R"("AB-")", R"("ab-1")", R"("AB-1 ")"});
  expect_schema(R"({"pattern": "a|b"})", {R"("a")", R"("xxby")"}, {R"("")", R"("xy")"});
  expect_schema(R"({"pattern": "^(x|\"|\\\\|\\n|[\\t-\\r]?)$"})",
                {R"("x")", R"("\"")", R"("\\")", R"("\n")", R"("\t")", R"("")"},
                {R"("y")", "\"\"\"", "\"\n\"", R"("\b")"});
  expect_schema(R"({"pattern": "^[^a]\\.(?:bc){1,2}?.$"})", {R"("b.bcx")", R"("é.bcbc😀")"},
                {R"("a.bcx")", R"("b-bcx")", R"("b.x")"});
  expect_schema(R"({"type": "string", "format": "date"})", {R"("2026-11-27")"}, {R"("2026-13-01")", R"("2026-02-30")"});
  expect_schema(R"({"type": "string", "format": "date-time"})", {R"("2026-11-27T00:26:05Z")"}, {R"("2026-11-27")"});
  EXPECT_EQ(refusal_of(R"j({"pattern": "(?=a)"})j"),
            "s, #/pattern, line 1, column 1: a group with '(?' other than '(?:' cannot be part of a grammar; write the "
            "pattern without");
  EXPECT_EQ(refusal_of(R"j({"pattern": "(a)\\1"})j"),
            "s, #/pattern, line 1, column 4: '\\1' cannot be part of a grammar; write the pattern without");
  EXPECT_EQ(refusal_of(R"({"pattern": "^a|b$"})"),
            "s, #/pattern, line 1, column 2: found '|' beside an anchor, expected a group: ^(a|b)$");
}

TEST(JsonGrammar, Objects) {
  expect_schema(
      R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"type": "boolean"}},
                    "required": ["b"], "additionalProperties": false})",
      {R"({"a":1,"b":null,"c":true})", R"({"b":null})", R"({ "b": null, "c": false })",
       "{\n  \"a\": 2,\n  \"b\": null\n}"},
      {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,})", R"({,"b":null})", R"({"b":null,"d":1})",
       R"({"b":null}})"});
  expect_schema(R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}})",
                {"{}", R"({"a":1})", R"({"b":null})", R"({"a":1,"b":null})"}, {R"({"b":null,"a":1})"});
  expect_schema(R"({"type": "object", "additionalProperties": {"type": "integer"}})", {"{}", R"({"x":1,"y":2})"},
                {R"({"x":"y"})"});
  expect_schema(R"({"type": "object", "properties": {}, "additionalProperties": false})", {"{}"}, {R"({"x":1})"});
  expect_schema(R"({"type": "object"})", {"{}", R"({"x":[1,{"y":{}}],"z":"w"})"}, {"[]", R"({"x"})"});
}

TEST(JsonGrammar, Arrays) {
  expect_schema(R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
                {"[1]", "[1, 2, 3]", "[\n 1,\n 2\n]"}, {"[]", "[1,2,3,4]", "[1,]", "[,1]", "[1 2]"});
  expect_schema(R"({"type": "array", "items": {"type": "null"}, "minItems": 3})",
                {"[null,null,null]", "[null,null,null,null]"}, {"[null,null]"});
  expect_schema(R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"});
  expect_schema(R"({"type": "array"})", {"[]", R"([1,"a",[[]],{"b":null}])"}, {"{}"});
}

TEST(JsonGrammar, ReferencesAndRecursion) {
  const std::string list = R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties":
      {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
      "required": ["value", "next"], "additionalProperties": false}}})";
  const auto nested = [](int depth) {
    std::string text = "null";
    for (int i = 0; i < depth; ++i) text = R"({"value":1,"next":)" + text + "}";
    return text;
  };
  expect_schema(list, {nested(1), nested(5), nested(24)}, {"null", nested(25), R"({"value":1,"next":{}})"});
  expect_schema(R"({"type": "object", "properties": {"child": {"$ref": "#"}}})", {"{}", R"({"child":{"child":{}}})"},
                {R"({"child":1})"});
  expect_schema(R"({"allOf": [{"$ref": "#/definitions/a"}], "definitions": {"a": {"type": "null"}}})", {"null"}, {"1"});
  EXPECT_NE(refusal_of(R"({"$ref": "#"})").find("rules '#'"), std::string::npos);
  EXPECT_NE(refusal_of(R"({"type": "array", "minItems": 1, "items": {"$ref": "#"}})").find("never end"),
            std::string::npos);
}

TEST(JsonGrammar, NestingOfAnyValueEnds) {
  GrammarMatcher matcher(compile_grammar(json_object_grammar({.references = 1, .nesting = 3}), ByteSet().set(), "s"));
  EXPECT_TRUE(holds(matcher, R"({"a":[[1]],"b":{"c":{}}})"));
  EXPECT_FALSE(holds(matcher, R"({"a":[[[1]]]})"));
  EXPECT_FALSE(holds(matcher, R"([1])"));
}

TEST(JsonGrammar, WhatIsNotReadIsRefusedByName) {
  EXPECT_EQ(
      refusal_of(R"({"type": "object", "properties": {"a": {"oneOf": [{}]}}})"),
      "s, #/properties/a: found the keyword 'oneOf', which is not read here; expected one of those in docs/run.md, or "
      "leave it out and check the answer");
  for (const char* schema :
       {R"({"type": "integer", "minimum": 3})", R"({"type": "string", "minItems": 3})", R"({"not": {}})",
        R"({"type": "array", "uniqueItems": true})", R"({"type": "array", "prefixItems": []})",
        R"({"anyOf": [{}], "type": "object"})", R"({"allOf": [{}, {}]})", R"({"patternProperties": {}})",
        R"({"type": "string", "format": "email"})", R"({"pattern": "a", "minLength": 1})"})
    EXPECT_EQ(refusal_of(schema).find("s, #: "), 0u) << refusal_of(schema);
  EXPECT_EQ(refusal_of(R"({"type": "text"})"),
            "s, #: key 'type' is \"text\", expected object, array, string, integer, number, boolean or null");
  EXPECT_EQ(
      refusal_of(R"({"$ref": "#/$defs/x"})"),
      "s, #: key '$ref' is '#/$defs/x', where there is nothing; expected a place in this schema, as in #/$defs/name");
  EXPECT_EQ(refusal_of(R"({"$ref": "http://x"})").find("s, #: key '$ref' is 'http://x', which is another document"),
            0u);
  EXPECT_EQ(refusal_of(R"({"properties": {"a": {}}, "required": ["b"]})"),
            "s, #: key 'required' names \"b\", which 'properties' does not list; add it");
  EXPECT_EQ(refusal_of(R"({"minItems": 3, "maxItems": 2})"),
            "s, #: key 'minItems' is 3, expected at most the 2 of 'maxItems'");
  EXPECT_EQ(refusal_of(R"({"minItems": -1})"), "s, #: key 'minItems' is -1, expected 0 to 100000");
  EXPECT_EQ(refusal_of("false"), "s, #: found false, expected a schema: an object or true");
  EXPECT_EQ(refusal_of("3"), "s, #: found number, expected a schema: an object or true");
  EXPECT_NE(
      refusal_of(
          R"({"type": "array", "minItems": 100000, "items": {"type": "array", "minItems": 100000, "items": {"minLength": 100000}}})"),
      "no error?");
}

}  // namespace
}  // namespace ockham
