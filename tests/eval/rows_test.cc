// Rows of every file form, and the items that templates make of them.
#include "ockham/eval/rows.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/suites/rows.h"
#include "tests/eval/fake_model.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Rows, ReadsEveryForm) {
  const Scratch scratch;
  const std::vector<Json> expected = {{{"q", "a,b"}, {"n", "1"}}, {{"q", "c"}, {"n", "2"}}};
  EXPECT_EQ(read_rows(scratch.put("a.csv", "q,n\n\"a,b\",1\nc,2\n")), expected);
  EXPECT_EQ(read_rows(scratch.put("a.tsv", "q\tn\na,b\t1\nc\t2\n")), expected);
  EXPECT_EQ(read_rows(scratch.put("a.jsonl", "{\"q\":\"a,b\",\"n\":\"1\"}\n\n{\"q\":\"c\",\"n\":\"2\"}\n")), expected);
  EXPECT_EQ(read_rows(scratch.put("a.json", Json(expected).dump())), expected);
  EXPECT_EQ(read_rows(scratch.put("b.json", Json{{"rows", expected}}.dump()), {{}, "rows"}), expected);
  EXPECT_EQ(read_rows(scratch.put("b.csv", "\"a,b\",1\nc,2\n"), {{"q", "n"}, ""}), expected);
  const std::vector<Json> parquet = read_rows(std::string(OCKHAM_SOURCE_DIR) + "/tests/io/snappy.parquet");
  ASSERT_FALSE(parquet.empty());
  EXPECT_TRUE(parquet[0].is_object() && parquet[0].contains("text")) << parquet[0];
  EXPECT_EQ(find_rows(scratch.path(), {"absent", "a"}), scratch.path() + "/a.jsonl");
  EXPECT_EQ(find_rows(scratch.path(), {"absent"}), "");
}

TEST(Rows, RefusesBrokenFiles) {
  const Scratch scratch;
  EXPECT_NE(refusal([&] { read_rows(scratch.put("a.jsonl", "{\"q\":1}\n{\"q\":\n")); }).find("line 2"),
            std::string::npos);
  EXPECT_NE(refusal([&] { read_rows(scratch.put("a.json", "[1]")); }).find("row 1"), std::string::npos);
  EXPECT_NE(refusal([&] { read_rows(scratch.put("b.json", "{}"), {{}, "rows"}); }).find("'rows'"), std::string::npos);
  EXPECT_NE(refusal([&] {
              read_rows(scratch.put("a.csv", "a,b\n"), {{"q"}, ""});
            }).find("expected 1"),
            std::string::npos);
  EXPECT_NE(refusal([&] { read_rows(scratch.put("a.parquet", "PAR1")); }).find("Parquet"), std::string::npos);
  EXPECT_NE(refusal([&] { read_rows(scratch.put("a.xml", "<a/>")); }).find(".parquet"), std::string::npos);
}

RowsPlan choice_plan() {
  RowsPlan plan;
  plan.where = "task.yaml";
  plan.text = "Q: {{q}}\nA:";
  plan.choices = {"{{options}}"};
  plan.target = "{{label}}";
  return plan;
}

TEST(BuildItems, ChoicesAndLabels) {
  const std::vector<Json> rows = {{{"q", "one"}, {"options", {"x", "ÿ"}}, {"label", 1}},
                                  {{"q", "two"}, {"options", {"3", "1"}}, {"label", 0}}};
  RowsPlan plan = choice_plan();
  std::vector<Json> items = build_items(plan, rows, {});
  EXPECT_EQ(items[0]["context"], "Q: one\nA:");
  EXPECT_EQ(items[0]["option"], Json({"x", "ÿ"}));
  EXPECT_EQ(items[0]["label"], 1);
  EXPECT_EQ(items[0]["delimiter"], " ");
  EXPECT_EQ(items[1]["label"], 0);  // a printed number is an index, whatever the choices read
  plan.target = "label";
  EXPECT_EQ(build_items(plan, rows, {})[0]["label"], 1);
  plan.target = "{{ [0, 1] }}";
  EXPECT_EQ(build_items(plan, rows, {})[0]["label"], Json({0, 1}));
  plan.target = "ÿ";
  EXPECT_EQ(build_items(plan, {rows[0]}, {})[0]["label"], 1);
  plan.target = "7";
  EXPECT_NE(refusal([&] { build_items(plan, rows, {}); }).find("row 1"), std::string::npos);
  plan.target = "{{ missing }}";
  EXPECT_NE(refusal([&] { build_items(plan, rows, {}); }).find("undefined"), std::string::npos);
  plan = choice_plan();
  plan.choices = {"{{ q }}"};
  EXPECT_NE(refusal([&] { build_items(plan, rows, {}); }).find("list of choices"), std::string::npos);
  plan = choice_plan();
  plan.text = "q";
  EXPECT_NE(refusal([&] {
              build_items(plan, {rows[0], {{"options", {"x", "y"}}, {"label", 0}}}, {});
            }).find("key 'q'"),
            std::string::npos);
}

TEST(BuildItems, ContextsAsChoices) {
  RowsPlan plan;
  plan.text = "{{ answer | int - 1 }}";
  plan.choices = {"{{ s.split('_')[0] ~ a }}", "{{ s.split('_')[0] ~ b }}"};
  plan.target = "{{ (s.split('_')[1:] | join('_')).strip() }}";
  plan.shots = 1;
  plan.takes_first_shots = true;
  plan.excludes_row = true;
  const std::vector<Json> rows = {{{"s", "The _ ran off."}, {"a", "cat"}, {"b", "dog"}, {"answer", "2"}},
                                  {{"s", "A _ sings."}, {"a", "bird"}, {"b", "fish"}, {"answer", "1"}}};
  const std::vector<Json> items = build_items(plan, rows, rows);
  EXPECT_EQ(items[0]["contexts"], Json({"A bird sings.\n\nThe cat", "A bird sings.\n\nThe dog"}));
  EXPECT_EQ(items[0]["continuation"], "ran off.");
  EXPECT_EQ(items[0]["label"], 1);
}

TEST(BuildItems, ExamplesAreDrawnAsTheHarnessDraws) {
  RowsPlan plan = choice_plan();
  plan.shots = 2;
  std::vector<Json> pool;
  for (int i = 0; i < 30; ++i) pool.push_back({{"q", std::to_string(i)}, {"options", {"x", "y"}}, {"label", i % 2}});
  // random.Random(1234).sample(range(30), 3), the row itself left out, the first two taken.
  plan.excludes_row = true;
  const std::vector<Json> items = build_items(plan, {pool[14], pool[5]}, pool);
  EXPECT_EQ(items[0]["context"], "Q: 24\nA: x\n\nQ: 3\nA: y\n\nQ: 14\nA:");
  EXPECT_EQ(items[1]["context"], "Q: 0\nA: x\n\nQ: 2\nA: x\n\nQ: 5\nA:");
  plan.takes_first_shots = true;
  EXPECT_EQ(build_items(plan, {pool[0]}, pool)[0]["context"], "Q: 1\nA: y\n\nQ: 2\nA: x\n\nQ: 0\nA:");
  plan.shots = 30;
  EXPECT_NE(refusal([&] { build_items(plan, {pool[0]}, pool); }).find("--num-fewshot"), std::string::npos);
}

TEST(BuildItems, AnswersOfWrittenTasks) {
  RowsPlan plan;
  plan.text = "{{q}}";
  plan.target = "{{answers}}";
  plan.part = "{{kind}}";
  plan.description = "Trivia.\n\n";
  const std::vector<Json> items = build_items(plan, {{{"q", "w"}, {"answers", {"it's", "b"}}, {"kind", "k"}}}, {});
  EXPECT_EQ(items[0]["answers"], Json({"it's", "b"}));
  EXPECT_EQ(items[0]["part"], "k");
  EXPECT_EQ(items[0]["preamble"], "Trivia.\n\n");
  FakeModel model([](const std::string&, uint64_t) { return ""; });
  EXPECT_EQ(build_prompt(model, Task(), items[0]).text, "Trivia.\n\nw");
  EvalOptions options;
  options.apply_chat_template = true;
  EXPECT_EQ(build_prompt(model, Task(), items[0], options).text, "<system>Trivia.\n\n<user>w<assistant>");
}

}  // namespace
}  // namespace ockham
