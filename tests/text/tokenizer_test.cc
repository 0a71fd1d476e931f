// Encoding and decoding against ids of the reference package, and what a model directory must hold.
#include "ockham/text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "ockham/core/parallel.h"
#include "ockham/io/file.h"
#include "tests/io/scratch.h"
#include "tests/test_data.h"
#include "tests/text/golden.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

class Stories260kTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = test_data() + "/models/stories260K";
    if (!fs::exists(directory_ + "/tokenizer.json")) GTEST_SKIP() << "no test data: set OCKHAM_TEST_DATA";
  }
  std::string directory_;
};

void expect_cases(const Tokenizer& tokenizer, const Json& cases) {
  ASSERT_GE(cases.size(), 5u);
  for (const Json& item : cases) {
    const auto text = item["text"].get<std::string>();
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text, true), ids) << text;
    EXPECT_EQ(tokenizer.encode(text, false, false), item["literal_ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, true), item["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, false), item["decoded_special"].get<std::string>());
  }
}

TEST_F(Stories260kTokenizer, EqualsTheReferencePackage) {
  expect_cases(Tokenizer(directory_), golden()["stories260k"]);
}

TEST_F(Stories260kTokenizer, KnowsItsSpecialTokens) {
  const Tokenizer tokenizer(directory_);
  EXPECT_EQ(tokenizer.vocabulary_size(), 512);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_ids(), std::vector<int32_t>{2});
  EXPECT_EQ(tokenizer.token_id("</s>"), 2);
  EXPECT_EQ(tokenizer.token_id("no such token"), std::nullopt);
  EXPECT_FALSE(tokenizer.has_chat_template());
  EXPECT_TRUE(has(error_text([&] { tokenizer.render_chat({}, true); }), {"stories260K", "chat template", "expected"}));
}

TEST_F(Stories260kTokenizer, LiteralSpecialTokensStayTextAndRoundTrip) {
  const Tokenizer tokenizer(directory_);
  const std::string text = "a </s> b <s>";
  const std::vector<int32_t> ids = tokenizer.encode(text, false, false);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0);
  EXPECT_EQ(tokenizer.decode(ids, true), text);
}

TEST_F(Stories260kTokenizer, BatchAndThreadsGiveTheSameIds) {
  const Tokenizer tokenizer(directory_);
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back("Lily has " + std::to_string(i * 37) + " red balls and a cat");
  set_thread_count(4);
  const std::vector<std::vector<int32_t>> batch = tokenizer.encode_batch(texts, true);
  set_thread_count(0);
  ASSERT_EQ(batch.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(batch[i], tokenizer.encode(texts[i], true));
}

TEST_F(Stories260kTokenizer, RefusesWhatIsNotText) {
  const Tokenizer tokenizer(directory_);
  EXPECT_TRUE(has(error_text([&] { tokenizer.encode("abc\xff", true); }), {"UTF-8", "byte 3"}));
  const std::vector<int32_t> negative = {1, -5};
  EXPECT_TRUE(has(error_text([&] { static_cast<void>(tokenizer.decode(negative, true)); }), {"negative"}));
}

TEST_F(Stories260kTokenizer, ReadsEndOfSequenceIdsInOrderOfTheFiles) {
  const Scratch scratch;
  fs::copy_file(directory_ + "/tokenizer.json", scratch.file("tokenizer.json"));
  EXPECT_TRUE(Tokenizer(scratch.path()).eos_ids().empty());
  EXPECT_EQ(Tokenizer(scratch.path()).bos_id(), std::nullopt);
  scratch.put("special_tokens_map.json", R"({"eos_token": {"content": "</s>"}, "bos_token": "<s>"})");
  EXPECT_EQ(Tokenizer(scratch.path()).eos_ids(), std::vector<int32_t>{2});
  EXPECT_EQ(Tokenizer(scratch.path()).bos_id(), 1);
  scratch.put("config.json", R"({"eos_token_id": 7, "bos_token_id": 9})");
  EXPECT_EQ(Tokenizer(scratch.path()).eos_ids(), std::vector<int32_t>{7});
  scratch.put("generation_config.json", R"({"eos_token_id": [5, 6]})");
  EXPECT_EQ(Tokenizer(scratch.path()).eos_ids(), (std::vector<int32_t>{5, 6}));
  scratch.put("generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_TRUE(
      has(error_text([&] { Tokenizer broken(scratch.path()); }), {"generation_config.json", "eos_token_id", "\"x\""}));
}

TEST(TokenizerFiles, ErrorsNameTheFileAndTheRemedy) {
  const Scratch scratch;
  EXPECT_TRUE(has(error_text([&] { Tokenizer t(scratch.path()); }), {"tokenizer.json", "missing", "copy it"}));
  scratch.put("tokenizer.model", "x");
  EXPECT_TRUE(has(error_text([&] { Tokenizer t(scratch.path()); }), {"tokenizer.json", "save_pretrained"}));
  scratch.put("tokenizer.json", R"({"version": "1.0", "model": {"type": "Nonsense"}})");
  EXPECT_TRUE(has(error_text([&] { Tokenizer t(scratch.path()); }), {"tokenizer.json", "is not a tokenizer"}));
  scratch.put("tokenizer.json", "not json");
  EXPECT_TRUE(has(error_text([&] { Tokenizer t(scratch.path()); }), {"tokenizer.json", "is not a tokenizer"}));
}

class TrainedTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    training_.vocabulary = recipe_["vocabulary"].get<int64_t>();
    training_.special_tokens = recipe_["special_tokens"].get<std::vector<std::string>>();
    training_.bos = "<s>";
    texts_ = recipe_["corpus"].get<std::vector<std::string>>();
  }
  const Json& recipe_ = golden()["training"];
  TokenizerTraining training_;
  std::vector<std::string> texts_;
  Scratch scratch_;
};

TEST_F(TrainedTokenizer, EqualsTheReferenceTrainer) {
  train_tokenizer(texts_, training_, scratch_.path());
  const Tokenizer tokenizer(scratch_.path());
  EXPECT_EQ(tokenizer.vocabulary_size(), training_.vocabulary);
  EXPECT_EQ(tokenizer.token_id("<|user|>"), 2);
  expect_cases(tokenizer, recipe_["cases"]);
}

TEST_F(TrainedTokenizer, SameTextsGiveTheSameFile) {
  // Words enough that a dependence on hash order would show.
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    texts.push_back(
        fmt::format("entity{} lives in place{} since {} and likes thing{}.", i % 91, i % 47, 1900 + i, i % 13));
  }
  training_.vocabulary = 700;
  train_tokenizer(texts, training_, scratch_.path());
  const std::string first = read_file(scratch_.file("tokenizer.json"));
  for (int i = 0; i < 4; ++i) {
    train_tokenizer(texts, training_, scratch_.path());
    EXPECT_EQ(read_file(scratch_.file("tokenizer.json")), first);
  }
}

TEST_F(TrainedTokenizer, EveryByteCanBeEncoded) {
  train_tokenizer(texts_, training_, scratch_.path());
  const Tokenizer tokenizer(scratch_.path());
  const std::string text = "\x01\x7f tab\t \xC2\x80 \xF4\x8F\xBF\xBF end";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, true), true), text);
}

TEST_F(TrainedTokenizer, RefusesAnImpossibleTraining) {
  training_.vocabulary = 100;
  EXPECT_TRUE(has(error_text([&] { train_tokenizer(texts_, training_, scratch_.path()); }), {"100", "259"}));
  training_.vocabulary = 300;
  training_.bos = "<other>";
  EXPECT_TRUE(has(error_text([&] { train_tokenizer(texts_, training_, scratch_.path()); }), {"<other>"}));
  EXPECT_TRUE(scratch_.names().empty());
}

}  // namespace
}  // namespace ockham
