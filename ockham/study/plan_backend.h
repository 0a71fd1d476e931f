// The engines as a plan needs them: models whose weights are not here are described and estimated by their shape alone,
// calibration data that is not here by its name. Everything that was assumed is kept for the reader. Runs nothing.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/study/backend.h"

namespace ockham {

class PlanBackend final : public StudyBackend {
 public:
  // `inner` outlives it; `shapes`: the table of known_shape().
  PlanBackend(StudyBackend& inner, std::string shapes) : inner_(inner), shapes_(std::move(shapes)) {}

  ModelInfo describe(const std::string& path) override;
  void check(const std::string& path, const Recipe& recipe) override;
  std::string data_sha256(const std::string& data) override;
  using StudyBackend::open;
  CompressedModel open(const std::string& path, std::optional<uint64_t> noise_seed) override;
  CompressedModel compress(const std::string& path, const Recipe& recipe, const std::string& directory) override;
  Estimate estimate(const std::string& path, const Recipe* recipe) override;
  EvalOptions eval_options() override { return inner_.eval_options(); }
  double flops_per_second(const std::string& path) override;

  // One sentence each, in the order in which they were made.
  const std::vector<std::string>& assumptions() const { return assumptions_; }

 private:
  void assume(const std::string& text);
  // Null where the weights are here.
  const ModelConfig* shape_of(const std::string& path) const;

  StudyBackend& inner_;
  std::string shapes_;
  std::map<std::string, ModelConfig> configs_;  // by path
  std::map<std::string, Estimate> trials_;      // by shape and recipe: equal models are tried once
  std::vector<std::string> assumptions_;
  double measured_flops_ = 0;
};

}  // namespace ockham
