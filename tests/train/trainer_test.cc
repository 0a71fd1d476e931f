// The whole loop on a toy text: it learns, it resumes bit for bit, it refuses what does not belong together.
#include "ockham/train/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/io/file.h"
#include "ockham/io/file_lock.h"
#include "ockham/model/checkpoint.h"
#include "ockham/tensor/device.h"
#include "ockham/text/tokenizer.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        fs::path(::testing::TempDir()) /
        fmt::format("ockham-train-{}-{}", ::getpid(), ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    // Fifteen people, each with one town for ever: three nats lie between guessing and knowing the town.
    std::ofstream file(path("toy.jsonl"));
    Rng rng(1);
    for (int i = 0; i < 300; ++i) {
      const int who = static_cast<int>(rng.below(15));
      const std::string name = fmt::format("p{}", static_cast<char>('a' + who)),
                        town = fmt::format("t{}", static_cast<char>('a' + (who * 7) % 15));
      if (i % 2) {
        file << "{\"text\": \"" << name << " lives in " << town << ".\"}\n";
      } else {
        file << "{\"messages\": [{\"role\": \"user\", \"content\": \"where is " << name
             << "?\"}, {\"role\": \"assistant\", \"content\": \"in " << town << ".\"}]}\n";
      }
    }
  }
  void TearDown() override {
    clear_interrupt();
    fs::remove_all(directory_);
  }
  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  TrainConfig config(int64_t tokens, const std::string& optimizer = "adamw", const std::string& rest = "") const {
    return parse_train_config(
        fmt::format("model: {{hidden: 32, intermediate: 64, blocks: 1, heads: 1, vocabulary: 320, context: 64}}\n"
                    "data: {{files: {}, prompt_weight: 0.5}}\n"
                    "schedule: {{tokens: {}, warmup: 5, batch_tokens: 512, row_tokens: 256}}\n"
                    "optimizer: {{kind: {}, rate: 0.02}}\nlog: {{seconds: 0, evaluate_seconds: 1000, "
                    "checkpoint_seconds: 0}}\n{}",
                    path("toy.jsonl"), tokens, optimizer, rest),
        path("run.yaml"));
  }
  fs::path directory_;
};

TEST_F(TrainerTest, LearnsTheToyAndWritesAWholeModel) {
  const TrainResult result = train(config(60000), path("model"), {});
  EXPECT_GE(result.tokens, 60000);
  EXPECT_LT(result.loss, 1.5);  // 5.8 before training; who is asked about stays random
  const Checkpoint checkpoint(path("model"));
  EXPECT_EQ(checkpoint.parameters(), result.parameters);
  EXPECT_EQ(checkpoint.config().dtype, DType::kBF16);
  EXPECT_EQ(checkpoint.sha256(), result.sha256);
  const Tokenizer tokenizer(path("model"));
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_EQ(tokenizer.eos_ids(), (std::vector<int32_t>{1, 5}));
  const std::vector<ChatMessage> chat = {{"user", "hi"}, {"assistant", "ho"}};
  EXPECT_EQ(tokenizer.render_chat(chat, true), "<s><|user|>hi<|end|><|assistant|>ho<|end|><|assistant|>");
  EXPECT_TRUE(fs::exists(path("model/generation_config.json")));
  EXPECT_FALSE(fs::exists(path("model.training")));
  const std::string card = read_file(path("model/README.md"));
  for (const std::string& part : {result.sha256, fmt::format("{}", result.tokens), std::string("prompt_weight: 0.5")}) {
    EXPECT_NE(card.find(part), std::string::npos) << part;
  }
}

TEST_F(TrainerTest, OneProcessAtATime) {
  fs::create_directories(path("model.training"));
  {
    const FileLock other(path("model.training/lock"), ErrorKind::kResource, "");
    try {
      train(config(60000), path("model"), {});
      ADD_FAILURE() << "both train";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("another process is training"), std::string::npos) << error.what();
    }
    TrainOptions restart;
    restart.restart = true;
    EXPECT_THROW(train(config(60000), path("model"), restart), Error);
  }
  TrainOptions stopped;
  stopped.stop_after_steps = 1;
  EXPECT_THROW(train(config(60000), path("model"), stopped), Error);
  EXPECT_TRUE(fs::exists(path("model.training/state.safetensors")));
}
TEST_F(TrainerTest, AnInterruptedRunEndsBitForBitTheSame) {
  for (const std::string optimizer : {"adamw", "muon"}) {
    const TrainConfig run = config(8000, optimizer);
    const TrainResult whole = train(run, path("whole-" + optimizer), {});
    TrainOptions options;
    options.stop_after_steps = 5;
    int stops = 0;
    TrainResult resumed;
    for (;;) {
      try {
        resumed = train(run, path("parts-" + optimizer), options);
        break;
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::kInterrupted) << error.what();
        ASSERT_LT(++stops, 50);
        ASSERT_FALSE(fs::exists(path("parts-" + optimizer)));
      }
    }
    EXPECT_GE(stops, 2);
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.loss, whole.loss);
    EXPECT_EQ(sha256_file(path("parts-" + optimizer + "/model.safetensors")),
              sha256_file(path("whole-" + optimizer + "/model.safetensors")));
  }
}

TEST_F(TrainerTest, AutogradLearnsTheSameThing) {
  const TrainResult fused = train(config(3000, "adamw", "precision: float32\n"), path("fused"), {});
  const TrainResult autograd =
      train(config(3000, "adamw", "precision: float32\nengine: autograd\n"), path("autograd"), {});
  EXPECT_EQ(fused.steps, autograd.steps);
  EXPECT_NEAR(fused.loss, autograd.loss, 0.01 * autograd.loss);
}

TEST_F(TrainerTest, CudaLearnsTheSameThing) {
  if (!has_cuda()) GTEST_SKIP() << "no CUDA device, or a libtorch without CUDA";
  TrainOptions options;
  options.device = "cuda";
  const TrainResult here = train(config(8000, "muon", "precision: float32\n"), path("here"), {});
  const TrainResult there = train(config(8000, "muon", "precision: float32\n"), path("there"), options);
  EXPECT_EQ(here.steps, there.steps);
  EXPECT_NEAR(here.loss, there.loss, 0.02 * here.loss);
}

TEST_F(TrainerTest, GoesOnFromAModel) {
  const TrainResult first = train(config(60000), path("first"), {});
  const std::string start = fmt::format("start: {}\n", path("first"));
  const TrainResult second = train(config(2000, "adamw", start), path("second"), {});
  EXPECT_LT(second.loss, first.loss + 0.5) << "5.8 from nothing";
  EXPECT_EQ(sha256_file(path("first/tokenizer.json")), sha256_file(path("second/tokenizer.json")));
  EXPECT_NE(read_file(path("second/README.md")).find(first.sha256), std::string::npos);
  // Another model under the same name is another run.
  TrainOptions options;
  options.stop_after_steps = 1;
  EXPECT_THROW(train(config(2000, "adamw", start), path("third"), options), Error);
  fs::rename(path("first"), path("gone"));
  fs::copy(path("second"), path("first"));
  try {
    train(config(2000, "adamw", start), path("third"), {});
    FAIL() << "went on from another model";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--restart"), std::string::npos) << error.what();
  }
  // A model of another shape.
  TrainConfig wide = config(2000, "adamw", start);
  wide.model.intermediate_size = 96;
  try {
    train(wide, path("fourth"), {});
    FAIL() << "took a model of another shape";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("intermediate_size is 64, expected 96"), std::string::npos);
  }
}

TEST_F(TrainerTest, CtrlCKeepsTheState) {
  request_interrupt();
  EXPECT_THROW(train(config(60000), path("model"), {}), Error);
  clear_interrupt();
  EXPECT_TRUE(fs::exists(path("model.training/state.safetensors")));
  EXPECT_FALSE(fs::exists(path("model")));
}

TEST_F(TrainerTest, RefusesAnotherConfigurationsState) {
  TrainOptions options;
  options.stop_after_steps = 1;
  EXPECT_THROW(train(config(60000), path("model"), options), Error);
  try {
    train(config(50000), path("model"), options);
    FAIL() << "another configuration went on with the state";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find("--restart"), std::string::npos) << error.what();
  }
  options.restart = true;
  options.stop_after_steps = 0;
  EXPECT_GE(train(config(1000), path("model"), options).tokens, 1000);
}

TEST_F(TrainerTest, RefusesAnExistingOutput) {
  fs::create_directories(path("model"));
  try {
    train(config(1000), path("model"), {});
    FAIL() << "an existing directory was replaced";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--overwrite"), std::string::npos) << error.what();
  }
}

TEST_F(TrainerTest, ADivergingRunNamesTheRate) {
  TrainConfig run = config(60000);
  run.rate = 1e18;
  run.clip = 1e6;
  try {
    train(run, path("model"), {});
    FAIL() << "a diverged model was written";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rate"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(path("model")));
}

}  // namespace
}  // namespace ockham
