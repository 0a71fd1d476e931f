// Generation within a grammar: which tokens may come, and that what comes is always valid.
#include "ockham/runtime/constraint.h"

#include <cmath>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/runtime/scheduler.h"
#include "ockham/text/json_grammar.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

std::shared_ptr<const TokenTrie> trie_of(const std::vector<std::string>& tokens) {
  return std::make_shared<const TokenTrie>(tokens, static_cast<int64_t>(tokens.size()));
}

std::shared_ptr<const TokenTrie> trie_of_model(const std::string& path) {
  const Tokenizer tokenizer(path);
  return std::make_shared<const TokenTrie>(tokenizer.all_token_bytes(), tokenizer.vocabulary_size());
}

std::shared_ptr<TokenGrammar> token_grammar(const std::string& gbnf, const std::shared_ptr<const TokenTrie>& trie) {
  return std::make_shared<TokenGrammar>(parse_grammar(gbnf, "g"), trie, "g");
}

std::vector<int32_t> allowed_ids(TokenConstraint& constraint) {
  std::vector<int32_t> ids;
  const TokenMask& mask = constraint.mask();
  for (size_t id = 0; id < mask.size() * 64; ++id)
    if (mask[id / 64] >> id % 64 & 1) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

TEST(TokenBytes, ByteLevelAndByteFallback) {
  const Tokenizer byte_level(test::mini());
  const std::vector<std::string> bytes = byte_level.all_token_bytes();
  const std::string text = "who said \"é€😀\"?\n\t{}";
  std::string joined;
  for (const int32_t id : byte_level.encode(text, false, false)) joined += bytes[static_cast<size_t>(id)];
  EXPECT_EQ(joined, text);
  for (const int32_t id : byte_level.eos_ids()) EXPECT_EQ(bytes[static_cast<size_t>(id)], "");
  if (!test::has_stories()) GTEST_SKIP() << "no models/stories260K in the test data";
  const Tokenizer fallback(test::stories());
  const std::vector<std::string> pieces = fallback.all_token_bytes();
  joined.clear();
  for (const int32_t id : fallback.encode(text, false, false)) joined += pieces[static_cast<size_t>(id)];
  EXPECT_EQ(joined, " " + text);  // the blank before a first word
}

// "b" is no token, so a text that has come to "a" could not go on.
TEST(TokenConstraint, WhatTheVocabularyCannotSpellIsRefused) {
  const auto trie = trie_of({"a", "ab", "1"});
  EXPECT_THROW(token_grammar("root ::= \"a\" \"b\"", trie), Error);
  TokenConstraint constraint(token_grammar("root ::= \"a\" \"b\" | \"1\" [b0-9]*", trie));
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{2}));
}

// Tokens end within literals, classes and characters, and behind several of them.
TEST(TokenConstraint, TokensOverSeveralElements) {
  std::vector<std::string> tokens = {"a", "b", "1", "x", "\xC3", "\xA9", "ab", "b1x", "abé", "\xA9x", "xx", ""};
  const auto trie = trie_of(tokens);
  TokenConstraint constraint(token_grammar("root ::= \"a\" \"b\" (\"é\" | [0-9]) \"x\"?", trie));
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{0, 6, 8}));
  EXPECT_FALSE(constraint.advance(1));
  EXPECT_TRUE(constraint.advance(0));
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{1, 7}));
  EXPECT_TRUE(constraint.advance(1));
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{2, 4}));
  EXPECT_TRUE(constraint.advance(4));
  EXPECT_FALSE(constraint.is_accepting());
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{5, 9}));
  EXPECT_TRUE(constraint.advance(5));
  EXPECT_TRUE(constraint.is_accepting());
  EXPECT_FALSE(constraint.is_complete());
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{3}));
  EXPECT_TRUE(constraint.advance(3));
  EXPECT_TRUE(constraint.is_complete());
  EXPECT_EQ(allowed_ids(constraint), (std::vector<int32_t>{}));
  for (const int32_t id : {0, 11, 12, -1}) EXPECT_FALSE(constraint.advance(id)) << id;
}

// Every bit of every mask along a text against the token's bytes alone; also where all is forgotten at every step.
TEST(TokenConstraint, MasksAreWhatTheMatcherSays) {
  const auto trie = trie_of_model(test::mini());
  const Json schema =
      parse_json(R"({"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "number"},
      "l": {"type": "array", "items": {"enum": ["the mayor", "thé"]}}}, "required": ["who", "n", "l"]})",
                 "s");
  const Grammar grammar = json_schema_grammar(schema, "s");
  const Tokenizer tokenizer(test::mini());
  const std::string text = R"({"who": "the mäyor of \"Ardel\"", "n": -10.5e3, "l": ["thé","the mayor"]})";
  GrammarMatcher matcher(compile_grammar(grammar, trie->single_bytes(), "s"));
  for (const size_t most_bytes : {size_t{1} << 30, size_t{1}}) {
    TokenConstraint constraint(std::make_shared<TokenGrammar>(grammar, trie, "s", most_bytes));
    int32_t state = matcher.start();
    for (const int32_t token : tokenizer.encode(text, false, false)) {
      const TokenMask& mask = constraint.mask();
      for (int32_t id = 0; id < static_cast<int32_t>(trie->vocabulary()); ++id) {
        int32_t next = state;
        for (const char c : trie->bytes(id))
          if (next != GrammarMatcher::kDead) next = matcher.next(next, static_cast<uint8_t>(c));
        const bool is_allowed = !trie->bytes(id).empty() && next != GrammarMatcher::kDead;
        ASSERT_EQ((mask[static_cast<size_t>(id) / 64] >> id % 64 & 1) != 0, is_allowed) << id;
        ASSERT_TRUE(is_allowed || id != token) << trie->bytes(id);
      }
      for (const char c : trie->bytes(token)) state = matcher.next(state, static_cast<uint8_t>(c));
      ASSERT_TRUE(constraint.advance(token));
    }
    EXPECT_TRUE(constraint.is_complete());
  }
}

// Whether a value is one of a schema's; of the keywords that random_schema() writes.
bool is_valid(const Json& value, const Json& schema, const Json& root) {
  if (schema.contains("$ref"))
    return is_valid(value, root.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), root);
  if (schema.contains("anyOf"))
    return std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                       [&](const Json& s) { return is_valid(value, s, root); });
  if (schema.contains("enum"))
    return std::find(schema["enum"].begin(), schema["enum"].end(), value) != schema["enum"].end();
  const std::string type = schema.value("type", "");
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "string") {
    if (!value.is_string()) return false;
    const auto text = value.get<std::string>();
    const auto length = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
    return length >= schema.value("minLength", 0) && length <= schema.value("maxLength", 1 << 30);
  }
  if (type == "array") {
    const auto size = static_cast<int64_t>(value.size());
    return value.is_array() && size >= schema.value("minItems", 0) && size <= schema.value("maxItems", 1 << 30) &&
           std::all_of(value.begin(), value.end(),
                       [&](const Json& item) { return is_valid(item, schema["items"], root); });
  }
  if (!value.is_object()) return false;
  for (const Json& name : schema["required"])
    if (!value.contains(name.get<std::string>())) return false;
  for (const auto& [name, own] : value.items())
    if (!schema["properties"].contains(name) || !is_valid(own, schema["properties"][name], root)) return false;
  return true;
}

Json random_schema(Rng& rng, int depth) {
  const auto below = [&rng](int limit) { return static_cast<int>(rng.uniform() * limit); };
  const char* const scalars[] = {"integer", "number", "boolean", "null", "string"};
  switch (below(depth > 0 ? 10 : 6)) {
    case 5:
      return {{"enum", Json::array({"é\"\\", below(1000), nullptr, Json::array({true}), "the mayor"})}};
    case 6:
      return {{"anyOf", Json::array({random_schema(rng, depth - 1), random_schema(rng, depth - 1)})}};
    case 7: {
      const int least = below(3);
      return {{"type", "array"},
              {"items", random_schema(rng, depth - 1)},
              {"minItems", least},
              {"maxItems", least + below(3)}};
    }
    case 8:
    case 9: {
      Json schema = {{"type", "object"},
                     {"properties", Json::object()},
                     {"required", Json::array()},
                     {"additionalProperties", false}};
      for (int i = below(5); i > 0; --i) {
        const std::string name = "k" + std::to_string(i) + (i == 2 ? "\n\"ü" : "");
        schema["properties"][name] = below(6) == 0 ? Json{{"$ref", "#/$defs/d"}} : random_schema(rng, depth - 1);
        if (below(2) == 0) schema["required"].push_back(name);
      }
      return schema;
    }
    default:
      break;
  }
  Json schema = {{"type", scalars[below(5)]}};
  if (schema["type"] == "string" && below(2) == 0)
    schema.update({{"minLength", below(3)}, {"maxLength", 3 + below(5)}});
  return schema;
}

// A text from logits that mean nothing, with a liking for what ends strings, lists and objects.
std::string random_text(std::shared_ptr<TokenGrammar> grammar, Sampler& sampler, const std::vector<int32_t>& ends,
                        uint64_t seed) {
  Rng rng(seed);
  const TokenTrie& trie = grammar->trie();
  TokenConstraint constraint(std::move(grammar));
  std::vector<float> logits(static_cast<size_t>(trie.vocabulary()));
  std::string text;
  for (int tokens = 0; tokens < 4000 && !constraint.is_complete(); ++tokens) {
    for (size_t id = 0; id < logits.size(); ++id) {
      const std::string& bytes = trie.bytes(static_cast<int32_t>(id));
      const bool ends_something = bytes == "\"" || bytes == "}" || bytes == "]";
      logits[id] = static_cast<float>(3 * rng.uniform() + (ends_something ? 6 : 0));
    }
    const AllowedTokens allowed{constraint.mask(), ends, constraint.is_accepting()};
    const SampledToken token = sampler.sample(logits.data(), {.temperature = 1}, {}, rng, false, allowed);
    if (std::find(ends.begin(), ends.end(), token.id) != ends.end()) {
      EXPECT_TRUE(constraint.is_accepting());
      return text;
    }
    EXPECT_TRUE(constraint.advance(token.id));
    text += trie.bytes(token.id);
  }
  EXPECT_TRUE(constraint.is_complete()) << text;
  return text;
}

void expect_valid_texts(const std::string& model, int schemas) {
  const auto trie = trie_of_model(model);
  const std::vector<int32_t> ends = Tokenizer(model).eos_ids();
  Sampler sampler(trie->vocabulary());
  Rng rng(5);
  size_t characters = 0;
  for (int i = 0; i < schemas; ++i) {
    Json schema = random_schema(rng, 3);
    schema["$defs"]["d"] = {
        {"type", "object"},
        {"properties", {{"next", {{"anyOf", Json::array({{{"$ref", "#/$defs/d"}}, {{"type", "null"}}})}}}}},
        {"required", Json::array({"next"})}};
    const auto grammar = std::make_shared<TokenGrammar>(json_schema_grammar(schema, "s"), trie, "s");
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const std::string text = random_text(grammar, sampler, ends, seed);
      characters += text.size();
      const Json value = parse_json(text, "written");
      ASSERT_TRUE(is_valid(value, schema, schema)) << schema.dump() << "\n" << text;
    }
  }
  EXPECT_GT(characters, 10u * static_cast<size_t>(schemas));  // not only short ones
}

TEST(TokenConstraint, RandomTokensAlwaysWriteValidJson) {
  expect_valid_texts(test::mini(), 60);
}

TEST(TokenConstraint, RandomTokensOfAVocabularyWithByteFallback) {
  if (!test::has_stories()) GTEST_SKIP() << "no models/stories260K in the test data";
  expect_valid_texts(test::stories(), 60);
}

TEST(TokenConstraint, AnyObject) {
  const auto trie = trie_of_model(test::mini());
  const auto grammar = std::make_shared<TokenGrammar>(json_object_grammar(), trie, "o");
  Sampler sampler(trie->vocabulary());
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string text = random_text(grammar, sampler, Tokenizer(test::mini()).eos_ids(), seed);
    EXPECT_TRUE(parse_json(text, "written").is_object()) << text;
  }
}

TEST(Sampler, AConstraintHoldsWithEverySetting) {
  Sampler sampler(100);
  std::vector<float> logits(100);
  for (size_t id = 0; id < 100; ++id) logits[id] = static_cast<float>(id);
  const TokenMask mask = {uint64_t{1} << 3 | uint64_t{1} << 40, 0};
  const std::vector<int32_t> ends = {90, 40};
  Rng rng(1);
  for (const SamplerSettings& settings :
       {SamplerSettings{}, SamplerSettings{.temperature = 1}, SamplerSettings{.temperature = 5, .top_k = 50},
        SamplerSettings{.temperature = 5, .top_p = 0.9}, SamplerSettings{.temperature = 5, .min_p = 0.01},
        SamplerSettings{.repetition_penalty = 2}}) {
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(sampler.sample(logits.data(), settings, {}, rng, false, {mask, ends, false}).id, 3);
      const int32_t id = sampler.sample(logits.data(), settings, {}, rng, false, {mask, ends, true}).id;
      EXPECT_TRUE(id == 3 || id == 90) << id;
    }
  }
}

struct Written {
  std::vector<int32_t> ids;
  FinishReason reason = FinishReason::kStopped;
};

std::vector<Written> generate(NativeLanguageModel& model, const std::shared_ptr<TokenGrammar>& grammar, bool together,
                              int64_t most) {
  std::vector<Written> written(8);
  std::unique_ptr<Scheduler> scheduler = std::make_unique<Scheduler>(model.engine());
  for (size_t i = 0; i < written.size(); ++i) {
    GenerationRequest request;
    request.prompt = model.encode({"who is the mayor of number " + std::to_string(i), false});
    request.max_tokens = most;
    request.sampler = {.temperature = 1.2};
    request.seed = i;
    request.stop_ids = model.tokenizer().eos_ids();
    if (i != 5) request.grammar = grammar;
    request.on_token = [&out = written[i]](const SampledToken& token) {
      out.ids.push_back(token.id);
      return true;
    };
    request.on_finish = [&out = written[i]](FinishReason reason, int64_t) { out.reason = reason; };
    scheduler->add(std::move(request));
    if (!together) scheduler->run();
  }
  scheduler->run();
  return written;
}

TEST(Scheduler, ConstrainedTextsAreTheSameAloneAndTogether) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options(2)});
  const Json schema = parse_json(R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 20},
      "age": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 4}}, "required": ["name", "age"]})",
                                 "s");
  const auto grammar = model.constrain(json_schema_grammar(schema, "s"), "s");
  const std::vector<Written> alone = generate(model, grammar, false, 120),
                             together =
                                 generate(model, model.constrain(json_schema_grammar(schema, "s"), "s"), true, 120);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].ids, together[i].ids) << i;
    EXPECT_EQ(alone[i].reason, together[i].reason) << i;
    if (i == 5) continue;
    EXPECT_EQ(alone[i].reason, FinishReason::kEndToken) << i;
    const Json value = parse_json(generated_text(model.tokenizer(), {}, alone[i].ids), "written");
    EXPECT_TRUE(value.at("name").is_string() && value.at("age").is_number_integer()) << value.dump();
  }
  for (const Written& cut : generate(model, grammar, true, 4)) EXPECT_EQ(cut.reason, FinishReason::kLimit);
}

TEST(NativeLanguageModel, GrammarsThatItsTokensCannotWriteAreRefused) {
  NativeLanguageModel model(test::mini(), {.engine = test::small_options(1)});
  EXPECT_THROW(model.constrain(parse_grammar("root ::= \"a\" root", "g"), "g"), Error);
  EXPECT_NE(model.constrain(parse_grammar("root ::= \"a\" root | \"é\"", "g"), "g"), nullptr);
}

}  // namespace
}  // namespace ockham
