// Speed against sparsity, each type against itself without zeros.
#include <fmt/format.h>

#include "ockham/bench/bench.h"
#include "ockham/bench/model_cost.h"
#include "ockham/bench/rounds.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

// The head stays dense, as Ockham's compression leaves it.
RandomModelSpec spec_of(const std::string& shape, const ModelConfig& config, const WeightFormat& format) {
  RandomModelSpec spec{shape, config, format, {}};
  if (format.kind == WeightFormat::Kind::kFloat) spec.head.type = format.type;
  return spec;
}

struct Times {
  std::vector<double> step, layer;  // seconds

  void measure(BenchModel& model, const BenchSettings& settings, int64_t context) {
    step.push_back(model.decode(context, 1, settings.tokens) / static_cast<double>(settings.tokens));
    layer.push_back(model.products() / static_cast<double>(model.facts().blocks));
  }
};

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}
Spread per_second(const std::vector<double>& seconds) {
  return spread_of_ratios(std::vector<double>(seconds.size(), 1), seconds);
}

class Sweep {
 public:
  Sweep(const std::string& shape, const ModelConfig& config, const BenchSettings& settings, const SweepSettings& sweep)
      : config_(config), settings_(settings), sweep_(sweep), result_(begin_result(settings)), pool_(settings.threads) {
    result_.sweep_shape = shape;
    const int64_t longest = sweep.context + settings.tokens + 1;
    if (longest > config.context_length)
      throw_error(ErrorKind::kUsage,
                  "--prompt: {} tokens and {} behind them are more than the context of {}, {} tokens; choose a shorter "
                  "prompt",
                  sweep.context, settings.tokens + 1, shape, config.context_length);
    room_.threads = settings.threads;
    room_.precision = settings.precision;
    room_.cache = cache_of({}, config, settings.cache_type);
    room_.contexts = {sweep.context};
    room_.prefill_pages = PagedCache::pages_of(sweep.context);
    room_.longest = longest;
    room_.tokens = settings.tokens;
    for (const std::string& name : sweep.formats) {
      const WeightFormat dense = parse_weight_format(name, sweep.group_size, 0);
      for (const double sparsity : sweep.sparsities)
        lines_.push_back({dense, parse_weight_format(name, sweep.group_size, sparsity)});
      if (dense.kind == WeightFormat::Kind::kInteger && dense.bits == 4)
        lines_.push_back({dense, parse_weight_format("gqsa", sweep.group_size, 0.5)});
    }
  }

  BenchResult measure() {
    const auto count = static_cast<int64_t>(lines_.size());
    bool has_measured = false;
    for (int64_t i = 0; i < count; ++i) {
      check_interrupt();
      const Line& line = lines_[static_cast<size_t>(i)];
      report_progress({"sweep", i, count, "lines"});
      SweepRow row;
      row.format = line.sparse.name();
      row.dense = line.dense.name();
      row.sparsity = line.sparse.sparsity;
      row.left_out = reason_to_leave_out(line);
      if (row.left_out.empty()) {
        measure(line, row);
        has_measured = true;
      }
      result_.sweep.push_back(std::move(row));
    }
    if (!has_measured)
      throw_error(ErrorKind::kResource, "{}: {}; choose a smaller shape or fewer bits (--format)", result_.sweep_shape,
                  result_.sweep.empty() ? "nothing to measure" : result_.sweep[0].left_out);
    report_progress({"sweep", count, count, "lines"});
    result_.limits = limits_->limits();
    result_.peak_bytes = std::max(highest_, peak_memory_bytes());
    result_.notes.emplace_back(
        "a step holds the head and attention too, which have no zeros; a layer is the products of one block's linears");
    return std::move(result_);
  }

 private:
  struct Line {
    WeightFormat dense, sparse;
  };

  std::string reason_to_leave_out(const Line& line) {
    const RandomModelSpec dense = spec_of(result_.sweep_shape, config_, line.dense),
                          sparse = spec_of(result_.sweep_shape, config_, line.sparse);
    const bool has_dense = dense_ != nullptr && dense_->facts().name == label(dense);
    const double kept = dense_ != nullptr && !has_dense ? dense_->facts().packed_bytes : 0;
    const double needed = 1.05 * (expected_bytes(sparse) + (has_dense ? 0 : expected_bytes(dense))) +
                          2 * static_cast<double>(working_bytes(config_)) +
                          (limits_ == nullptr ? static_cast<double>(read_bytes_of(settings_)) : 0);
    const double available = static_cast<double>(available_memory_bytes()) + kept;
    if (available == 0 || needed <= available) return "";
    return fmt::format("{} and the same with zeros need {} of memory, {} are available", line.dense.name(),
                       gib_text(needed), gib_text(available));
  }

  static std::string label(const RandomModelSpec& spec) { return BenchSource{"", "", spec, "", 0}.label(); }

  std::unique_ptr<BenchModel> load(const WeightFormat& format) {
    highest_ = std::max(highest_, peak_memory_bytes());
    auto model =
        std::make_unique<BenchModel>(BenchSource{"", "", spec_of(result_.sweep_shape, config_, format), "", 0}, room_);
    model->fill_caches();
    model->decode(sweep_.context, 1, 2);
    model->products();
    return model;
  }

  void measure(const Line& line, SweepRow& row) {
    if (dense_ == nullptr || dense_->facts().name != label(spec_of(result_.sweep_shape, config_, line.dense))) {
      dense_.reset();
      dense_ = load(line.dense);
    }
    const std::unique_ptr<BenchModel> sparse = load(line.sparse);
    if (limits_ == nullptr) limits_ = std::make_unique<LimitRecord>(pool_, read_bytes_of(settings_));
    Times with_zeros, dense;
    std::vector<double> attained, limit;
    const double context = static_cast<double>(sweep_.context) + 0.5 * static_cast<double>(settings_.tokens);
    const double bytes = decode_cost(sparse->engine().model(), context, 1, room_.cache).bytes;
    for (int64_t round = 0; round < settings_.rounds; ++round) {
      const MachineRates rates = limits_->measure();
      dense.measure(*dense_, settings_, sweep_.context);
      with_zeros.measure(*sparse, settings_, sweep_.context);
      attained.push_back(bytes / with_zeros.step.back());
      limit.push_back(rates.read_bytes_per_s);
    }
    const ModelCost cost = cost_of(sparse->engine().model()), dense_cost = cost_of(dense_->engine().model());
    row.bits_per_weight = 8 * cost.linear_bytes / cost.linear_weights;
    row.dense_bits_per_weight = 8 * dense_cost.linear_bytes / dense_cost.linear_weights;
    row.kept_dense = cost.kept_dense;
    row.tokens_per_s = per_second(with_zeros.step);
    row.dense_tokens_per_s = per_second(dense.step);
    row.speedup = spread_of_ratios(dense.step, with_zeros.step);
    row.layer_ms = spread_of(scaled(with_zeros.layer, 1e3));
    row.dense_layer_ms = spread_of(scaled(dense.layer, 1e3));
    row.layer_speedup = spread_of_ratios(dense.layer, with_zeros.layer);
    row.share = spread_of_ratios(attained, limit);
  }

  ModelConfig config_;
  BenchSettings settings_;
  SweepSettings sweep_;
  BenchResult result_;
  BenchRoom room_;
  std::vector<Line> lines_;
  ThreadPool pool_;  // of the limits, which outlive every model
  std::unique_ptr<LimitRecord> limits_;
  std::unique_ptr<BenchModel> dense_;
  int64_t highest_ = 0;
};

}  // namespace

BenchResult run_sweep(const std::string& shape, const ModelConfig& config, const BenchSettings& settings,
                      const SweepSettings& sweep) {
  check_settings(settings);
  return Sweep(shape, config, settings, sweep).measure();
}

}  // namespace ockham
