// Literals of Python sources: what is read, and what is refused.
#include "ockham/io/python_literals.h"

#include <gtest/gtest.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

Json value(const std::string& text, const std::string& name = "x", const std::string& after = "", size_t nth = 0) {
  return PythonSource(text, "made.py").value(name, after, nth);
}

TEST(PythonLiterals, Texts) {
  EXPECT_EQ(value("x = 'a' \"b\"\n"), "ab");
  EXPECT_EQ(value("x = 'a' \\\n    'b'\n"), "ab");
  EXPECT_EQ(value("x = 'it\\'s' + \" \\u201c\\n\\x41\\%\"\n"), "it's \xE2\x80\x9C\nA\\%");
  EXPECT_EQ(value("x = r'\\n'\n"), "\\n");
  EXPECT_EQ(value("x = '''a\n  b'''\n"), "a\n  b");
  EXPECT_EQ(value("x = ''\n"), "");
  EXPECT_EQ(value("x = \"\"\"\"\"\"\n"), "");
  EXPECT_EQ(value("N = {'k': 'v'}\nx = f\"{N['k']}: {{}}\"\n"), "v: {}");
  PythonSource source("x = f'to {person}'\n", "made.py");
  source.substitute("person", "{4}");
  EXPECT_EQ(source.value("x"), "to {4}");
}

TEST(PythonLiterals, Containers) {
  EXPECT_EQ(value("x = [1, -2.5, None, True,  # remark\n  ('a', 'b'), ('c'),\n]\n"),
            Json::parse(R"([1, -2.5, null, true, ["a", "b"], "c"])"));
  EXPECT_EQ(value("x = {1: 'a', 'b': {'c': []}}\n"), Json::parse(R"({"1": "a", "b": {"c": []}})"));
  EXPECT_EQ(value("A = ['p']\nx = A + ['q' 'r'] + ['u: ' + p for p in A]\n"), Json::parse(R"(["p", "qr", "u: p"])"));
  EXPECT_EQ(value("D = {'a': ['m', 'n']}\nx = D['a'][1]\n"), "n");
}

TEST(PythonLiterals, PlacesOfAssignments) {
  const std::string text =
      "x == 'no'\nself.x = 'no'\ndef f():\n  x = 'first'\n  xx = 'no'\n  x = 'second'\ndef g():\n  x = 'third'\n";
  EXPECT_EQ(value(text), "first");
  EXPECT_EQ(value(text, "x", "def f", 1), "second");
  EXPECT_EQ(value(text, "x", "def g"), "third");
  const auto dicts = PythonSource(
                         "def f():\n  a = {'no': 1}\n  b = {\"role\": \"r\", \"content\": \"c\"}\n"
                         "  c = {\"role\": \"r\", \"content\": y[0]}\ndef g():\n  d = {\"role\": \"late\"}\n",
                         "made.py")
                         .dicts("role", "def f", "def g");
  ASSERT_EQ(dicts.size(), 1U);
  EXPECT_EQ(dicts[0]["content"], "c");
}

TEST(PythonLiterals, AnythingElseIsRefusedWithItsLine) {
  for (const char* text :
       {"x = call()\n", "x = [1\n", "x = 'open\n", "x = {'a' 1}\n", "x = y\n", "x = x\n", "x = 'a' + 1\n",
        "x = f'{unknown}'\n", "x =\n", "x = ''' open\n", "y = 1\n", "x = ['a' + F # comment at the end",
        "x = {['\xff']: 1}\n", "D = {1: 2}\nx = D[['\xff']]\n"}) {
    try {
      value(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInput);
      EXPECT_NE(std::string(error.what()).find("made.py"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(value("x = " + std::string(100000, '[')), Error);
  EXPECT_THROW(value("a = b\nb = a\nx = a\n"), Error);
}

}  // namespace
}  // namespace ockham
