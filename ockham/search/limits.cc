#include "ockham/search/limits.h"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/pipeline/torch_language_model.h"

namespace ockham {
namespace {

double parse_points(const std::string& limit) {
  const size_t equals = limit.find('=');
  double value = 0;
  if (equals != std::string::npos && equals > 0) {
    const char *first = limit.data() + equals + 1, *last = limit.data() + limit.size();
    const auto [end, failure] = std::from_chars(first, last, value);
    if (failure == std::errc() && end == last && value <= 0 && value >= -100) return value;
  }
  throw_error(ErrorKind::kUsage, "--limit: found '{}', expected NAME=-POINTS between -100 and 0, as in privacy=-1",
              limit);
}

bool is_named(const Task& task, const std::string& name) {
  const std::string last = task.name.substr(task.name.rfind('/') + 1);
  return task.dimension == name || last == name || fnmatch(name.c_str(), task.name.c_str(), 0) == 0;
}

// How far the search's items must be above a limit so that the unseen ones keep it at the confidence, with as much
// confidence: both samples err. The verdict takes z / sqrt(unseen) off, the difference of two samples may be
// z sqrt(1 / seen + 1 / unseen), in units of an item's deviation; error = deviation / sqrt(seen). And unseen items that
// all agree leave a share open (paired.h).
double search_margin(double error, int64_t seen, int64_t unseen, double confidence) {
  if (confidence < 0.75) return 0;
  const double quantile = confidence >= 0.97 ? 1.960 : 1.645, alpha = confidence >= 0.97 ? 0.025 : 0.05;
  const double ratio = static_cast<double>(seen) / static_cast<double>(unseen);
  const double open = 100 * (1 - std::pow(alpha, 1 / static_cast<double>(unseen)));
  return std::max(open, quantile * (std::sqrt(ratio) + std::sqrt(1 + ratio)) * error);
}

[[noreturn]] void refuse_name(const std::string& name, const std::vector<Task>& tasks) {
  std::set<std::string> known;
  for (const Task& task : tasks) {
    known.insert(task.dimension);
    known.insert(task.name);
  }
  const std::string near = closest_name(name, {known.begin(), known.end()});
  throw_error(ErrorKind::kUsage, "--limit: found '{}', expected a dimension or task among {}{}; --tasks names others",
              name, fmt::join(known, ", "), near.empty() ? "" : "; did you mean '" + near + "'?");
}

}  // namespace

struct LimitJudge::Part {
  struct Floor {
    std::string name, text;
    double points = 0;
    std::vector<size_t> tasks;  // places among those that are measured
  };
  LimitRequest request;
  std::vector<Task> tasks;
  std::vector<Floor> floors;
  std::shared_ptr<const Tokenizer> tokenizer;
  ModelInfo info;
  std::unique_ptr<Decoder> dense;
  std::vector<TaskResult> dense_search, dense_full;
  std::vector<int64_t> unseen;  // items by task
};

LimitJudge::LimitJudge(const Checkpoint& checkpoint, LimitRequest request) : part_(std::make_unique<Part>()) {
  Part& p = *part_;
  p.request = std::move(request);
  const std::vector<Task> known = find_tasks(p.request.tasks, p.request.task_directory);
  for (const std::string& limit : p.request.limits) {
    Part::Floor floor{limit.substr(0, limit.find('=')), limit, parse_points(limit), {}};
    for (const Task& task : known) {
      if (!is_named(task, floor.name) || task.kind == RequestKind::kPerplexity) continue;
      const auto found =
          std::find_if(p.tasks.begin(), p.tasks.end(), [&](const Task& one) { return one.name == task.name; });
      floor.tasks.push_back(static_cast<size_t>(found - p.tasks.begin()));
      if (found == p.tasks.end()) p.tasks.push_back(task);
    }
    if (floor.tasks.empty()) refuse_name(floor.name, known);
    p.floors.push_back(std::move(floor));
  }
  p.tokenizer = std::make_shared<const Tokenizer>(checkpoint.directory());
  p.info.name = p.info.path = checkpoint.directory();
  p.info.sha256 = checkpoint.sha256();
  p.info.context_length = checkpoint.config().context_length;
  p.info.vocabulary = checkpoint.config().vocabulary;
  p.info.parameters = checkpoint.parameters();
  p.dense = checkpoint.read_all(DType::kF32);
  for (const Task& task : p.tasks) {
    EvalOptions quick = p.request.options, full = p.request.options;
    quick.tier = Tier::kQuick;
    full.tier = Tier::kFull;
    full.max_items = 0;
    const size_t seen = task_items(task, quick).size(), all = task_items(task, full).size();
    if (all <= seen)
      throw_error(ErrorKind::kUsage,
                  "--limit: task {} has {} items and the search looks at {}, expected more for the final test; pass "
                  "--items {}",
                  task.name, all, seen, std::max<size_t>(1, all / 2));
    p.unseen.push_back(static_cast<int64_t>(all - seen));
  }
  p.dense_search = measure(*p.dense, false);
}

LimitJudge::~LimitJudge() = default;

size_t LimitJudge::size() const {
  return part_->floors.size();
}

std::vector<TaskResult> LimitJudge::measure(const Decoder& model, bool is_unseen) {
  Part& p = *part_;
  TorchLanguageModel language(model, p.tokenizer, p.info);
  std::vector<TaskResult> results;
  for (const Task& task : p.tasks) {
    check_interrupt();
    EvalOptions options = p.request.options;
    options.tier = is_unseen ? Tier::kFull : Tier::kQuick;
    std::set<std::string> seen;
    if (is_unseen) {
      EvalOptions quick = options;
      quick.tier = Tier::kQuick;
      for (const Json& item : task_items(task, quick)) seen.insert(item.at("id").get<std::string>());
      options.max_items = 0;
    }
    TaskResult result = evaluate(language, task, options);
    std::erase_if(result.items, [&](const ItemResult& item) { return seen.contains(item.id); });
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<FloorResult> LimitJudge::compare(const std::vector<TaskResult>& dense,
                                             const std::vector<TaskResult>& candidate, bool is_unseen) const {
  constexpr int64_t kResamples = 2000;
  const Part& p = *part_;
  const auto unseen_items = [&](const Part::Floor& floor) {
    int64_t sum = 0;
    for (const size_t t : floor.tasks) sum += p.unseen[t];
    return sum;
  };
  std::vector<FloorResult> results;
  for (const Part::Floor& floor : p.floors) {
    std::vector<PairedTask> pairs;
    FloorResult result{floor.name, floor.text, floor.points, 0, 0, 0, 0, false};
    for (const size_t t : floor.tasks) {
      pairs.push_back({&p.tasks[t], {candidate[t].items}, {dense[t].items}});
      align(pairs.back());
      result.items += static_cast<int64_t>(pairs.back().first[0].size());
    }
    const Difference difference = paired_change(pairs, kResamples, hash_seed(floor.name));
    result.change = difference.value;
    const double confidence = p.request.confidence;
    Interval interval = confidence >= 0.97   ? difference.interval
                        : confidence >= 0.75 ? difference.interval90
                                             : Interval{difference.value, difference.value};
    if (!is_unseen) {
      const double margin = search_margin(standard_error(difference), result.items, unseen_items(floor), confidence);
      interval = {difference.value - margin, difference.value + margin};
    }
    result.low = interval.low;
    result.high = interval.high;
    result.holds = result.low >= floor.points;
    results.push_back(result);
  }
  return results;
}

std::vector<FloorResult> LimitJudge::on_search_items(const Decoder& candidate) {
  return compare(part_->dense_search, measure(candidate, false), false);
}

std::vector<FloorResult> LimitJudge::on_unseen_items(const Decoder& candidate) {
  if (part_->dense_full.empty()) part_->dense_full = measure(*part_->dense, true);
  return compare(part_->dense_full, measure(candidate, true), true);
}

std::vector<std::string> LimitJudge::texts(const std::vector<bool>& wanted) const {
  const Part& p = *part_;
  std::set<size_t> tasks;
  for (size_t f = 0; f < p.floors.size(); ++f)
    if (wanted[f]) tasks.insert(p.floors[f].tasks.begin(), p.floors[f].tasks.end());
  const TorchLanguageModel language(*p.dense, p.tokenizer, p.info);
  std::vector<std::string> texts;
  for (const size_t t : tasks) {
    EvalOptions options = p.request.options;
    options.tier = Tier::kQuick;
    std::map<std::string, std::string> answers;
    for (const ItemResult& item : p.dense_search[t].items)
      answers[item.id] = item.answer.substr(0, item.answer.find("\n---\n"));
    for (const Json& item : task_items(p.tasks[t], options))
      texts.push_back(build_prompt(language, p.tasks[t], item, options).text +
                      answers[item.at("id").get<std::string>()]);
  }
  return texts;
}

bool all_hold(const std::vector<FloorResult>& floors) {
  return std::all_of(floors.begin(), floors.end(), [](const FloorResult& floor) { return floor.holds; });
}

}  // namespace ockham
