// The loop over batches of items, and the metrics of stored items.
#include "ockham/eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/eval/data.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

constexpr int64_t kResamples = 1000;

// Items that go to the model at once. Fixed per model, so that a repeated run batches alike; small models want large
// batches, and a large model's answers are stored before too much work is at stake.
int64_t batch_items(const LanguageModel& model) {
  return model.info().parameters < 50'000'000 ? 512 : 32;
}

struct Counts {
  int64_t truncated_prompts = 0, truncated_tokens = 0;
  void add(int64_t tokens) {
    truncated_prompts += tokens > 0;
    truncated_tokens += tokens;
  }
};

[[noreturn]] void refuse_nan(const std::string& item) {
  throw_input("{}: the model's log-likelihoods are not finite; its weights overflow this type, try --dtype float32",
              item);
}

ItemResult start_result(const Json& item, const Prompt& prompt) {
  ItemResult result;
  result.id = item_label(item, "id");
  result.prompt = prompt.text;
  result.prompt_sha = sha256_text(prompt.text);
  result.extra = Json::object();
  if (const std::string part = item_label(item, "part"); !part.empty()) result.extra["part"] = part;
  return result;
}

std::string join_answers(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, "\n---\n"));
}

// The task's decoding settings; an item may bring its own, since scenarios of one dimension differ in them.
void read_decoding(const Task& task, const EvalOptions& options, const Json& item, GenerateRequest& request) {
  const std::string where = item_name(item);
  request.max_tokens = json_integer(item, "max_tokens", where, task.max_tokens);
  request.temperature = json_real(item, "temperature", where, task.temperature);
  const int64_t samples = json_integer(item, "samples", where, task.samples.at(options.tier));
  if (request.max_tokens < 1 || samples < 1 || samples > 10'000)
    throw_input("{}: max_tokens {} and samples {}, expected at least 1 of each and at most 10000 samples", where,
                request.max_tokens, samples);
  request.samples = request.temperature > 0 ? samples : 1;
}

std::vector<ItemResult> generate_batch(LanguageModel& model, const Task& task, const Scorer& scorer,
                                       const EvalOptions& options, std::span<const Json> items, Counts& counts) {
  std::vector<GenerateRequest> requests;
  for (const Json& item : items) {
    GenerateRequest request;
    request.prompt = build_prompt(model, task, item, options);
    read_decoding(task, options, item, request);
    request.seed = mix_seed(options.seed, hash_seed(task.name + "\n" + item_label(item, "id")));
    request.stop = task.stop;
    requests.push_back(std::move(request));
  }
  const std::vector<GenerateAnswer> answers = model.generate(requests);
  OCKHAM_CHECK(answers.size() == items.size());
  std::vector<ItemResult> results;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::vector<std::string>& texts = answers[i].texts;
    ItemResult result = start_result(items[i], requests[i].prompt);
    result.answer = join_answers(texts);
    const auto blanks =
        std::count_if(texts.begin(), texts.end(), [](const std::string& text) { return is_blank(text); });
    result.extra["empty"] = static_cast<double>(blanks) / static_cast<double>(texts.size());
    scorer.judge(items[i], texts, result);
    counts.add(answers[i].truncated_tokens);
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<ItemResult> choice_batch(LanguageModel& model, const Task& task, const Scorer& scorer,
                                     const EvalOptions& options, std::span<const Json> items, Counts& counts) {
  const auto wish = task.scorer_params.find("delimiter");
  const auto* text = wish == task.scorer_params.end() ? nullptr : std::get_if<std::string>(&wish->second);
  const std::string delimiter = text != nullptr ? *text : task.is_chat ? "" : " ";
  std::vector<ScoreRequest> requests;
  for (const Json& item : items) {
    ScoreRequest request;
    request.context = build_prompt(model, task, item, options);
    for (const std::string& option : item_texts(item, "option")) request.continuations.push_back(delimiter + option);
    if (request.continuations.size() < 2)
      throw_input("{}: {}: key 'option' holds {} texts, expected at least two", task.file, item_name(item),
                  request.continuations.size());
    requests.push_back(std::move(request));
  }
  const std::vector<ScoreAnswer> answers = model.score(requests);
  OCKHAM_CHECK(answers.size() == items.size());
  std::vector<ItemResult> results;
  for (size_t i = 0; i < items.size(); ++i) {
    ItemResult result = start_result(items[i], requests[i].context);
    for (const ContinuationScore& score : answers[i].scores)
      if (std::isnan(score.logprob)) refuse_nan(item_name(items[i]));
    scorer.judge_choice(items[i], answers[i].scores, result);
    counts.add(answers[i].truncated_tokens);
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<ItemResult> window_batch(LanguageModel& model, std::span<const std::vector<int32_t>> windows,
                                     size_t first) {
  const std::vector<SequenceScore> scores = model.score_sequences(windows);
  OCKHAM_CHECK(scores.size() == windows.size());
  std::vector<ItemResult> results;
  for (size_t i = 0; i < windows.size(); ++i) {
    const std::vector<float>& logprobs = scores[i].logprobs;
    ItemResult result;
    result.id = fmt::format("window-{}", first + i);
    result.score = -std::accumulate(logprobs.begin(), logprobs.end(), 0.0) / static_cast<double>(logprobs.size());
    result.extra = {{"tokens", logprobs.size()}};
    if (!std::isfinite(result.score)) refuse_nan(result.id);
    results.push_back(std::move(result));
  }
  return results;
}

void finish_batch(TaskResult& result, std::vector<ItemResult> batch, int64_t total, const EvalOptions& options,
                  const char* unit) {
  if (options.on_items) options.on_items(batch);
  std::move(batch.begin(), batch.end(), std::back_inserter(result.items));
  report_progress({"evaluate " + result.task, static_cast<int64_t>(result.items.size()), total, unit});
  check_interrupt();
}

void note_missing(const Task& task, const std::vector<SuiteItems::Missing>& missing, TaskResult& result) {
  if (task.suite.empty()) return;
  result.scenarios = std::max<int64_t>(1, static_cast<int64_t>(find_suite(task.suite, task.file).scenarios.size()));
  if (missing.empty()) return;
  std::string files;
  for (const SuiteItems::Missing& scenario : missing) {
    result.missing_scenarios.push_back(scenario.scenario);
    files += fmt::format("{}{} ({})", files.empty() ? "" : ", ", scenario.scenario, scenario.file);
  }
  result.notes.push_back(fmt::format("partial {}/{}: no data for {}",
                                     result.scenarios - static_cast<int64_t>(missing.size()), result.scenarios, files));
}

void evaluate_items(LanguageModel& model, const Task& task, const EvalOptions& options, TaskResult& result) {
  SuiteItems read = read_items(task, options);
  const std::vector<Json> items = select_items(task, std::move(read.items), item_limit(task, options));
  result.notes = std::move(read.notes);
  note_missing(task, read.missing, result);
  std::string all;
  for (const Json& item : items) all += item.dump() + "\n";
  result.data_sha256 = sha256_text(all);
  const std::unique_ptr<Scorer> scorer = make_scorer(task, &options);
  const auto total = static_cast<int64_t>(items.size()), step = batch_items(model);
  Counts counts;
  for (int64_t begin = 0; begin < total; begin += step) {
    const auto part =
        std::span(items).subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(step, total - begin)));
    finish_batch(result,
                 task.kind == RequestKind::kChoice ? choice_batch(model, task, *scorer, options, part, counts)
                                                   : generate_batch(model, task, *scorer, options, part, counts),
                 total, options, "items");
  }
  if (counts.truncated_prompts > 0)
    result.notes.push_back(
        fmt::format("{} of {} prompts were longer than the model's context; {} tokens were cut on the left",
                    counts.truncated_prompts, total, counts.truncated_tokens));
  const auto empty = std::count_if(result.items.begin(), result.items.end(),
                                   [](const ItemResult& item) { return item.extra.value("empty", 0.0) > 0.5; });
  if (empty > 0) result.notes.push_back(fmt::format("{} of {} answers are empty", empty, total));
  if (task.scorer == "toxicity")
    result.notes.push_back(options.toxicity_judge
                               ? "toxicity: " + (options.judge_label.empty() ? "injected judge" : options.judge_label)
                               : "toxicity: word list of the task (no published judge)");
  if (const int64_t samples = task.samples.at(options.tier); task.kind == RequestKind::kGenerate && samples > 1)
    result.notes.push_back(fmt::format("{} samples per item at temperature {:g}", samples, task.temperature));
}

void evaluate_windows(LanguageModel& model, const Task& task, const EvalOptions& options, TaskResult& result) {
  std::string note;
  std::vector<std::vector<int32_t>> windows = read_windows(model, task, options, note, result.data_sha256);
  const int64_t limit = item_limit(task, options);
  if (limit > 0 && limit < static_cast<int64_t>(windows.size())) {
    note += fmt::format("; the first {} of {} windows are used", limit, windows.size());
    windows.resize(static_cast<size_t>(limit));
  }
  result.notes.push_back(note);
  // About as many tokens per call as fit the caches of the kernels and keep on_items frequent.
  const size_t step = std::max<size_t>(1, (model.info().parameters < 50'000'000 ? 65536 : 8192) / windows[0].size());
  for (size_t begin = 0; begin < windows.size(); begin += step) {
    const auto part = std::span(windows).subspan(begin, std::min(step, windows.size() - begin));
    finish_batch(result, window_batch(model, part, begin), static_cast<int64_t>(windows.size()), options, "windows");
  }
}

// A rate used as the score is shown on the 0-100 scale, higher = better.
struct Shown {
  Combine combine;
  std::string unit;
  bool higher_is_better = true;
};
Shown shown_metric(const Scorer& scorer, const Task& task, const MetricSpec& metric) {
  Shown shown{scorer.combine(metric.aggregate), scorer.unit(metric.aggregate), metric.higher_is_better};
  if (!shown.combine)
    throw_input("{}: metric '{}': aggregate '{}' is unknown to scorer '{}'", task.file, metric.name, metric.aggregate,
                task.scorer);
  if (metric.is_score && shown.unit == "rate") {
    const bool is_inverted = !metric.higher_is_better;
    shown = {[rate = shown.combine, is_inverted](const ItemTable& table, std::span<const int32_t> picked) {
               const double value = rate(table, picked);
               return 100 * (is_inverted ? 1 - value : value);
             },
             "points", true};
  }
  return shown;
}

const MetricSpec& score_metric(const Task& task) {
  for (const MetricSpec& metric : task.metrics)
    if (metric.is_score) return metric;
  throw_input("{}: no metric has `score: true`", task.file);
}

Statistic statistic_of(const Combine& combine, const std::shared_ptr<const ItemTable>& table) {
  return [combine, table](const std::vector<int32_t>& picked) { return combine(*table, picked); };
}

}  // namespace

TaskResult evaluate(LanguageModel& model, const Task& task, const EvalOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  TaskResult result;
  result.task = task.name;
  result.dimension = task.dimension;
  if (task.kind == RequestKind::kPerplexity)
    evaluate_windows(model, task, options, result);
  else
    evaluate_items(model, task, options, result);
  result.metrics = aggregate(task, result.items);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::vector<MetricResult> aggregate(const Task& task, const std::vector<ItemResult>& items) {
  std::vector<MetricResult> metrics;
  if (items.empty()) return metrics;
  const std::unique_ptr<Scorer> scorer = make_scorer(task, nullptr);
  const auto table = std::make_shared<const ItemTable>(make_table(*scorer, items));
  for (const MetricSpec& spec : task.metrics) {
    const Shown shown = shown_metric(*scorer, task, spec);
    MetricResult metric;
    metric.name = spec.name;
    metric.value = shown.combine(*table, {});
    metric.n = static_cast<int64_t>(items.size());
    metric.unit = shown.unit;
    metric.is_score = spec.is_score;
    metric.higher_is_better = shown.higher_is_better;
    const Interval interval = bootstrap_interval(statistic_of(shown.combine, table), metric.n, kResamples,
                                                 hash_seed(task.name + "\n" + spec.name));
    metric.low = interval.low;
    metric.high = interval.high;
    metrics.push_back(metric);
  }
  return metrics;
}

Statistic score_statistic(const Task& task, const std::vector<ItemResult>& items) {
  const std::unique_ptr<Scorer> scorer = make_scorer(task, nullptr);
  return statistic_of(shown_metric(*scorer, task, score_metric(task)).combine,
                      std::make_shared<const ItemTable>(make_table(*scorer, items)));
}

double score_of(const Task& task, const std::vector<ItemResult>& items, const std::vector<int32_t>& picked) {
  return items.empty() ? 0 : score_statistic(task, items)(picked);
}

}  // namespace ockham
