// Classifiers against logits of Hugging Face transformers (scripts/make_encoder_goldens.py), and broken ones.
#include "ockham/model/encoder.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

const std::vector<std::string> kNames = {"bert", "bert-relu", "bert-gelu_new", "roberta", "distilbert"};

Json golden_of(const std::string& name) {
  return read_json_file(fmt::format("{}/tests/model/encoders/{}.json", OCKHAM_SOURCE_DIR, name));
}

class EncoderTest : public testing::TestWithParam<std::string> {};

TEST_P(EncoderTest, LogitsOfTransformers) {
  const Json golden = golden_of(GetParam());
  test::ScratchDirectory scratch;
  test::write_family(golden, scratch.path());
  const EncoderClassifier classifier(scratch.path());
  std::vector<int64_t> flat;
  for (const Json& row : golden["ids"])
    for (const Json& id : row) flat.push_back(id.get<int64_t>());
  const Tensor ids = at::tensor(flat, at::kLong).view({2, -1});
  const int64_t tokens = ids.size(1), shorter = golden["short"].get<int64_t>();
  Tensor padding = at::zeros({2, tokens}, at::kBool);
  padding[1].narrow(0, shorter, tokens - shorter).fill_(true);
  const Tensor together = classifier.logits(ids, padding), first = classifier.logits(ids.narrow(0, 0, 1)),
               second = classifier.logits(ids.narrow(0, 1, 1).narrow(1, 0, shorter));
  for (int64_t row = 0; row < 2; ++row) {
    const auto wanted = golden["logits"][static_cast<size_t>(row)].get<std::vector<double>>();
    ASSERT_EQ(together.size(1), static_cast<int64_t>(wanted.size()));
    for (size_t i = 0; i < wanted.size(); ++i) {
      const auto column = static_cast<int64_t>(i);
      EXPECT_NEAR(together[row][column].item<double>(), wanted[i], 1e-4);
      EXPECT_NEAR((row == 0 ? first : second)[0][column].item<double>(), wanted[i], 1e-4) << "without padding";
    }
  }
}

TEST_P(EncoderTest, AMissingTensorIsNamed) {
  Json golden = golden_of(GetParam());
  for (const size_t left_out : {size_t{0}, golden["tensors"].size() / 2, golden["tensors"].size() - 1}) {
    Json broken = golden;
    const std::string name = broken["tensors"][left_out]["name"];
    broken["tensors"].erase(left_out);
    test::ScratchDirectory scratch;
    test::write_family(broken, scratch.path());
    try {
      EncoderClassifier classifier(scratch.path());
      ADD_FAILURE() << "opened without " << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, EncoderTest, testing::ValuesIn(kNames),
                         [](const auto& name) { return test::test_name(name.param); });

TEST(Encoder, LongTextsAndStrangeIdsAreRefused) {
  test::ScratchDirectory scratch;
  test::write_family(golden_of("roberta"), scratch.path());
  const EncoderClassifier classifier(scratch.path());
  EXPECT_EQ(classifier.config().context_length(), 22);
  EXPECT_NO_THROW(classifier.logits(at::full({1, 22}, 5, at::kLong)));
  EXPECT_THROW(classifier.logits(at::full({1, 23}, 5, at::kLong)), Error);
  EXPECT_THROW(classifier.logits(at::full({1, 3}, 32, at::kLong)), Error);
  EXPECT_THROW(classifier.logits(at::full({1, 3}, -1, at::kLong)), Error);
}

TEST(Encoder, ConfigsThatCannotBeReadAreRefused) {
  const Json good = golden_of("bert")["config"];
  const auto refused = [&](const char* key, const Json& value, const char* said) {
    Json config = good;
    config[key] = value;
    try {
      EncoderConfig::parse(config, "config.json");
      ADD_FAILURE() << key << " " << value;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(said), std::string::npos) << error.what();
    }
  };
  refused("model_type", "llama", "bert, distilbert or roberta");
  refused("hidden_act", "swish", "gelu");
  refused("num_attention_heads", 3, "3 heads");
  refused("num_hidden_layers", 0, "num_hidden_layers");
  refused("hidden_size", "wide", "hidden_size");
  refused("vocab_size", int64_t{1} << 40, "vocab_size");
  refused("position_embedding_type", "relative_key", "absolute");
  refused("id2label", Json::object({{"0", "a"}, {"2", "b"}}), "id2label");
  refused("id2label", Json::array(), "id2label");
  refused("problem_type", "regression", "regression");
  EXPECT_EQ(EncoderConfig::parse(good, "c").labels, (std::vector<std::string>{"toxic", "severe_toxic", "insult"}));
  EXPECT_TRUE(EncoderConfig::parse(good, "c").is_multi_label);
}

TEST(Encoder, FoldersWithoutTheirFilesAreRefused) {
  test::ScratchDirectory scratch;
  EXPECT_THROW(EncoderClassifier(scratch.path("nothing")), Error);
  EXPECT_THROW(EncoderClassifier(scratch.path()), Error);
  test::write_family(golden_of("bert"), scratch.path());
  std::filesystem::remove(scratch.path("model.safetensors"));
  EXPECT_THROW(EncoderClassifier(scratch.path()), Error);
}

}  // namespace
}  // namespace ockham
