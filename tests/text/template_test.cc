// Templates as lm-evaluation-harness's Jinja renders them, and Python's regular expressions.
#include "ockham/text/template.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

std::string rendered(const std::string& source, const Json& row) {
  return render_template(source, {row}, "test.yaml").at(0);
}

TEST(Template, PrintsAsPython) {
  EXPECT_EQ(rendered("{{ a }}|{{ b }}|{{ c }}|{{ d }}", {{"a", true}, {"b", nullptr}, {"c", 1.0}, {"d", 3}}),
            "True|None|1.0|3");
  EXPECT_EQ(rendered("{{ l }}", {{"l", {"a", "it's", 2, "x\n"}}}), "['a', \"it's\", 2, 'x\\n']");
  EXPECT_EQ(rendered("a\n{% if true %}\nb\n{% endif %}\n", Json::object()), "a\n\nb\n\n");  // nothing is trimmed
}

TEST(Template, KnowsPythonMethods) {
  const Json row = {{"text", "Zwölf gelbe_Vögel "}, {"list", {"A", "B", "C"}}, {"answer", "C"}};
  EXPECT_EQ(rendered("{{ list.index(answer) }}", row), "2");
  EXPECT_EQ(rendered("{{ text.split('_')[0] ~ '|' ~ text.strip()[:-1] }}", row), "Zwölf gelbe|Zwölf gelbe_Vöge");
  EXPECT_EQ(rendered("{{ text.split(' ')[:-1] | join(' ') }}", row), "Zwölf gelbe_Vögel");
  EXPECT_EQ(rendered("{{ 'aB cD'.capitalize() }}", row), "Ab cd");
  EXPECT_EQ(rendered("{{ 'x [a] y [b]' | regex_replace('\\[.*?\\]', '') }}", row), "x  y ");
}

TEST(Template, GivesValuesOfExpressions) {
  const Json row = {{"choices", {{"text", {"x", "y"}}}}, {"n", 3}};
  EXPECT_EQ(evaluate_template("{{ choices.text }}", {row}, "t")[0], Json({"x", "y"}));
  EXPECT_EQ(evaluate_template(" {{ n + 1 }} ", {row}, "t")[0], 4);
  EXPECT_EQ(evaluate_template("{{ n }} and {{ n }}", {row}, "t")[0], "3 and 3");
}

TEST(Template, NamesRowAndReasonOfAFailure) {
  try {
    render_template("{{ question }}", {{{"question", "a"}}, {{"quest", "b"}}}, "task.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("row 2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("undefined"), std::string::npos) << error.what();
  }
  EXPECT_THROW(render_template("{{ open", {Json::object()}, "t"), Error);
  EXPECT_THROW(render_template("{% for i in range(100000000) %}x{% endfor %}", {Json::object()}, "t"), Error);
}

TEST(Template, ReadsListsOfPythonAndJson) {
  std::vector<std::string> items;
  EXPECT_TRUE(parse_python_list("['a', \"b's\", 3, 'n\\n']", items));
  EXPECT_EQ(items, (std::vector<std::string>{"a", "b's", "3", "n\n"}));
  EXPECT_TRUE(parse_python_list("[]", items));
  EXPECT_TRUE(items.empty());
  for (const char* bad : {"", "a", "['a", "[a]", "('a',)"}) EXPECT_FALSE(parse_python_list(bad, items)) << bad;
}

TEST(Regex, FindsAndReplacesAsPython) {
  using Matches = std::vector<std::vector<std::string>>;
  EXPECT_EQ(find_all("(-?[$0-9.,]{2,})|(-?[0-9]+)", "so 12 or -3"), (Matches{{"12", "12", ""}, {"-3", "", "-3"}}));
  EXPECT_EQ(find_all("(?<=a)b(?!c)", "abc ab"), (Matches{{"b"}}));
  EXPECT_EQ(replace_matches("(?s).*#### ", "", "a\nb #### 7"), "7");
  EXPECT_EQ(replace_matches("(a)(b)", "\\2\\1$", "ab"), "ba$");
  EXPECT_THROW(find_all("(", "x"), Error);
}

}  // namespace
}  // namespace ockham
