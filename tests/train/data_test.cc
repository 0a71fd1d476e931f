// Documents to batches: nothing is lost, nothing is cut, weights fall on the assistant's turns, streams resume.
#include "ockham/train/data.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/muon.h"
#include "ockham/train/vocabulary.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

std::vector<TokenizedDocument> documents_of(const std::vector<size_t>& lengths) {
  std::vector<TokenizedDocument> documents;
  for (size_t i = 0; i < lengths.size(); ++i) {
    documents.push_back(
        {std::vector<int32_t>(lengths[i], static_cast<int32_t>(i)), std::vector<float>(lengths[i], 1.0f)});
  }
  return documents;
}

TEST(TrainPacking, KeepsEveryDocumentOnceAndWhole) {
  Rng rng(1);
  std::vector<size_t> lengths;
  for (int i = 0; i < 500; ++i) lengths.push_back(2 + rng.below(i % 20 == 0 ? 255 : 60));
  const std::vector<TokenizedDocument> documents = documents_of(lengths);
  const std::vector<std::vector<size_t>> batches = pack_documents(documents, 256);
  std::vector<int> seen(documents.size(), 0);
  size_t total = 0;
  for (const std::vector<size_t>& batch : batches) {
    size_t used = 0;
    for (const size_t index : batch) {
      ++seen[index];
      used += lengths[index];
    }
    EXPECT_LE(used, 256U);
    total += used;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 500);
  EXPECT_GT(static_cast<double>(total) / static_cast<double>(256 * batches.size()), 0.9);
}

TEST(TrainPacking, BatchesPredictTheNextTokenOfTheSameDocument) {
  std::vector<TokenizedDocument> documents = {{{7, 8, 9}, {1, 0.5f, 1}}, {{4, 5}, {1, 1}}};
  const PackedBatch batch = make_batch(documents, {1, 0}, 8);
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{4, 5, 7, 8, 9, 0, 0, 0}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{5, -1, 8, 9, -1, -1, -1, -1}));
  EXPECT_EQ(batch.weights, (std::vector<float>{1, 0, 0.5f, 1, 0, 0, 0, 0}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 0, 1, 2, 0, 0, 0}));
  ASSERT_EQ(batch.segments.size(), 2U);
  EXPECT_EQ(batch.segments[1].begin, 2);
  EXPECT_EQ(batch.segments[1].length, 3);
  EXPECT_EQ(batch.tokens, 5);
  EXPECT_DOUBLE_EQ(batch.target_weight, 2.5);
}

TEST(TrainPacking, ChainsJoinAboutTheShareAskedFor) {
  const std::vector<TokenizedDocument> documents = documents_of(std::vector<size_t>(3000, 20));
  Rng rng(2);
  const std::vector<TokenizedDocument> chained = chain_documents(documents, 0.3, 400, rng);
  size_t joined = 0, total = 0;
  for (const TokenizedDocument& document : chained) {
    EXPECT_LE(document.ids.size(), 400U);
    EXPECT_EQ(document.ids.size(), document.weights.size());
    total += document.ids.size();
    if (document.ids.size() > 20) joined += document.ids.size();
  }
  EXPECT_EQ(total, 3000U * 20U);
  EXPECT_GT(joined, total / 8);
  EXPECT_LT(joined, total * 2 / 3);
}

class TrainStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(::testing::TempDir()) / fmt::format("ockham-stream-{}", ::getpid());
    fs::create_directories(directory_);
    for (int i = 0; i < 60; ++i) {
      Document document;
      if (i % 3 == 0) {
        document.messages = {{"user", fmt::format("what is {}?", i)}, {"assistant", "a number."}};
      } else {
        document.text = fmt::format("the number {} follows {}.", i + 1, i);
      }
      documents_.push_back(document);
    }
    write_vocabulary(documents_, 330, 128, directory_.string());
    tokenizer_ = std::make_unique<Tokenizer>(directory_.string());
    config_ = parse_train_config(
        "model: {hidden: 32, intermediate: 32, blocks: 1, heads: 1, vocabulary: 336, context: 128}\n"
        "data: {files: none.txt, prompt_weight: 0.25}\nschedule: {tokens: 1, batch_tokens: 256, row_tokens: "
        "256}\nseed: 9\n",
        "run.yaml");
  }
  void TearDown() override { fs::remove_all(directory_); }
  BatchStream stream(bool reads_ahead = false) {
    return BatchStream([this](int64_t) { return documents_; }, *tokenizer_, config_, reads_ahead);
  }
  fs::path directory_;
  std::vector<Document> documents_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TrainConfig config_;
};

TEST_F(TrainStreamTest, WeighsAnswersFullyAndPromptsLess) {
  const std::vector<TokenizedDocument> tokenized = tokenize_documents(documents_, *tokenizer_, 128, 0.25);
  const SpecialTokens special;
  const TokenizedDocument &chat = tokenized[0], &plain = tokenized[1];
  EXPECT_EQ(chat.ids.front(), special.begin_id);
  EXPECT_EQ(chat.ids.back(), special.turn_end_id);
  EXPECT_EQ(plain.ids.front(), special.begin_id);
  EXPECT_EQ(plain.ids.back(), special.stop_id);
  const auto answer =
      static_cast<size_t>(std::find(chat.ids.begin(), chat.ids.end(), special.assistant_id) - chat.ids.begin());
  ASSERT_LT(answer, chat.ids.size());
  for (size_t i = 0; i < chat.ids.size(); ++i) EXPECT_EQ(chat.weights[i], i > answer ? 1.0f : 0.25f) << i;
  EXPECT_EQ(std::count(plain.weights.begin(), plain.weights.end(), 1.0f), static_cast<int64_t>(plain.weights.size()));
}

TEST_F(TrainStreamTest, LongDocumentsAreSplitNotDropped) {
  Document document;
  for (int i = 0; i < 200; ++i) document.text += "the number one follows. ";
  const std::vector<TokenizedDocument> pieces = tokenize_documents(std::vector<Document>{document}, *tokenizer_, 64, 1);
  size_t total = 0;
  for (const TokenizedDocument& piece : pieces) {
    EXPECT_LE(piece.ids.size(), 64U);
    total += piece.ids.size();
  }
  EXPECT_GE(total + 1, tokenizer_->encode("<s>" + document.text + "</s>", false).size());
}

TEST_F(TrainStreamTest, SeekGivesTheSameBatches) {
  BatchStream first = stream();
  std::vector<PackedBatch> batches;
  std::vector<BatchStream::Position> positions;
  for (int i = 0; i < 12; ++i) {
    positions.push_back(first.position());
    batches.push_back(first.next());
  }
  EXPECT_GT(first.position().pass, 0);
  const auto second_pass = std::find_if(positions.begin(), positions.end(), [](const auto& p) { return p.pass == 1; });
  EXPECT_NE(batches[0].ids, batches[static_cast<size_t>(second_pass - positions.begin())].ids);
  for (const size_t at : {0U, 5U, 11U}) {
    BatchStream again = stream();
    again.seek(positions[at]);
    EXPECT_EQ(again.next().ids, batches[at].ids) << at;
  }
}

TEST_F(TrainStreamTest, ReadingAheadChangesNothing) {
  BatchStream plain = stream(), ahead = stream(true);
  while (plain.position().pass < 4) {
    EXPECT_EQ(plain.next().ids, ahead.next().ids);
    EXPECT_EQ(plain.position().pass, ahead.position().pass);
  }
  // A jump leaves what was prepared unused.
  for (BatchStream* stream : {&plain, &ahead}) stream->seek({1, 0});
  EXPECT_EQ(plain.next().ids, ahead.next().ids);
}

TEST_F(TrainStreamTest, AFailureAheadReachesTheCaller) {
  int calls = 0;
  BatchStream stream(
      [&](int64_t pass) {
        ++calls;
        return pass == 0 ? documents_ : std::vector<Document>();
      },
      *tokenizer_, config_, true);
  const auto read_all = [&] {
    while (stream.position().pass < 2) stream.next();
  };
  EXPECT_THROW(read_all(), Error);
  EXPECT_EQ(calls, 2);
}

TEST(Muon, DirectionsAreNearlyOrthogonal) {
  Rng rng(6);
  std::vector<float> values(size_t{2} * 24 * 40);
  for (float& value : values) value = static_cast<float>(rng.normal());
  const at::Tensor wide = at::tensor(at::ArrayRef<float>(values)).view({2, 24, 40});
  for (const at::Tensor& matrices : {wide, wide.transpose(1, 2).contiguous()}) {
    const at::Tensor x = orthogonalize(matrices);
    EXPECT_EQ(x.sizes(), matrices.sizes());
    const at::Tensor singular = at::linalg_svdvals(x);
    EXPECT_GT(singular.min().item<float>(), 0.5f);
    EXPECT_LT(singular.max().item<float>(), 1.35f);
    // The direction is kept: it still points along the gradient.
    EXPECT_GT((x * matrices).sum().item<float>(), 0);
  }
}

TEST(Muon, DirectionsOnCudaAreTheProcessors) {
  if (!has_cuda()) GTEST_SKIP() << "no CUDA device, or a libtorch without CUDA";
  Rng rng(6);
  std::vector<float> values(size_t{3} * 64 * 24);
  for (float& value : values) value = static_cast<float>(rng.normal());
  const at::Tensor matrices = at::tensor(at::ArrayRef<float>(values)).view({3, 64, 24});
  const at::Tensor here = orthogonalize(matrices), there = orthogonalize(matrices.to(open_device("cuda"))).to(at::kCPU);
  EXPECT_LT((here - there).norm().item<float>(), 0.03f * here.norm().item<float>());  // bf16 there
}

}  // namespace
}  // namespace ockham
