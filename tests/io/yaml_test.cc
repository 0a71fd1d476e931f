// YAML: typed access, places in errors, and everything that is refused instead of ignored.
#include "ockham/io/yaml.h"

#include <gtest/gtest.h>

#include "tests/io/scratch.h"

namespace ockham {
namespace {

YamlNode parse(const std::string& text) {
  return YamlNode::parse(text, "r.yaml");
}

const char* const kRecipe =
    "# a recipe\n"
    "calibration: {data: calib.txt, samples: 128, seed: -1}\n"
    "ignore: [lm_head, embed_tokens]\n"
    "steps:\n"
    "  - {method: owl, params: {mean: 0.5, lambda: 8e-2}}\n"
    "  - method: sparsegpt\n"
    "    params:\n"
    "      sparsity: {from: owl}\n"
    "      pattern: \"2:4\"\n"
    "      exact: true\n"
    "empty:\n";

TEST(Yaml, GivesATypedTreeWithPlaces) {
  const YamlNode root = parse(kRecipe);
  EXPECT_TRUE(root.is_map());
  EXPECT_EQ(root.keys(), (std::vector<std::string>{"calibration", "ignore", "steps", "empty"}));
  EXPECT_EQ(root.at("calibration").text_or("data", ""), "calib.txt");
  EXPECT_EQ(root.at("calibration").at("samples").integer(), 128);
  EXPECT_EQ(root.at("calibration").integer_or("seed", 0), -1);
  EXPECT_EQ(root.at("calibration").integer_or("tokens", 2048), 2048);
  EXPECT_EQ(root.texts_or("ignore", {}), (std::vector<std::string>{"lm_head", "embed_tokens"}));
  const std::vector<YamlNode>& steps = root.at("steps").items();
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].at("params").real_or("lambda", 0), 0.08);
  const YamlNode& params = steps[1].at("params");
  EXPECT_EQ(params.at("sparsity").at("from").text(), "owl");
  EXPECT_EQ(params.at("pattern").text(), "2:4");
  EXPECT_TRUE(params.at("pattern").is_quoted());
  EXPECT_TRUE(params.flag_or("exact", false));
  EXPECT_EQ(params.where(), "r.yaml:7:5");
  EXPECT_EQ(params.at("sparsity").where(), "r.yaml:8:7");
  EXPECT_EQ(params.at("sparsity").key_text(), "sparsity");
  EXPECT_EQ(steps[1].where(), "r.yaml:6:5");
  EXPECT_TRUE(root.at("empty").is_null());
  EXPECT_EQ(root.find("absent"), nullptr);
}

TEST(Yaml, ScalarsAreTakenStrictly) {
  const YamlNode root =
      parse("i: +3\nr: .5\nt: 'yes'\nq: \"3\"\nw: 3x\nbig: 99999999999999999999\ninf: inf\nnan: .nan\nb: True\nn: ~\n");
  EXPECT_EQ(root.at("i").integer(), 3);
  EXPECT_EQ(root.at("i").real(), 3.0);
  EXPECT_EQ(root.at("r").real(), 0.5);
  EXPECT_TRUE(root.at("b").flag());
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("t").flag()); }),
                  {"r.yaml:3:1", "'t'", "\"yes\"", "true or false"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("q").integer()); }), {"'q'", "text", "whole number"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("r").integer()); }), {"'r'", "'.5'", "whole number"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("w").real()); }), {"'w'", "'3x'"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("big").integer()); }), {"'big'"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("inf").real()); }), {"finite"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("nan").real()); }), {"finite"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("n").text()); }), {"'n'", "empty", "a text"}));
}

TEST(Yaml, ErrorsOfShapeNameWhatWasFound) {
  const YamlNode root = parse("list: [1]\nmap: {a: 1}\n");
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("absent")); }), {"r.yaml:1:1", "'absent'", "missing"}));
  EXPECT_TRUE(
      has(error_text([&] { static_cast<void>(root.at("map").items()); }), {"r.yaml:2:1", "'map'", "a map", "a list"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.at("list").find("k")); }), {"'list'", "a list", "'k'"}));
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(root.texts_or("map", {})); }), {"'map'", "list of texts"}));
  EXPECT_EQ(parse("ignore: lm_head").texts_or("ignore", {}), std::vector<std::string>{"lm_head"});
}

TEST(Yaml, RefusesUnknownKeysWithASuggestion) {
  const YamlNode root = parse("steps: []\nignroe: [a]\n");
  EXPECT_TRUE(has(error_text([&] {
                    root.allow_only({"steps", "ignore"});
                  }),
                  {"r.yaml:2:1", "'ignroe'", "steps, ignore", "did you mean 'ignore'?"}));
  root.allow_only({"steps", "ignroe"});
}

TEST(Yaml, RefusesWhatWouldBeResolvedSilently) {
  EXPECT_TRUE(has(error_text([] { parse("a: 1\nb: 2\na: 3\n"); }), {"r.yaml:3:1", "'a'", "twice"}));
  EXPECT_TRUE(has(error_text([] { parse("a: &x 1\n"); }), {"r.yaml:1:", "anchor"}));
  EXPECT_TRUE(has(error_text([] { parse("a: &x {b: 1}\nc: *x\n"); }), {"anchor"}));
  EXPECT_TRUE(has(error_text([] { parse("a: !!int \"3\"\n"); }), {"r.yaml:1:", "tag"}));
  EXPECT_TRUE(has(error_text([] { parse("a: !python/object {}\n"); }), {"tag"}));
  EXPECT_TRUE(has(error_text([] { parse("a: 1\n---\nb: 2\n"); }), {"second document"}));
  EXPECT_TRUE(has(error_text([] { parse("? [a, b]\n: 1\n"); }), {"key"}));
  EXPECT_TRUE(has(error_text([] { parse(": 1\n"); }), {"key"}));
}

TEST(Yaml, NamesThePlaceOfBrokenText) {
  EXPECT_TRUE(has(error_text([] { parse("a: 1\nb: [1, 2\nc: 3\n"); }), {"r.yaml:", "not valid YAML"}));
  EXPECT_TRUE(has(error_text([] { parse("a: 1\n b: 2\n"); }), {"r.yaml:2:", "not valid YAML"}));
  EXPECT_TRUE(has(error_text([] { parse("a: \"\xff\"\n"); }), {"UTF-8"}));
  EXPECT_TRUE(
      has(error_text([] { parse("a: " + std::string(10'000, '[') + std::string(10'000, ']')); }), {"r.yaml:1:"}));
}

TEST(Yaml, ReadsFiles) {
  const Scratch scratch;
  EXPECT_EQ(YamlNode::read_file(scratch.put("r.yaml", "a: b\r\n")).at("a").text(), "b");
  EXPECT_TRUE(has(error_text([&] { YamlNode::read_file(scratch.put("r.yaml", "")); }), {"r.yaml", "empty"}));
  EXPECT_TRUE(YamlNode::read_file(scratch.put("r.yaml", "# nothing\n")).is_null());
}

}  // namespace
}  // namespace ockham
