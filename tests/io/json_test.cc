// JSON and JSON lines: what is refused, and that errors name the place.
#include "ockham/io/json.h"

#include <gtest/gtest.h>

#include "tests/io/scratch.h"

namespace ockham {
namespace {

TEST(ParseJson, KeepsTypesAndTheOrderOfKeys) {
  const Json json =
      parse_json(R"({"z": 1, "a": [true, null, -2, 2.5, "ü", {}], "m": {"k": 18446744073709551615}})", "x");
  EXPECT_EQ(json.dump(), R"({"z":1,"a":[true,null,-2,2.5,"ü",{}],"m":{"k":18446744073709551615}})");
  EXPECT_TRUE(json["a"][2].is_number_integer());
  EXPECT_TRUE(json["a"][3].is_number_float());
  EXPECT_EQ(parse_json("3", "x"), 3);
}

TEST(ParseJson, NamesLineAndColumn) {
  EXPECT_TRUE(has(error_text([] { parse_json("{\n  \"a\": 1,\n  \"b\" 2\n}", "conf.json"); }),
                  {"conf.json", "line 3, column 7", "not valid JSON"}));
  EXPECT_TRUE(has(error_text([] { parse_json("", "conf.json"); }), {"conf.json", "line 1"}));
  EXPECT_TRUE(has(error_text([] { parse_json("[1, 1e999]", "conf.json"); }), {"conf.json"}));
  EXPECT_TRUE(has(error_text([] { parse_json("{} x", "conf.json"); }), {"conf.json", "line 1"}));
}

TEST(ParseJson, RefusesDuplicateKeysBadBytesAndDepth) {
  EXPECT_TRUE(has(error_text([] { parse_json(R"({"a": {"k": 1, "k": 2}})", "x"); }), {"'k'", "twice"}));
  EXPECT_EQ(parse_json(R"({"a": {"k": 1}, "k": [{"a": 1}, {"a": 2}]})", "x")["k"][1]["a"], 2);
  EXPECT_TRUE(has(error_text([] { parse_json("{\"\xC0\x80\": 1}", "x"); }), {"UTF-8"}));
  EXPECT_TRUE(has(error_text([] { parse_json(std::string_view("{}\0x", 4), "x"); }), {"NUL"}));
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  EXPECT_TRUE(parse_json(deep, "x").is_array());
  EXPECT_TRUE(has(error_text([&] { parse_json("[" + deep + "]", "x"); }), {"deeper than 200"}));
  EXPECT_TRUE(has(error_text([] { parse_json(std::string(1'000'000, '['), "x"); }), {"deeper than 200"}));
}

TEST(ParseJson, ManyKeysTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 100'000; ++i) text += fmt::format("{}\"key{}\":{}", i > 0 ? "," : "", i, i);
  EXPECT_EQ(parse_json(text + "}", "x").size(), 100'000u);
}

TEST(ReadJsonl, GivesOneObjectPerLine) {
  const Scratch scratch;
  const std::string path = scratch.put("x.jsonl", "{\"a\":1}\r\n\n  \n{\"a\":2}\n{\"a\":3}");
  const std::vector<Json> items = read_jsonl_file(path);
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[2]["a"], 3);
  EXPECT_EQ(read_jsonl_file(path, 2).size(), 2u);
}

TEST(ReadJsonl, NamesTheLine) {
  const Scratch scratch;
  EXPECT_TRUE(
      has(error_text([&] { read_jsonl_file(scratch.put("x.jsonl", "{}\n\n{\"a\":\n{}")); }), {"line 3 of", "x.jsonl"}));
  EXPECT_TRUE(
      has(error_text([&] { read_jsonl_file(scratch.put("x.jsonl", "{}\n[1]\n")); }), {"line 2 of", "array", "object"}));
  EXPECT_TRUE(has(error_text([&] { read_jsonl_file(scratch.put("x.jsonl", "{}\n{\"a\":\"\xff\"}\n")); }),
                  {"line 2 of", "UTF-8"}));
  EXPECT_TRUE(has(error_text([&] { read_jsonl_file(scratch.put("x.jsonl", "\n\n")); }), {"x.jsonl", "empty"}));
  EXPECT_TRUE(has(error_text([&] { read_jsonl_file(scratch.put("x.jsonl", "")); }), {"x.jsonl", "empty"}));
}

TEST(JsonAccess, GivesTypedValues) {
  const Json json = parse_json(R"({"t": "x", "i": 3, "r": 2.5, "b": true, "n": null})", "x");
  EXPECT_EQ(json_text(json, "t", "c.json"), "x");
  EXPECT_EQ(json_integer(json, "i", "c.json"), 3);
  EXPECT_EQ(json_real(json, "r", "c.json"), 2.5);
  EXPECT_EQ(json_real(json, "i", "c.json"), 3.0);
  EXPECT_TRUE(json_flag(json, "b", "c.json"));
  EXPECT_EQ(json_text(json, "n", "c.json", "fallback"), "fallback");
  EXPECT_EQ(json_integer(json, "absent", "c.json", 7), 7);
  EXPECT_EQ(json_real(json, "absent", "c.json", 0.5), 0.5);
  EXPECT_FALSE(json_flag(json, "absent", "c.json", false));
}

TEST(JsonAccess, ErrorsNameKeyFoundAndExpected) {
  const Json json = parse_json(R"({"t": "x", "r": 2.5, "big": 18446744073709551615, "l": [1]})", "x");
  EXPECT_TRUE(has(error_text([&] { json_text(json, "absent", "c.json"); }), {"c.json", "'absent'", "missing"}));
  EXPECT_TRUE(has(error_text([&] { json_integer(json, "r", "c.json"); }), {"c.json", "'r'", "2.5", "whole number"}));
  EXPECT_TRUE(has(error_text([&] { json_integer(json, "big", "c.json"); }), {"'big'"}));
  EXPECT_TRUE(has(error_text([&] { json_real(json, "t", "c.json", 1.0); }), {"'t'", "\"x\"", "number"}));
  EXPECT_TRUE(has(error_text([&] { json_flag(json, "t", "c.json"); }), {"'t'", "true or false"}));
  EXPECT_TRUE(has(error_text([&] { json_text(json, "l", "c.json"); }), {"'l'", "array", "a text"}));
  EXPECT_TRUE(has(error_text([&] { json_text(json["l"], "k", "c.json"); }), {"c.json", "array", "'k'"}));
}

}  // namespace
}  // namespace ockham
