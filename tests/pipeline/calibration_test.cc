// Drawing of calibration sequences from files of ids and from texts.
#include "ockham/pipeline/calibration.h"

#include "ockham/core/error.h"
#include "ockham/io/npy.h"
#include "ockham/text/tokenizer.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

std::vector<std::vector<int32_t>> counted_rows(int32_t rows, int32_t tokens) {
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(rows));
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t token = 0; token < tokens; ++token) ids[static_cast<size_t>(row)].push_back((row + token) % 40);
  }
  return ids;
}

CalibrationSpec spec_of(const std::string& data, int64_t samples, int64_t tokens, uint64_t seed) {
  CalibrationSpec spec;
  spec.data = data;
  spec.samples = samples;
  spec.tokens = tokens;
  spec.seed = seed;
  return spec;
}

TEST(Calibration, IdsAreUsedAsTheyAre) {
  const test::ScratchDirectory scratch;
  const std::string path = scratch.path("ids.npy");
  write_token_ids_npy(path, counted_rows(6, 10));
  const Calibration all = draw_calibration(spec_of(path, 128, 4, 5), test::tiny_config(), "", {});
  EXPECT_EQ(all.ids.size(0), 6);
  EXPECT_EQ(all.ids.size(1), 10);
  EXPECT_EQ(all.ids[2][3].item<int64_t>(), 5);
  EXPECT_EQ(all.data_sha256.size(), 64U);

  const auto first_ids = [&](uint64_t seed) {
    return draw_calibration(spec_of(path, 3, 4, seed), test::tiny_config(), "", {}).ids.select(1, 0).clone();
  };
  EXPECT_TRUE(at::equal(first_ids(1), first_ids(1)));
  bool differs = false;
  for (uint64_t seed = 2; seed < 8; ++seed) differs = differs || !at::equal(first_ids(1), first_ids(seed));
  EXPECT_TRUE(differs);
}

TEST(Calibration, BadDataIsNamed) {
  const test::ScratchDirectory scratch;
  const std::string path = scratch.path("ids.npy");
  write_token_ids_npy(path, {{1, 2, 40}});
  const auto message = [&](const CalibrationSpec& spec) -> std::string {
    try {
      draw_calibration(spec, test::tiny_config(), "", {});
    } catch (const Error& error) {
      return exit_code(error.kind()) == 2 ? error.what() : "";
    }
    return "";
  };
  EXPECT_NE(message(spec_of(path, 1, 1, 0)).find("token id 40"), std::string::npos);
  EXPECT_NE(message(spec_of("", 1, 1, 0)).find("--calibration"), std::string::npos);
  EXPECT_NE(message(spec_of("ghost.txt", 1, 1, 0)).find("ghost.txt"), std::string::npos);
  write_token_ids_npy(path, {std::vector<int32_t>(65, 1)});
  EXPECT_NE(message(spec_of(path, 1, 1, 0)).find("65 tokens"), std::string::npos);
}

TEST(Calibration, WindowsComeFromLongDocumentsOrFromAllJoined) {
  OCKHAM_REQUIRE_DATA(test::stories());
  const test::ScratchDirectory scratch;
  std::string story;
  for (int i = 0; i < 80; ++i) story += "Once upon a time there was a little dog. ";
  test::write_text(scratch.path("one.txt"), story);
  const ModelConfig config = Checkpoint(test::stories()).config();
  const Calibration one = draw_calibration(spec_of(scratch.path("one.txt"), 8, 32, 0), config, test::stories(), {});
  EXPECT_EQ(one.ids.size(0), 8);
  EXPECT_EQ(one.ids.size(1), 32);
  EXPECT_FALSE(at::equal(
      one.ids, draw_calibration(spec_of(scratch.path("one.txt"), 8, 32, 1), config, test::stories(), {}).ids));
  EXPECT_TRUE(at::equal(one.ids,
                        draw_calibration(spec_of(scratch.path("one.txt"), 8, 32, 0), config, test::stories(), {}).ids));

  std::string lines;
  for (int i = 0; i < 30; ++i) lines += "{\"text\": \"The cat sat on a mat.\"}\n";
  test::write_text(scratch.path("short.jsonl"), lines);
  const Calibration joined =
      draw_calibration(spec_of(scratch.path("short.jsonl"), 4, 64, 0), config, test::stories(), {});
  EXPECT_EQ(joined.ids.size(1), 64);
  EXPECT_GT((joined.ids[0] == 1).sum().item<int64_t>(), 2);  // every document starts with BOS

  const TextSource source = [&](const std::string& name) {
    return name == "world" ? std::vector<Document>{{story, {}}} : std::vector<Document>{};
  };
  const Calibration generated = draw_calibration(spec_of("world", 2, 2048, 0), config, test::stories(), source);
  EXPECT_EQ(generated.ids.size(1), 512);  // the model's context
  EXPECT_EQ(generated.warnings.size(), 1U);
  EXPECT_THROW(draw_calibration(spec_of("other", 2, 16, 0), config, test::stories(), source), Error);
}

TEST(Calibration, ZipfitTakesDocumentsLikeTheTargets) {
  OCKHAM_REQUIRE_DATA(test::stories());
  const test::ScratchDirectory scratch;
  std::string mixed, dogs;
  for (int i = 0; i < 24; ++i) {
    mixed += "{\"text\": \"The dog ran to the red ball and the dog was so happy that day.\"}\n";
    mixed += "{\"text\": \"Lily ate cake with mom in a big warm kitchen full of light.\"}\n";
  }
  for (int i = 0; i < 3; ++i) dogs += "{\"text\": \"The dog ran far. The dog was so happy with the red ball.\"}\n";
  test::write_text(scratch.path("mixed.jsonl"), mixed);
  test::write_text(scratch.path("dogs.jsonl"), dogs);
  CalibrationSpec spec = spec_of(scratch.path("mixed.jsonl"), 6, 64, 0);
  spec.select = "zipfit";
  spec.target = scratch.path("dogs.jsonl");
  const ModelConfig config = Checkpoint(test::stories()).config();
  const Calibration chosen = draw_calibration(spec, config, test::stories(), {});
  const Tokenizer tokenizer(test::stories());
  for (int64_t row = 0; row < 6; ++row) {
    const Tensor ids = chosen.ids[row];
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < ids.size(0); ++i) tokens.push_back(static_cast<int32_t>(ids[i].item<int64_t>()));
    const std::string text = tokenizer.decode(tokens, true);
    EXPECT_NE(text.find("dog"), std::string::npos) << text;
    EXPECT_EQ(text.find("Lily"), std::string::npos) << text;
  }
  spec.data = scratch.path("ids.npy");
  write_token_ids_npy(spec.data, counted_rows(6, 10));
  EXPECT_THROW(draw_calibration(spec, config, test::stories(), {}), Error);
}

}  // namespace
}  // namespace ockham