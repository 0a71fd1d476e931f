#include "ockham/search/level_builder.h"

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/line_file.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/packed.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/gradients.h"
#include "ockham/search/dense_walk.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct BuiltLevel {
  Json facts;
  std::vector<std::pair<std::string, Tensor>> tensors;
};

// Bits that rows of fewer bits save.
int64_t narrowing_of(const GroupIntWeight& weight) {
  if (!weight.narrow.defined()) return 0;
  return weight.narrow.sum().item<int64_t>() * weight.codes.size(1) * (weight.bits - weight.narrow_bits);
}

int64_t code_bits_of(const Weight& weight) {
  const int64_t weights = weight_rows(weight) * weight_columns(weight);
  if (const auto* group = std::get_if<GroupIntWeight>(&weight); group != nullptr && !group->mask.defined())
    return group->bits * weights - narrowing_of(*group);
  if (const auto* nested = std::get_if<NestedIntWeight>(&weight); nested != nullptr && !nested->mask.defined())
    return nested->bits * weights;
  if (std::holds_alternative<Int8Weight>(weight) || std::holds_alternative<Float8Weight>(weight)) return 8 * weights;
  return 8 * weight_bytes(weight);
}

class Builder {
 public:
  explicit Builder(const LevelBuild& build)
      : build_(build), stored_(build.checkpoint.config().dtype), journal_(journal_path(build.directory, build.share)) {
    for (const LevelUnit& unit : build.units)
      for (const Level& level : build.levels.of(unit))
        for (const RecipeStep& step : level.steps) {
          const MethodEntry& entry = find_method(step.method, step.where);
          needs_ |= entry.make(Params(step.where, entry.parameters, step.params))->needs();
        }
    needs_ |= kNeedsGram;  // of the errors
  }

  void run() {
    int64_t last = -1;
    for (const LevelUnit& unit : build_.units)
      if (is_missing(unit)) last = std::max(last, unit.block);
    if (last >= 0 && (needs_ & kNeedsGradients) != 0) measure();
    const auto is_wanted = [&](int64_t block) {
      return std::any_of(build_.units.begin(), build_.units.end(),
                         [&](const LevelUnit& unit) { return unit.block == block && is_missing(unit); });
    };
    const auto take = [&](const Block& block, const StatisticsCollector& statistics) {
      for (size_t u = 0; u < build_.units.size(); ++u) {
        if (build_.units[u].block != block.index) continue;
        if (is_missing(build_.units[u])) make_unit(build_.units[u], block, statistics);
        report_progress({"levels", static_cast<int64_t>(u) + 1, static_cast<int64_t>(build_.units.size()), "units"});
      }
    };
    walk_dense({build_.checkpoint, build_.ids, needs_, is_wanted, take}, last);
  }

 private:
  // Of the dense model, as compress() measures them; rows are ranked over all blocks.
  void measure() {
    const Checkpoint& checkpoint = build_.checkpoint;
    const ThreadLimit threads(checkpoint.config());
    const DType arithmetic = arithmetic_dtype(checkpoint.config().dtype, at::kCPU);
    const auto frame = checkpoint.read_frame(arithmetic);
    const auto read = [&](int64_t index) { return checkpoint.read_block(index, arithmetic); };
    gradients_ = measure_gradients(*frame, checkpoint.config().blocks, read, build_.ids, build_.directory);
  }

  bool is_missing(const LevelUnit& unit) const {
    const auto place = static_cast<int64_t>(&unit - build_.units.data());
    return !build_.done.contains(unit.name) && place % build_.shares == build_.share;
  }

  void make_unit(const LevelUnit& unit, const Block& block, const StatisticsCollector& statistics) {
    std::vector<BuiltLevel> built;
    for (const Level& level : build_.levels.of(unit)) {
      check_interrupt();
      built.push_back(make_level(unit, level, block, statistics, built.size()));
    }
    write(unit, built);
  }

  BuiltLevel make_level(const LevelUnit& unit, const Level& level, const Block& block,
                        const StatisticsCollector& statistics, size_t number) const {
    BuiltLevel built;
    int64_t bytes = 0, code_bits = 0, kept = 0;
    double error = 0;
    Json records = Json::array();
    for (size_t i = 0; i < unit.places.size(); ++i) {
      Linear linear = block.linears[unit.places[i]];
      const Tensor original = weight_values(linear.weight);
      LayerStats stats = statistics.stats(linear);
      stats.tokens_per_sample = static_cast<double>(build_.ids.size(1));
      stats.original = original;
      if (const auto found = gradients_.find(linear.name); found != gradients_.end()) stats.gradients = found->second;
      stats.stored = to_scalar_type(stored_);
      stats.note = [](const std::string& text) { log_message(LogLevel::kDebug, text); };
      for (const RecipeStep& step : level.steps) {
        const MethodEntry& entry = find_method(step.method, step.where);
        entry.make(Params(step.where, entry.parameters, step.params))->compress(linear, stats);
      }
      linear.weight = weight_to(linear.weight, to_scalar_type(stored_));
      if (!level.steps.empty()) linear.weight = pack_if_smaller(linear.weight);
      const Tensor before = original.to(at::kFloat), after = weight_to_dense(linear.weight, at::kFloat);
      const double size = quadratic_error(before, stats.gram);
      if (size > 0) error += quadratic_error(after - before, stats.gram) / size;
      bytes += weight_bytes(linear.weight);
      code_bits += code_bits_of(linear.weight);
      kept += after.count_nonzero().item<int64_t>();
      PackedWeight packed = pack_weight(linear.weight);
      records.push_back(packed.record);
      for (auto& [suffix, tensor] : packed.parts)
        built.tensors.emplace_back(level_prefix(number, i) + suffix, tensor.contiguous());
    }
    built.facts = {{"level", level.name}, {"bytes", bytes}, {"code_bits", code_bits},
                   {"kept", kept},        {"error", error}, {"records", std::move(records)}};
    return built;
  }

  void write(const LevelUnit& unit, const std::vector<BuiltLevel>& built) {
    const std::string path = fmt::format("{}/units/{}.safetensors", build_.directory, unit.name);
    const std::string temporary = fmt::format("{}.tmp-{}", path, build_.share);
    Json facts = Json::array();
    std::vector<TensorInfo> infos;
    for (const BuiltLevel& level : built) {
      facts.push_back(level.facts);
      for (const auto& [name, tensor] : level.tensors)
        infos.push_back({name, to_dtype(tensor.scalar_type()), tensor.sizes().vec(), 0, 0});
    }
    SafetensorsWriter writer(temporary, infos, {{"levels", facts.dump()}});
    for (const BuiltLevel& level : built)
      for (const auto& [name, tensor] : level.tensors)
        writer.append(name, {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
    writer.finish();
    std::filesystem::rename(temporary, path);
    journal_.append(Json({{"unit", unit.name}, {"sha256", sha256_file(path)}}).dump());
  }

  const LevelBuild& build_;
  DType stored_;
  unsigned needs_ = kNeedsNothing;
  std::map<std::string, GradientStats> gradients_;  // by linear; empty where no level needs them
  LineFile journal_;
};

}  // namespace

void build_levels(const LevelBuild& build) {
  Builder(build).run();
}

std::string level_prefix(size_t level, size_t place) {
  return fmt::format("{}.{}", level, place);
}

std::string journal_path(const std::string& directory, int64_t share) {
  return share == 0 ? directory + "/journal.jsonl" : fmt::format("{}/journal-{}.jsonl", directory, share);
}

}  // namespace ockham
