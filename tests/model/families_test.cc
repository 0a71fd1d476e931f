// Every family against logits of Hugging Face transformers (scripts/make_family_goldens.py), and against itself:
// written and read again, with a cache, with padding.
#include "ockham/model/families.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

class FamilyTest : public testing::TestWithParam<std::string> {
 protected:
  FamilyTest() : golden_(read_json_file(test::golden_path(GetParam()))) {
    test::write_family(golden_, scratch_.path());
  }
  std::unique_ptr<Decoder> read() const { return Checkpoint(scratch_.path()).read_all(DType::kF32); }
  static Tensor ids(int64_t tokens = 24) { return (at::arange(tokens, at::kLong) * 7 + 3).remainder(32).unsqueeze(0); }

  const at::NoGradGuard no_grad_;
  test::ScratchDirectory scratch_;
  Json golden_;
};

TEST_P(FamilyTest, LogitsOfTransformers) {
  EXPECT_TRUE(Checkpoint(scratch_.path()).unused_tensors().empty());
  const auto decoder = read();
  for (const bool with_gradients : {false, true}) {  // the fused operations, then those of ATen
    at::GradMode::set_enabled(with_gradients);
    const Tensor logits = decoder->logits(decoder->forward(ids()))[0].detach().to(at::kDouble);
    for (const auto& [position, values] : golden_["logits"].items()) {
      const auto wanted = values.get<std::vector<double>>();
      const Tensor row = logits[std::stoll(position)];
      for (size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR(row[static_cast<int64_t>(i)].item<double>(), wanted[i], 1e-4) << position << " " << i;
    }
    EXPECT_NEAR(logits.square().sum().item<double>(), golden_["sum_of_squares"].get<double>(), 0.02);
  }
  at::GradMode::set_enabled(false);
}

TEST_P(FamilyTest, WrittenAsTheFamilyStoresItAndReadAgain) {
  const auto decoder = read();
  const Tensor logits = decoder->logits(decoder->forward(ids()));
  test::ScratchDirectory out;
  save_decoder(*decoder, out.path(), DType::kF32, "");
  const Checkpoint again(out.path());
  std::map<std::string, std::vector<int64_t>> wanted, found;
  for (const Json& tensor : golden_["tensors"]) wanted[tensor["name"]] = tensor["shape"].get<std::vector<int64_t>>();
  const SafetensorsFile file(out.path("model.safetensors"));
  for (const TensorInfo& info : file.tensors()) found[info.name] = info.shape;
  EXPECT_EQ(found, wanted);
  Json config = again.config().raw;
  for (const auto& [key, value] : golden_["config"].items()) EXPECT_EQ(config[key], value) << key;
  const auto second = again.read_all(DType::kF32);
  EXPECT_TRUE(at::equal(second->logits(second->forward(ids())), logits));
  int64_t count = 0;
  for (const auto& [name, shape] : wanted) {
    int64_t elements = 1;
    for (const int64_t size : shape) elements *= size;
    count += elements;
  }
  EXPECT_EQ(again.parameters(), count);
}

TEST_P(FamilyTest, PackedPartsKeepTheirValues) {
  auto decoder = read();
  // Every second linear sparse, so that fused tensors come apart in part.
  for (Block& block : decoder->blocks) {
    for (size_t i = 0; i < block.linears.size(); i += 2) {
      auto& values = std::get<DenseWeight>(block.linears[i].weight).values;
      values = values.masked_fill(values.abs() < 0.3, 0);
      block.linears[i].weight = pack_if_smaller(block.linears[i].weight);
      ASSERT_EQ(weight_format(block.linears[i].weight), "bitmap-sparse");
    }
  }
  test::ScratchDirectory out;
  CheckpointWriter writer(out.path(), decoder->config, {.is_packed = true});
  write_frame(writer, *decoder, DType::kF32);
  for (const Block& block : decoder->blocks) write_block(writer, block, block.index, DType::kF32);
  writer.finish("");
  const Checkpoint again(out.path());
  EXPECT_TRUE(again.unused_tensors().empty());
  EXPECT_TRUE(at::equal(again.read_all(DType::kF32)->forward(ids()), decoder->forward(ids())));
}

TEST_P(FamilyTest, CachedStepsEqualOneForward) {
  const auto decoder = read();
  if (decoder->config.rope.depends_on_length()) GTEST_SKIP() << "the rotation follows the length so far";
  const Tensor whole = decoder->forward(ids());
  KvCache cache;
  const Tensor parts =
      at::cat({decoder->forward(ids().narrow(1, 0, 11), &cache), decoder->forward(ids().narrow(1, 11, 1), &cache),
               decoder->forward(ids().narrow(1, 12, 12), &cache)},
              1);
  EXPECT_LT((whole - parts).abs().max().item<double>(), 1e-5);
}

TEST_P(FamilyTest, LeftPaddingDoesNotChangeARow) {
  const auto decoder = read();
  if (decoder->config.rope.depends_on_length()) GTEST_SKIP() << "the rotation follows the longest row";
  const Tensor row = ids(13), batch = at::cat({at::cat({at::zeros({1, 11}, at::kLong), row}, 1), ids()}, 0);
  Tensor padding = at::zeros({2, 24}, at::kBool);
  padding[0].narrow(0, 0, 11).fill_(true);
  const Tensor together = decoder->forward(batch, nullptr, padding);
  EXPECT_LT((together[0].narrow(0, 11, 13) - decoder->forward(row)[0]).abs().max().item<double>(), 1e-5);
  EXPECT_LT((together[1] - decoder->forward(ids())[0]).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(together.isfinite().all().item<bool>());
}

TEST_P(FamilyTest, RandomWeightsAreWrittenAndReadAgain) {
  const ModelConfig config = ModelConfig::parse(golden_["config"], "golden");
  const auto decoder = Decoder::random(config, 3, DType::kF32);
  const Tensor hidden = decoder->forward(ids());
  EXPECT_TRUE(hidden.isfinite().all().item<bool>());
  test::ScratchDirectory out;
  save_decoder(*decoder, out.path(), DType::kF32, "");
  EXPECT_TRUE(at::equal(Checkpoint(out.path()).read_all(DType::kF32)->forward(ids()), hidden));
}

TEST_P(FamilyTest, AMissingTensorIsNamed) {
  Json golden = golden_;
  const std::string last = golden["tensors"].back()["name"];
  golden["tensors"].erase(golden["tensors"].size() - 1);
  test::ScratchDirectory out;
  test::write_family(golden, out.path());
  try {
    Checkpoint model(out.path());
    ADD_FAILURE() << "opened without " << last;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(last), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyTest, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

TEST(Families, FilesWithoutTheBaseModelsPrefixAreRead) {
  const at::NoGradGuard no_grad;
  Json golden = read_json_file(test::golden_path("gpt2"));
  test::ScratchDirectory plain, bare;
  test::write_family(golden, plain.path());
  for (Json& tensor : golden["tensors"]) tensor["name"] = tensor["name"].get<std::string>().substr(12);
  test::write_family(golden, bare.path());
  const Tensor ids = at::arange(9, at::kLong).unsqueeze(0);
  EXPECT_TRUE(at::equal(Checkpoint(bare.path()).read_all(DType::kF32)->forward(ids),
                        Checkpoint(plain.path()).read_all(DType::kF32)->forward(ids)));
}

TEST(Families, MixturesShowEveryTokenToEveryExpert) {
  struct Count final : LinearObserver {
    std::map<std::string, int64_t> tokens;
    void observe(const Linear& linear, const Tensor& input) override { tokens[linear.name] += input.size(0); }
  } observer;
  const at::NoGradGuard no_grad;
  test::ScratchDirectory scratch;
  test::write_family(read_json_file(test::golden_path("qwen2_moe")), scratch.path());
  const auto decoder = Checkpoint(scratch.path()).read_all(DType::kF32);
  const Tensor ids = at::arange(9, at::kLong).unsqueeze(0);
  BlockContext context = decoder->make_context(1, 9, nullptr, {});
  const Tensor hidden = decoder->embed(ids), routed = decoder->blocks[0].forward(hidden, context);
  context.observer = &observer;
  EXPECT_TRUE(at::allclose(decoder->blocks[0].forward(hidden, context), routed, 1e-5, 1e-6));
  ASSERT_EQ(observer.tokens.size(), 4U + 3 * 5);
  for (const auto& [name, tokens] : observer.tokens) EXPECT_EQ(tokens, 9) << name;
}

TEST(Families, LearnedPositionsEnd) {
  const at::NoGradGuard no_grad;
  const ModelConfig config = ModelConfig::parse(read_json_file(test::golden_path("opt"))["config"], "golden");
  const auto decoder = Decoder::random(config, 1, DType::kF32);
  EXPECT_NO_THROW(decoder->forward(at::zeros({1, 64}, at::kLong)));
  EXPECT_THROW(decoder->forward(at::zeros({1, 65}, at::kLong)), Error);
}

TEST(Families, FusedRowsComeApartAndTogether) {
  LinearSpec part;
  part.rows = 4;
  part.stored_rows = 12;
  part.first_row = 4;
  const Tensor fused = at::arange(12, at::kFloat).unsqueeze(1).repeat({1, 2});
  EXPECT_TRUE(at::equal(take_part(fused, part), fused.narrow(0, 4, 4)));
  part.interleaved_heads = 2;  // head by head: q q k k v v, q q k k v v
  EXPECT_TRUE(at::equal(take_part(fused.select(1, 0), part), at::tensor({2.0f, 3.0f, 8.0f, 9.0f})));
  std::vector<Tensor> parts;
  for (const int64_t first : {0, 4, 8}) {
    part.first_row = first;
    parts.push_back(take_part(fused, part));
  }
  EXPECT_TRUE(at::equal(join_parts(parts, part), fused));
}

}  // namespace
}  // namespace ockham
