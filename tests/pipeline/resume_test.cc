// Interrupted runs of compress(): they go on at the block where they were and end with the same bytes.
#include "ockham/pipeline/resume.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlocks = 4;

using Steps = std::vector<std::pair<std::string, std::map<std::string, ParamValue>>>;

class Resume : public ::testing::Test {
 protected:
  Resume() {
    fs::create_directory(model_);
    save_decoder(*Decoder::random(test::recipe_config(kBlocks), 11, DType::kBF16), model_, DType::kBF16, "");
    std::vector<std::vector<int32_t>> rows(4, std::vector<int32_t>(16));
    int32_t next = 1;
    for (auto& row : rows)
      for (int32_t& id : row) id = next = (next * 7 + 3) % 40;
    write_token_ids_npy(scratch_.path("ids.npy"), rows);
    for (auto& row : rows)
      for (int32_t& id : row) id = next = (next * 5 + 1) % 40;
    write_token_ids_npy(scratch_.path("other.npy"), rows);
    options_.is_resumable = true;
    set_log_sink([this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; });
  }
  ~Resume() override {
    set_progress_sink({});
    set_log_sink({});
    clear_interrupt();
  }

  Recipe recipe_of(const Steps& steps) const {
    Recipe recipe;
    recipe.name = "test";
    recipe.calibration.data = scratch_.path("ids.npy");
    recipe.contrast.data = scratch_.path("other.npy");
    for (const auto& [method, params] : steps) recipe.steps.push_back({method, {"blocks.*"}, params, "test"});
    return recipe;
  }
  CompressionResult run(const Recipe& recipe, const std::string& out) {
    log_.clear();
    return compress(model_, recipe, scratch_.path(out), options_);
  }
  // A run to `out` that is interrupted when so many units of a stage are done.
  void run_until(const Recipe& recipe, const std::string& out, const std::string& stage, int64_t done) {
    set_progress_sink([&](const ProgressEvent& event) {
      if (event.stage.starts_with(stage) && event.done == done) request_interrupt();
    });
    try {
      run(recipe, out);
      ADD_FAILURE() << "not interrupted at " << stage << " " << done;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::kInterrupted)) << error.what();
    }
    set_progress_sink({});
    clear_interrupt();
    EXPECT_FALSE(fs::exists(scratch_.path(out)));
    EXPECT_TRUE(fs::exists(scratch_.path(out + ".resume/state.json")));
  }
  // Goes on to the end; the units of every stage that this took.
  std::map<std::string, int64_t> go_on(const Recipe& recipe, const std::string& out) {
    std::map<std::string, int64_t> events;
    set_progress_sink([&](const ProgressEvent& event) { ++events[event.stage.substr(0, event.stage.find(' '))]; });
    run(recipe, out);
    set_progress_sink({});
    return events;
  }
  void expect_same(const std::string& left, const std::string& right) const {
    std::vector<std::string> names, others;
    for (const auto& entry : fs::directory_iterator(scratch_.path(left))) names.push_back(entry.path().filename());
    for (const auto& entry : fs::directory_iterator(scratch_.path(right))) others.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    std::sort(others.begin(), others.end());
    EXPECT_EQ(names, others);
    for (const std::string& name : names)
      EXPECT_EQ(read_file(scratch_.path(left + "/" + name)), read_file(scratch_.path(right + "/" + name))) << name;
    EXPECT_FALSE(fs::exists(scratch_.path(left + ".resume")));
    EXPECT_FALSE(fs::exists(scratch_.path(right + ".resume")));
  }

  test::ScratchDirectory scratch_;
  std::string model_ = scratch_.path("model"), log_;
  CompressOptions options_;
};

const Steps kPlain = {{"wanda", {{"sparsity", 0.5}}}, {"rtn", {{"bits", int64_t{4}}, {"group_size", int64_t{8}}}}};
const Steps kAllocated = {{"owl", {{"mean", 0.5}, {"lambda", 0.1}, {"m", 2.0}, {"steps", int64_t{2}}}},
                          {"wanda", {{"sparsity", FromStep{"owl"}}}}};
const Steps kDropped = {{"drop", {{"count", int64_t{1}}}}, {"sparsegpt", {{"sparsity", 0.5}}}};
const Steps kPruned = {{"llm-pruner", {{"heads", 0.5}, {"neurons", 0.25}}}, {"rtn", {{"group_size", int64_t{8}}}}};
const Steps kWeightsOnly = {{"magnitude", {{"sparsity", 0.5}}}};
const Steps kContrasted = {{"wanda-difference", {{"sparsity", 0.25}, {"keep", 0.25}}}};
const Steps kSequential = {{"gptq", {{"group_size", int64_t{8}}, {"true_sequential", true}}}};

TEST_F(Resume, InterruptedAtAnyBlockEndsWithTheSameBytes) {
  int runs = 0;
  for (const Steps& steps : {kPlain, kAllocated, kDropped, kPruned, kWeightsOnly, kSequential, kContrasted}) {
    SCOPED_TRACE(steps[0].first);
    const Recipe recipe = recipe_of(steps);
    const std::string whole = fmt::format("whole-{}", ++runs);
    std::set<int64_t> blocks;  // those that are left, counted from 1
    set_progress_sink([&](const ProgressEvent& event) {
      if (event.stage.starts_with("compress")) blocks.insert(event.done);
    });
    run(recipe, whole);
    set_progress_sink({});
    EXPECT_EQ(blocks.size(), steps[0].first == "drop" ? kBlocks - 1 : kBlocks);
    for (const int64_t done : blocks) {
      if (done == *blocks.rbegin()) continue;  // nothing is left to interrupt
      SCOPED_TRACE(done);
      const std::string out = fmt::format("out-{}-{}", runs, done);
      run_until(recipe, out, "compress", done);
      const auto events = go_on(recipe, out);
      EXPECT_EQ(events.at("compress"), std::distance(blocks.upper_bound(done), blocks.end()));
      EXPECT_EQ(events.size(), 1U) << "measured on the dense model again";
      EXPECT_NE(log_.find(fmt::format("going on at block {} of {}", done + 1, kBlocks)), std::string::npos) << log_;
      expect_same(out, whole);
    }
  }
}

TEST_F(Resume, InterruptedAgainAndAgain) {
  const Recipe recipe = recipe_of(kAllocated);
  run(recipe, "whole");
  for (int64_t done = 1; done < kBlocks; ++done) run_until(recipe, "out", "compress", done);
  EXPECT_EQ(go_on(recipe, "out").at("compress"), 1);
  expect_same("out", "whole");
}

TEST_F(Resume, WhatWasMeasuredOnTheDenseModelIsNotMeasuredAgain) {
  Recipe recipe = recipe_of(kPruned);
  run(recipe, "pruned");
  run_until(recipe, "out", "gradients", kBlocks);
  EXPECT_EQ(go_on(recipe, "out").count("gradients"), 0U);
  expect_same("out", "pruned");

  recipe = recipe_of(kAllocated);
  run(recipe, "allocated");
  run_until(recipe, "next", "allocate", 2 * kBlocks);
  EXPECT_EQ(go_on(recipe, "next").count("allocate"), 0U);
  expect_same("next", "allocated");
}

TEST_F(Resume, OneCopyOfTheHiddenStatesIsKept) {
  const Recipe recipe = recipe_of(kPlain);
  run_until(recipe, "out", "compress", 2);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scratch_.path("out.resume")))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"hidden-2.safetensors", "lock", "output", "spool-1.tmp", "state.json"}));
  // 4 sequences of 16 tokens, 32 numbers of at most four bytes, and a header.
  EXPECT_LT(fs::file_size(scratch_.path("out.resume/hidden-2.safetensors")), 4U * 16 * 32 * 4 + 200);
}

TEST_F(Resume, StateOfAnotherRunIsNotUsed) {
  Recipe other = recipe_of(kPlain);
  other.steps[0].params["sparsity"] = 0.6;
  run(other, "whole");
  run_until(recipe_of(kPlain), "out", "compress", 2);
  EXPECT_EQ(go_on(other, "out").at("compress"), kBlocks);
  EXPECT_NE(log_.find("out.resume: belongs to a run with another recipe; starting over"), std::string::npos) << log_;
  expect_same("out", "whole");

  run_until(recipe_of(kPlain), "dense", "compress", 2);
  options_.is_packed = false;
  EXPECT_EQ(go_on(recipe_of(kPlain), "dense").at("compress"), kBlocks);
  options_.is_packed = true;

  run_until(recipe_of(kPlain), "ids", "compress", 2);
  write_token_ids_npy(scratch_.path("ids.npy"), std::vector<std::vector<int32_t>>(4, std::vector<int32_t>(16, 5)));
  EXPECT_EQ(go_on(recipe_of(kPlain), "ids").at("compress"), kBlocks);
  EXPECT_NE(log_.find("another calibration"), std::string::npos) << log_;
}

TEST_F(Resume, DamagedStateIsNotUsed) {
  const Recipe recipe = recipe_of(kPlain);
  run(recipe, "whole");
  const std::string folder = scratch_.path("out.resume/");
  const auto cut = [](const std::string& path) { fs::resize_file(path, fs::file_size(path) - 1); };
  const std::vector<std::function<void()>> damages = {
      [&] { cut(folder + "state.json"); },
      [&] { cut(folder + "spool-1.tmp"); },
      [&] { cut(folder + "hidden-2.safetensors"); },
      [&] { fs::remove(folder + "hidden-2.safetensors"); },
      [&] { fs::remove(folder + "spool-1.tmp"); },
      [&] {
        fs::remove_all(folder + "output");
        fs::remove(folder + "spool-1.tmp");
      },
      [&] { test::write_text(folder + "state.json", "{}"); },
      [&] { test::write_text(folder + "state.json", R"({"run": {"next": 99}, "sha256": "0"})"); },
      [&] {
        std::string text = read_file(folder + "state.json");
        text.replace(text.find("\"next\":2"), 8, "\"next\":3");
        test::write_text(folder + "state.json", text);
      }};
  for (size_t i = 0; i < damages.size(); ++i) {
    SCOPED_TRACE(i);
    run_until(recipe, "out", "compress", 2);
    damages[i]();
    EXPECT_EQ(go_on(recipe, "out").at("compress"), kBlocks);
    EXPECT_NE(log_.find("cannot be used"), std::string::npos) << log_;
    expect_same("out", "whole");
    fs::remove_all(scratch_.path("out"));
  }
}

TEST_F(Resume, WhatWasBeingWrittenDoesNotCount) {
  const Recipe recipe = recipe_of(kPlain);
  run(recipe, "whole");
  run_until(recipe, "out", "compress", 2);
  const std::string folder = scratch_.path("out.resume/");
  test::write_text(folder + "hidden-3.safetensors", "half");
  test::write_text(folder + "state.json.tmp-1", "half");
  test::write_text(folder + "output/config.json.tmp-1", "half");
  test::write_text(folder + "output/part-0.tmp.tmp-1", "half");
  test::write_text(folder + "spool-2.tmp", "half");
  std::ofstream(folder + "spool-1.tmp", std::ios::app) << "half of a block";
  EXPECT_EQ(go_on(recipe, "out").at("compress"), 2);
  expect_same("out", "whole");
}

TEST_F(Resume, RestartStartsOver) {
  const Recipe recipe = recipe_of(kPlain);
  run(recipe, "whole");
  run_until(recipe, "out", "compress", 2);
  options_.restart = true;
  EXPECT_EQ(go_on(recipe, "out").at("compress"), kBlocks);
  expect_same("out", "whole");
}

TEST_F(Resume, OverwritesOnlyAtTheEnd) {
  const Recipe recipe = recipe_of(kPlain);
  run(recipe, "whole");
  fs::create_directory(scratch_.path("out"));
  test::write_text(scratch_.path("out/old.txt"), "old");
  options_.overwrite = true;
  set_progress_sink([](const ProgressEvent& event) {
    if (event.stage.starts_with("compress") && event.done == 2) request_interrupt();
  });
  EXPECT_THROW(run(recipe, "out"), Error);
  clear_interrupt();
  EXPECT_TRUE(fs::exists(scratch_.path("out/old.txt")));
  EXPECT_EQ(go_on(recipe, "out").at("compress"), 2);
  expect_same("out", "whole");
}

TEST_F(Resume, OneProcessAtATimeAndNobodyElsesDirectory) {
  const Recipe recipe = recipe_of(kPlain);
  {
    const ResumeState other(scratch_.path("out"));
    try {
      run(recipe, "out");
      ADD_FAILURE() << "both write";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("another process"), std::string::npos) << error.what();
    }
    EXPECT_TRUE(fs::exists(scratch_.path("out.resume/lock")));
  }
  EXPECT_FALSE(fs::exists(scratch_.path("out.resume")));
  fs::create_directory(scratch_.path("out.resume"));
  test::write_text(scratch_.path("out.resume/mine.txt"), "keep");
  EXPECT_THROW(run(recipe, "out"), Error);
  EXPECT_TRUE(fs::exists(scratch_.path("out.resume/mine.txt")));
}

// Several shards: what a record says is found again after writing on, after finish(), and after both.
TEST_F(Resume, WriterGoesOnFromItsRecordAcrossShards) {
  const auto decoder = Checkpoint(model_).read_all(DType::kBF16);
  CheckpointWriter::Options options;
  options.shard_bytes = 12000;
  const auto write = [&](CheckpointWriter& writer, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) write_block(writer, decoder->blocks[static_cast<size_t>(i)], i, DType::kBF16);
  };
  fs::create_directory(scratch_.path("whole"));
  CheckpointWriter whole(scratch_.path("whole"), decoder->config, options);
  write_frame(whole, *decoder, DType::kBF16);
  write(whole, 0, kBlocks);
  whole.finish("");
  const auto whole_files = std::distance(fs::directory_iterator(scratch_.path("whole")), fs::directory_iterator());
  EXPECT_GE(whole_files, 4 + 2);  // shards, config, index
  for (int64_t stop = 0; stop <= kBlocks; ++stop) {
    for (const int64_t beyond : {int64_t{0}, int64_t{1}, kBlocks}) {
      SCOPED_TRACE(fmt::format("{} {}", stop, beyond));
      fs::create_directories(scratch_.path("spools"));
      fs::create_directory(scratch_.path("out"));
      options.spool_directory = scratch_.path("spools");
      Json record;
      {
        CheckpointWriter writer(scratch_.path("out"), decoder->config, options);
        write_frame(writer, *decoder, DType::kBF16);
        write(writer, 0, stop);
        record = writer.record();
        writer.release();
        write(writer, stop, std::min(stop + beyond, kBlocks));
        if (beyond == kBlocks) writer.finish("");
      }
      for (int again = 0; again < 2; ++again) {  // a second interruption at the same place
        CheckpointWriter writer(scratch_.path("out"), decoder->config, options);
        writer.restore(record);
        EXPECT_EQ(writer.record(), record);
        write(writer, stop, kBlocks);
        writer.finish("");
        EXPECT_EQ(writer.bytes(), whole.bytes());
      }
      expect_same("out", "whole");
      fs::remove_all(scratch_.path("out"));
      fs::remove_all(scratch_.path("spools"));
    }
  }
}

}  // namespace
}  // namespace ockham
