// A study on scripted models: answers follow from a hash of model, recipe, draw and question, so that any run of the
// same plan must store the same. Nothing is compressed; the plan, the store and resuming are real.
#pragma once

#include <string>
#include <vector>

#include "ockham/study/study.h"
#include "tests/io/scratch.h"

namespace ockham {

struct ScriptedBackend final : StudyBackend {
  ModelInfo describe(const std::string& path) override;
  void check(const std::string& path, const Recipe& recipe) override;
  std::string data_sha256(const std::string& data) override;
  using StudyBackend::open;
  CompressedModel open(const std::string& path, std::optional<uint64_t> noise_seed) override;
  CompressedModel open_cached(const std::string& path, const KvPolicy& kv) override;
  CompressedModel compress(const std::string& path, const Recipe& recipe, const std::string& directory) override;
  Estimate estimate(const std::string& path, const Recipe* recipe) override;
  EvalOptions eval_options() override;
  int workers(const std::vector<ModelInfo>&) override { return side_by_side; }
  void set_workers(int count) override { workers_set.push_back(count); }

  int64_t items = 100;
  int pause_us = 0;             // per batch
  int64_t interrupt_after = 0;  // batches; 0: never
  int side_by_side = 1;
  std::vector<int> workers_set;
  std::string model_version = "1";
  int64_t opened = 0, compressed = 0, batches = 0;
};

// A home with two small tasks and real recipes, and a study file in it.
void make_home(const Scratch& scratch);
std::string study_text();
StudyOptions options_in(const Scratch& scratch, const std::string& directory);
// Every finished cell with every item and metric, as text; no times and no row ids.
std::string contents(const std::string& directory);

}  // namespace ockham
