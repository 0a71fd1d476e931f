// Training configurations: what is refused and how, and the learning-rate schedules.
#include "ockham/train/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "ockham/core/error.h"

namespace ockham {
namespace {

const char* const kModel =
    "model: {hidden: 64, intermediate: 96, blocks: 2, heads: 2, vocabulary: 512, context: 128}\n";

std::string config_with(const std::string& rest) {
  return std::string(kModel) + rest;
}

void expect_refused(const std::string& text, const std::vector<std::string>& parts) {
  try {
    parse_train_config(text, "run.yaml");
    FAIL() << "taken: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(TrainConfig, ReadsEverySection) {
  const TrainConfig config = parse_train_config(
      config_with("data: {world: factworld, world_seed: 7, prompt_weight: 0.5}\n"
                  "schedule: {minutes: 2.5, warmup: 10, decay: wsd, final: 0.1, batch_tokens: 512, row_tokens: 256}\n"
                  "optimizer: {kind: muon, rate: 0.01, clip: 0.5}\nprecision: float32\nseed: 3\nlog: {seconds: 1}\n"),
      "run.yaml");
  EXPECT_EQ(config.model.hidden_size, 64);
  EXPECT_EQ(config.model.kv_heads, 2);
  EXPECT_EQ(config.model.head_dim, 32);
  EXPECT_TRUE(config.model.tied_embeddings);
  EXPECT_EQ(config.model.raw["eos_token_id"], Json::array({1, 5}));
  EXPECT_TRUE(config.is_world);
  EXPECT_EQ(config.world_seed, 7U);
  EXPECT_EQ(config.minutes, 2.5);
  EXPECT_EQ(config.tokens, 0);
  EXPECT_EQ(config.optimizer, "muon");
  EXPECT_EQ(config.precision, DType::kF32);
  EXPECT_EQ(config.log_seconds, 1);
}

TEST(TrainConfig, TakesAnotherSeedAsIfTheFileHeldIt) {
  EXPECT_EQ(with_seed("model: 1\nseed: 3\nlog: {}\n", 12), "model: 1\nseed: 12\nlog: {}\n");
  EXPECT_EQ(with_seed("seed: 3", 4), "seed: 4\n");
  EXPECT_EQ(with_seed("data: {world_seed: 3}\n", 4), "data: {world_seed: 3}\nseed: 4\n");
  EXPECT_EQ(with_seed("a: 1", 4), "a: 1\nseed: 4\n");
  const std::string path = testing::TempDir() + "/given_seed.yaml";
  const std::string rest = "data: {world: factworld}\nschedule: {tokens: 5}\n";
  std::ofstream(path) << config_with(rest + "seed: 3\n");
  EXPECT_EQ(read_train_config(path).seed, 3U);
  const TrainConfig other = read_train_config(path, 9);
  EXPECT_EQ(other.seed, 9U);
  EXPECT_EQ(other.given_seed, 9U);
  EXPECT_EQ(other.sha256, parse_train_config(config_with(rest + "seed: 9\n"), "other.yaml").sha256);
  EXPECT_NE(other.sha256, read_train_config(path).sha256);
  std::remove(path.c_str());
}

TEST(TrainConfig, RefusesWhatItDoesNotKnow) {
  expect_refused(config_with("data: {world: factworld}\nschedule: {tokens: 5, warm_up: 3}\n"),
                 {"run.yaml", "warm_up", "warmup"});
  expect_refused(config_with("data: {world: factworld}\nschedule: {tokens: 5}\nmodle: 1\n"), {"modle", "model"});
  expect_refused("data: {world: factworld}\nschedule: {tokens: 5}\n", {"model"});
  expect_refused("model: {hidden: 64}\ndata: {world: factworld}\nschedule: {tokens: 5}\n",
                 {"run.yaml", "intermediate"});
}

TEST(TrainConfig, RefusesContradictions) {
  expect_refused(config_with("data: {world: factworld}\nschedule: {tokens: 5, minutes: 1}\n"),
                 {"tokens", "minutes", "both"});
  expect_refused(config_with("data: {world: factworld}\nschedule: {warmup: 5}\n"), {"budget", "neither"});
  expect_refused(config_with("data: {}\nschedule: {tokens: 5}\n"), {"files", "neither"});
  expect_refused(config_with("data: {world: factworld, files: [a.txt]}\nschedule: {tokens: 5}\n"), {"files", "both"});
  expect_refused(config_with("data: {world: mars}\nschedule: {tokens: 5}\n"), {"mars", "factworld"});
  expect_refused(config_with("data: {files: a.txt}\nschedule: {tokens: 5, batch_tokens: 100, row_tokens: 64}\n"),
                 {"batch_tokens", "100", "64"});
  expect_refused(config_with("data: {files: a.txt}\nschedule: {tokens: 5}\noptimizer: {beta1: 1.5}\n"),
                 {"beta1", "1.5"});
  expect_refused(config_with("data: {files: a.txt}\nschedule: {tokens: 5}\nprecision: float16\n"),
                 {"float16", "bfloat16"});
  expect_refused(config_with("data: {files: a.txt}\nschedule: {tokens: 5}\noptimizer: 3\n"), {"optimizer"});
}

TrainConfig schedule(const std::string& decay) {
  return parse_train_config(
      config_with("data: {files: a.txt}\nschedule: {tokens: 100, warmup: 4, final: 0.1, decay_share: 0.25, decay: " +
                  decay + "}\noptimizer: {rate: 2}\n"),
      "run.yaml");
}

TEST(TrainSchedule, WarmsUpLinearly) {
  const TrainConfig config = schedule("linear");
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 0), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 1, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 3, 0), 2);
  EXPECT_DOUBLE_EQ(learning_rate(config, 9, 0), 2);
}

TEST(TrainSchedule, DecaysToTheFinalShare) {
  EXPECT_DOUBLE_EQ(learning_rate(schedule("linear"), 99, 0.5), 2 * 0.55);
  EXPECT_DOUBLE_EQ(learning_rate(schedule("cosine"), 99, 0.5), 2 * 0.55);
  EXPECT_NEAR(learning_rate(schedule("cosine"), 99, 0.25), 2 * (0.1 + 0.9 * 0.8535533905932737), 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate(schedule("wsd"), 99, 0.7), 2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule("wsd"), 99, 0.875), 2 * 0.55);
  for (const char* decay : {"linear", "cosine", "wsd"}) {
    EXPECT_NEAR(learning_rate(schedule(decay), 99, 1), 0.2, 1e-12) << decay;
    EXPECT_NEAR(learning_rate(schedule(decay), 99, 1.7), 0.2, 1e-12) << decay;
  }
}

}  // namespace
}  // namespace ockham
