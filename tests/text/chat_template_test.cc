// Chat templates against the renderings of the reference package, and templates that misbehave.
#include <gtest/gtest.h>

#include "ockham/text/tokenizer.h"
#include "tests/io/scratch.h"
#include "tests/text/golden.h"

namespace ockham {
namespace {

class ChatTemplate : public ::testing::Test {
 protected:
  void SetUp() override {
    TokenizerTraining training;
    training.vocabulary = 258;
    training.special_tokens = {"<s>", "</s>"};
    train_tokenizer(std::vector<std::string>{"a b"}, training, scratch_.path());
    scratch_.put("special_tokens_map.json", R"({"bos_token": "<s>", "eos_token": "</s>"})");
  }
  std::string render(const std::string& source, const std::vector<ChatMessage>& messages, bool prompt = false) {
    scratch_.put("chat_template.jinja", source);
    return Tokenizer(scratch_.path()).render_chat(messages, prompt);
  }
  Scratch scratch_;
};

TEST_F(ChatTemplate, EqualsTheReferenceRendering) {
  const Json& cases = golden()["templates"];
  ASSERT_GE(cases.size(), 40u);
  for (const Json& item : cases) {
    std::vector<ChatMessage> messages;
    for (const Json& message : item["messages"]) messages.push_back({message["role"], message["content"]});
    EXPECT_EQ(render(item["template"], messages, item["add_generation_prompt"].get<bool>()),
              item["rendered"].get<std::string>())
        << item["name"];
  }
}

TEST_F(ChatTemplate, RefusalCarriesTheTemplatesOwnMessage) {
  const std::string text = error_text([&] {
    render("line\n{{ raise_exception('roles must alternate') }}", {{"user", "x"}});
  });
  EXPECT_TRUE(has(text, {"chat_template.jinja", "roles must alternate", "line 2"}));
}

TEST_F(ChatTemplate, BrokenTemplateNamesTheLine) {
  EXPECT_TRUE(has(error_text([&] { render("\n\n{% if %}", {{"user", "x"}}); }), {"chat_template.jinja", "line 3"}));
}

TEST_F(ChatTemplate, EndlessWorkIsStopped) {
  const std::string loop = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  EXPECT_TRUE(has(error_text([&] { render(loop, {{"user", "x"}}); }), {"fuel"}));
  const std::string recursion = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
  EXPECT_TRUE(has(error_text([&] { render(recursion, {{"user", "x"}}); }), {"recursion"}));
}

TEST_F(ChatTemplate, ToolsMayBeUndefinedOrNone) {
  EXPECT_EQ(render("{{ tools is defined }}", {{"user", "x"}}), "False");
  EXPECT_EQ(
      render("{% if not tools is defined %}{% set tools = none %}{% endif %}{{ tools is none }}", {{"user", "x"}}),
      "True");
}

TEST_F(ChatTemplate, DateCanBeFixed) {
  ::setenv("SOURCE_DATE_EPOCH", "86400", 1);
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", {{"user", "x"}}), "02 Jan 1970");
  EXPECT_TRUE(has(error_text([&] { render("{{ strftime_now('%Q') }}", {{"user", "x"}}); }), {"strftime_now", "%Q"}));
  ::unsetenv("SOURCE_DATE_EPOCH");
}

TEST_F(ChatTemplate, StandsInTokenizerConfigToo) {
  scratch_.put("tokenizer_config.json", R"({"chat_template": "one {{ messages[0].content }}"})");
  EXPECT_EQ(Tokenizer(scratch_.path()).render_chat(std::vector<ChatMessage>{{"user", "x"}}, false), "one x");
  scratch_.put("tokenizer_config.json",
               R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(Tokenizer(scratch_.path()).render_chat(std::vector<ChatMessage>{{"user", "x"}}, false), "d");
  scratch_.put("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"}]})");
  EXPECT_TRUE(has(error_text([&] { Tokenizer t(scratch_.path()); }), {"chat_template", "default"}));
  // The file of its own has precedence.
  EXPECT_EQ((scratch_.put("tokenizer_config.json", R"({"chat_template": "one"})"), render("two", {{"user", "x"}})),
            "two");
}

TEST_F(ChatTemplate, MessagesMustBeUtf8) {
  EXPECT_TRUE(has(error_text([&] { render("x", {{"user", "\xff"}}); }), {"UTF-8"}));
}

}  // namespace
}  // namespace ockham
