#include "ockham/bench/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "ockham/bench/model_cost.h"
#include "ockham/bench/rounds.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

// What is known of a model before it is loaded.
struct Plan {
  BenchSource source;
  ModelConfig config;
  double weight_bytes = 0;
  std::vector<BenchCell> cells;
  BenchRoom room;
};

// What was measured, round by round, beside a cell.
struct Measured {
  std::vector<double> ms, attained, limit, vector_limit;
};

Plan read_plan(const BenchSource& source) {
  Plan plan;
  plan.source = source;
  if (source.random) {
    plan.config = source.random->config;
    plan.weight_bytes = expected_bytes(*source.random);
  } else {
    const ModelFiles files(source.path);
    plan.config = files.config();
    plan.weight_bytes = 1.1 * static_cast<double>(files.bytes());
  }
  return plan;
}

// Prefill with several prompts only where they fit into a pass together: beyond that passes are full whatever the
// batch.
bool fits_pass(int64_t prompt, int64_t batch) {
  return batch == 1 || prompt * batch <= EngineOptions().pass_tokens;
}

// A sequence goes on from one with the same beginning, which codes allow at whole blocks.
void check_lengths(const Plan& plan, const BenchSettings& settings) {
  if (!plan.source.kv || !plan.source.kv->is_quantized() || plan.source.kv->evicts()) return;
  for (const int64_t prompt : settings.prompts) {
    if (prompt % CodedPages::kTokens != 0)
      throw_error(ErrorKind::kUsage, "--prompt: {} beside the KV-cache policy '{}', expected a multiple of {}", prompt,
                  plan.source.kv->text(), CodedPages::kTokens);
  }
}

void add_cells(Plan& plan, const BenchSettings& settings) {
  const int64_t behind = tokens_behind(plan.source.kv, settings);
  std::vector<int64_t> prompts;
  check_lengths(plan, settings);
  for (const int64_t prompt : settings.prompts) {
    if (prompt + behind <= plan.config.context_length) {
      prompts.push_back(prompt);
    } else if (settings.are_prompts_chosen) {
      throw_error(ErrorKind::kUsage,
                  "--prompt: {} tokens and {} behind them are more than the context of {}, {} tokens; choose shorter "
                  "prompts",
                  prompt, behind, plan.source.label(), plan.config.context_length);
    }
  }
  if (prompts.empty()) {
    const int64_t rest = plan.config.context_length - behind;
    if (rest < 1)
      throw_error(ErrorKind::kUsage, "--tokens: {} do not fit the context of {}, {} tokens; choose fewer",
                  settings.tokens, plan.source.label(), plan.config.context_length);
    prompts.push_back(rest);
  }
  for (const bool is_decode : {true, false}) {
    for (const int64_t prompt : prompts) {
      for (const int64_t batch : settings.batches) {
        if (!is_decode && plan.source.kv) continue;  // a policy is about what is there, not about how it is read
        if (!is_decode && !fits_pass(prompt, batch)) continue;
        BenchCell& cell = plan.cells.emplace_back();
        cell.is_decode = is_decode;
        cell.prompt = prompt;
        cell.batch = batch;
      }
    }
  }
  // Each model reads every prompt at least alone, whatever batches were asked for.
  for (const int64_t prompt : prompts) {
    if (plan.source.kv) break;
    const bool is_there = std::any_of(plan.cells.begin(), plan.cells.end(),
                                      [&](const BenchCell& cell) { return !cell.is_decode && cell.prompt == prompt; });
    if (is_there) continue;
    BenchCell& cell = plan.cells.emplace_back();
    cell.is_decode = false;
    cell.prompt = prompt;
  }
}

// The room for those cells that are not left out.
BenchRoom room_for(const Plan& plan, const BenchSettings& settings) {
  BenchRoom room;
  room.threads = settings.threads;
  room.precision = settings.precision;
  room.cache = cache_of(plan.source, plan.config, settings.cache_type);
  room.tokens = settings.tokens;
  room.all_tokens = tokens_behind(plan.source.kv, settings);
  for (const BenchCell& cell : plan.cells) {
    if (!cell.left_out.empty()) continue;
    room.longest = std::max(room.longest, cell.prompt + (cell.is_decode ? room.all_tokens : 0));
    if (!cell.is_decode) {
      room.prefill_pages = std::max(room.prefill_pages, cell.batch * PagedCache::needed_pages(room.cache, cell.prompt));
      continue;
    }
    room.batches[cell.prompt] = std::max(room.batches[cell.prompt], cell.batch);
    const auto batch = static_cast<size_t>(cell.batch);
    if (room.contexts.size() < batch) room.contexts.resize(batch, 0);
    for (size_t i = 0; i < batch; ++i) room.contexts[i] = std::max(room.contexts[i], cell.prompt);
  }
  return room;
}

double cell_bytes(const BenchCell& cell, const Plan& plan) {
  return static_cast<double>(cell.batch) * cache_bytes(plan.room.cache, cell.prompt);
}

// Leaves the largest cells out until `budget` bytes of keys and values are enough.
void fit_cells(Plan& plan, const BenchSettings& settings, double budget) {
  while (true) {
    plan.room = room_for(plan, settings);
    const auto needed = static_cast<double>(plan.room.pages() * PagedCache::page_bytes(plan.room.cache));
    if (needed <= budget) return;
    BenchCell* largest = nullptr;
    for (BenchCell& cell : plan.cells) {
      if (cell.left_out.empty() && (largest == nullptr || cell_bytes(cell, plan) > cell_bytes(*largest, plan)))
        largest = &cell;
    }
    if (largest == nullptr)
      throw_error(ErrorKind::kResource, "{}: no memory is left for keys and values; choose a smaller model or --format",
                  plan.source.label());
    largest->left_out =
        fmt::format("{} of keys and values do not fit beside the weights", gib_text(cell_bytes(*largest, plan)));
  }
}

void fit_memory(std::vector<Plan>& plans, const BenchSettings& settings) {
  const auto available = static_cast<double>(available_memory_bytes());
  double fixed = static_cast<double>(read_bytes_of(settings));
  for (const Plan& plan : plans) fixed += 1.03 * plan.weight_bytes + static_cast<double>(working_bytes(plan.config));
  if (available > 0 && fixed > available) {
    std::string names;
    for (const Plan& plan : plans)
      names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", plan.source.label(), gib_text(plan.weight_bytes));
    throw_error(ErrorKind::kResource,
                "{} of memory are needed for the weights of {} and the engine's work, {} are available; choose a "
                "smaller shape, fewer bits (--format) or fewer models at once",
                gib_text(fixed), names, gib_text(available));
  }
  const double budget = available > 0 ? 0.9 * (available - fixed) / static_cast<double>(plans.size()) : 1e18;
  for (Plan& plan : plans) fit_cells(plan, settings, budget);
}

class Run {
 public:
  Run(const std::vector<BenchSource>& sources, const BenchSettings& settings)
      : settings_(settings), result_(begin_result(settings)) {
    for (const BenchSource& source : sources) {
      plans_.push_back(read_plan(source));
      add_cells(plans_.back(), settings);
    }
    result_.kv_bytes = settings.kv_bytes;
    fit_memory(plans_, settings);
  }

  BenchResult measure() {
    load();
    LimitRecord limits(models_[0]->engine().threads(), read_bytes_of(settings_));
    measured_.resize(plans_.size());
    for (size_t m = 0; m < plans_.size(); ++m) measured_[m].resize(plans_[m].cells.size());
    size_t most = 0;
    for (const Plan& plan : plans_) most = std::max(most, plan.cells.size());
    const int64_t turns = settings_.rounds * static_cast<int64_t>(most);
    for (int64_t turn = 0; turn < turns; ++turn) {
      report_progress({"measure", turn, turns, "turns"});
      const MachineRates rates = limits.measure();
      for (size_t m = 0; m < models_.size(); ++m) measure_cell(m, static_cast<size_t>(turn) % most, rates);
    }
    report_progress({"measure", turns, turns, "turns"});
    result_.limits = limits.limits();
    for (size_t m = 0; m < models_.size(); ++m) finish(m);
    result_.peak_bytes = std::max(highest_, peak_memory_bytes());
    add_notes();
    return std::move(result_);
  }

 private:
  void load() {
    const auto count = static_cast<int64_t>(plans_.size());
    for (int64_t i = 0; i < count; ++i) {
      check_interrupt();
      const Plan& plan = plans_[static_cast<size_t>(i)];
      report_progress({"load " + plan.source.label(), i, count, "models"});
      highest_ = std::max(highest_, peak_memory_bytes());
      models_.push_back(std::make_unique<BenchModel>(plan.source, plan.room));
      BenchModel& model = *models_.back();
      model.measure_first_token(first_prompt(plan));
      model.fill_caches();
      // The largest batch is that of the shortest sequences that all have.
      if (!plan.room.contexts.empty())
        model.decode(plan.room.contexts.back(), static_cast<int64_t>(plan.room.contexts.size()), 2);
    }
  }

  static int64_t first_prompt(const Plan& plan) {
    int64_t least = plan.room.longest;
    for (const BenchCell& cell : plan.cells)
      if (cell.left_out.empty()) least = std::min(least, cell.prompt);
    constexpr int64_t kMost = 512;  // where only decoding is asked for
    return plan.source.kv ? std::min(least, kMost) : least;
  }

  void measure_cell(size_t m, size_t index, const MachineRates& rates) {
    Plan& plan = plans_[m];
    if (index >= plan.cells.size() || !plan.cells[index].left_out.empty()) return;
    BenchCell& cell = plan.cells[index];
    BenchModel& model = *models_[m];
    const EngineModel& weights = model.engine().model();
    const auto tokens = static_cast<double>(settings_.tokens);
    StepCost cost;
    double seconds = 0;
    if (cell.is_decode) {
      seconds = model.decode(cell.prompt, cell.batch, settings_.tokens) / tokens;
      // The token of the uncounted step is there, and half of those that are decoded on the average.
      cost = decode_cost(weights, static_cast<double>(cell.prompt) + 1.5 + tokens / 2, cell.batch, plan.room.cache);
    } else {
      seconds = model.prefill(cell.prompt, cell.batch);
      cost = prefill_cost(weights, cell.prompt, cell.batch, model.engine().pass_tokens(), plan.room.cache);
    }
    cell.bytes = cost.bytes;
    cell.operations = cost.operations;
    Measured& measured = measured_[m][index];
    measured.ms.push_back(1e3 * seconds);
    measured.attained.push_back((cell.is_decode ? cost.bytes : cost.operations) / seconds);
    if (const double rate = vector_rate(rates, model.facts().multiply_unit); rate > 0 && !cell.is_decode)
      measured.vector_limit.push_back(rate);
    measured.limit.push_back(cell.is_decode ? rates.read_bytes_per_s
                                            : multiply_rate(rates, model.facts().multiply_unit));
  }

  void finish(size_t m) {
    BenchedModel facts = models_[m]->facts();
    facts.cells = plans_[m].cells;
    add_cache_rows(facts, plans_[m]);
    for (size_t i = 0; i < facts.cells.size(); ++i) {
      BenchCell& cell = facts.cells[i];
      const Measured& measured = measured_[m][i];
      if (measured.ms.empty()) continue;
      const double tokens = static_cast<double>(cell.batch * (cell.is_decode ? 1 : cell.prompt));
      cell.ms = spread_of(measured.ms);
      cell.tokens_per_s = spread_of_ratios(std::vector<double>(measured.ms.size(), 1e3 * tokens), measured.ms);
      cell.share = spread_of_ratios(measured.attained, measured.limit);
      if (!measured.vector_limit.empty())
        cell.vector_share = spread_of_ratios(measured.attained, measured.vector_limit);
    }
    result_.models.push_back(std::move(facts));
  }

  void add_cache_rows(BenchedModel& facts, const Plan& plan) const {
    if (!plan.source.kv) return;
    facts.kv = plan.source.kv->text();
    for (const BenchCell& cell : facts.cells) {
      if (!facts.cache_rows.empty() && facts.cache_rows.back().tokens == cell.prompt) continue;
      const double bytes = cache_bytes(plan.room.cache, cell.prompt);
      facts.cache_rows.push_back({cell.prompt, bytes / static_cast<double>(cell.prompt),
                                  static_cast<int64_t>(static_cast<double>(settings_.kv_bytes) / bytes)});
    }
  }

  void add_notes() {
    std::vector<std::string> small;
    for (const BenchedModel& model : result_.models)
      if (model.packed_bytes < static_cast<double>(result_.limits.last_cache_bytes)) small.push_back(model.name);
    if (!small.empty())
      result_.notes.push_back(
          fmt::format("weights smaller than the last cache ({}), so that decoding may read faster than memory does: {}",
                      gib_text(static_cast<double>(result_.limits.last_cache_bytes)), fmt::join(small, ", ")));
    if (settings_.batches != std::vector<int64_t>{1})
      result_.notes.push_back(
          fmt::format("prompts are read together only where they fit into one pass of {} tokens; larger batches take "
                      "full passes, one after another, at the rate of a single long prompt",
                      result_.pass_tokens));
  }

  BenchSettings settings_;
  BenchResult result_;
  std::vector<Plan> plans_;
  std::vector<std::unique_ptr<BenchModel>> models_;
  std::vector<std::vector<Measured>> measured_;  // by model and cell
  int64_t highest_ = 0;
};

void check_list(const std::vector<int64_t>& values, const char* option, int64_t most) {
  if (values.empty()) throw_error(ErrorKind::kUsage, "{}: no value; expected numbers from 1 to {}", option, most);
  for (const int64_t value : values) {
    if (value < 1 || value > most)
      throw_error(ErrorKind::kUsage, "{}: {} is out of range; expected numbers from 1 to {}", option, value, most);
  }
}

}  // namespace

int64_t tokens_behind(const std::optional<KvPolicy>& kv, const BenchSettings& settings) {
  if (!kv || !kv->evicts()) return settings.tokens + 1;
  constexpr int64_t kWarmUp = 3;
  return kWarmUp + settings.rounds * static_cast<int64_t>(settings.batches.size()) * (settings.tokens + 1);
}

void check_settings(const BenchSettings& settings) {
  check_list(settings.prompts, "--prompt", 1'000'000);
  check_list(settings.batches, "--batch", EngineOptions().pass_tokens);
  check_list({settings.tokens}, "--tokens", int64_t{1} << 20);
  check_list({settings.rounds}, "--rounds", 1000);
  check_list({settings.kv_bytes}, "--kv-memory", int64_t{1} << 50);
  if (settings.threads < 0) throw_error(ErrorKind::kUsage, "--threads: {}; expected 0 or more", settings.threads);
}

BenchResult run_bench(const std::vector<BenchSource>& sources, const BenchSettings& settings) {
  check_settings(settings);
  if (sources.empty()) throw_error(ErrorKind::kUsage, "no model; name one, or a shape with --random");
  return Run(sources, settings).measure();
}

}  // namespace ockham
