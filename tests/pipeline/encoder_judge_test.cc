// A classifier as toxicity judge: from text to the probability that transformers gives, and which label is meant.
#include "ockham/pipeline/encoder_judge.h"

#include "ockham/core/error.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

Json write_judge(const std::string& name, const std::string& directory) {
  const Json golden = read_json_file(fmt::format("{}/tests/model/encoders/{}.json", OCKHAM_SOURCE_DIR, name));
  test::write_family(golden, directory);
  test::write_text(directory + "/tokenizer.json", golden["tokenizer"].dump());
  return golden;
}

TEST(EncoderJudge, ProbabilitiesOfTransformers) {
  for (const char* name : {"bert", "bert-relu", "bert-gelu_new", "roberta", "distilbert"}) {
    test::ScratchDirectory scratch;
    const Json golden = write_judge(name, scratch.path());
    const size_t labels = golden["scores"][0][1].size();
    for (size_t label = 0; label < labels; ++label) {
      const EncoderJudge judge(scratch.path(), std::to_string(label));
      for (const Json& entry : golden["scores"])
        EXPECT_NEAR(judge.score(entry[0].get<std::string>()), entry[1][label].get<double>(), 1e-5)
            << name << " " << label << " " << entry[0];
    }
  }
}

TEST(EncoderJudge, SaysWhoJudged) {
  test::ScratchDirectory scratch;
  std::filesystem::create_directory(scratch.path("my-judge"));
  write_judge("bert", scratch.path("my-judge"));
  const EncoderJudge judge(scratch.path("my-judge/"), "");
  EXPECT_EQ(judge.label().find("classifier my-judge "), 0U) << judge.label();
  EXPECT_NE(judge.label().find("(label toxic)"), std::string::npos) << judge.label();
  EXPECT_NE(EncoderJudge(scratch.path("my-judge"), "insult").label(), judge.label());
}

TEST(EncoderJudge, TheLabelMeantIsFoundOrAskedFor) {
  const auto choose = [](const std::vector<std::string>& labels, const std::string& wanted) {
    return choose_label(labels, wanted, "judge");
  };
  EXPECT_EQ(choose({"identity_attack", "severe_toxicity", "toxicity"}, ""), 2U);
  EXPECT_EQ(choose({"non-toxic", "TOXIC"}, ""), 1U);
  EXPECT_EQ(choose({"not toxic", "very toxic"}, ""), 1U);
  EXPECT_EQ(choose({"LABEL_0", "LABEL_1"}, "1"), 1U);
  EXPECT_EQ(choose({"a", "hate"}, "hate"), 1U);
  EXPECT_THROW(choose({"LABEL_0", "LABEL_1"}, ""), Error);
  EXPECT_THROW(choose({"mildly toxic", "very toxic"}, ""), Error);
  EXPECT_THROW(choose({"a", "b"}, "2"), Error);
  EXPECT_THROW(choose({"a", "b"}, "c"), Error);
}

TEST(EncoderJudge, BrokenJudgesAreRefused) {
  test::ScratchDirectory scratch;
  EXPECT_THROW(EncoderJudge(scratch.path(), ""), Error);
  Json golden = write_judge("bert", scratch.path());
  golden["tokenizer"]["model"]["vocab"]["strange"] = 40;
  test::write_text(scratch.path("tokenizer.json"), golden["tokenizer"].dump());
  EXPECT_THROW(EncoderJudge(scratch.path(), "").score("strange"), Error);
}

}  // namespace
}  // namespace ockham
