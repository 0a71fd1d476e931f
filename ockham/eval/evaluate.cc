// The loop over batches of items, and the metrics of stored items.
#include "ockham/eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/core/version.h"
#include "ockham/eval/data.h"
#include "ockham/eval/faithful_prompt.h"
#include "ockham/eval/item_keys.h"
#include "ockham/eval/scorers/scorer.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

// Items that go to the model at once. Fixed per model, so that a repeated run batches alike; small models want large
// batches, and a large model's answers are stored before too much work is at stake.
size_t batch_items(const LanguageModel& model) {
  if (model.info().batch_items > 0) return static_cast<size_t>(model.info().batch_items);
  return model.info().parameters < 50'000'000 ? 512 : 32;
}

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

// Kept with the item, so that a resumed run counts them too.
void note_truncation(int64_t tokens, ItemResult& result) {
  if (tokens > 0) result.extra["truncated"] = tokens;
}

std::string join_answers(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, "\n---\n"));
}

// The task's decoding settings; an item may bring its own, since scenarios of one dimension differ in them.
void read_decoding(const Task& task, const EvalOptions& options, const Json& item, GenerateRequest& request) {
  const std::string where = item_name(item);
  const GenerationSettings& wish = options.generation;
  request.max_tokens = wish.max_tokens.value_or(json_integer(item, "max_tokens", where, task.max_tokens));
  request.temperature = wish.temperature.value_or(json_real(item, "temperature", where, task.temperature));
  request.top_p = wish.top_p.value_or(1);
  request.stop = wish.stop.value_or(task.stop);
  const int64_t samples = wish.samples.value_or(json_integer(item, "samples", where, task.samples.at(options.tier)));
  if (request.max_tokens < 1 || samples < 1 || samples > 10'000)
    throw_input("{}: max_tokens {} and samples {}, expected at least 1 of each and at most 10000 samples", where,
                request.max_tokens, samples);
  request.samples = request.temperature > 0 ? samples : 1;
}

std::vector<ItemResult> generate_batch(LanguageModel& model, const Task& task, const Scorer& scorer,
                                       const EvalOptions& options, std::span<const Json> items) {
  std::vector<GenerateRequest> requests;
  for (const Json& item : items) {
    GenerateRequest request;
    request.prompt = build_prompt(model, task, item, options);
    read_decoding(task, options, item, request);
    request.seed = mix_seed(options.seed, hash_seed(task.name + "\n" + item_label(item, "id")));
    requests.push_back(std::move(request));
  }
  std::vector<GenerateAnswer> answers = model.generate(requests);
  OCKHAM_CHECK(answers.size() == items.size());
  if (task.is_chat && options.prompt_mode == PromptMode::kFaithful) {
    const FaithfulTemplate& chat = faithful_template(options.chat_template, model.info());
    for (GenerateAnswer& answer : answers)
      for (std::string& text : answer.texts) text = cut_faithful(chat, text);
  }
  std::vector<ItemResult> results;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::vector<std::string>& texts = answers[i].texts;
    ItemResult result = start_result(items[i], requests[i].prompt);
    if (!answers[i].missing.empty()) {
      result.extra[kMissing] = answers[i].missing;
      results.push_back(std::move(result));
      continue;
    }
    result.answer = join_answers(texts);
    const auto blanks =
        std::count_if(texts.begin(), texts.end(), [](const std::string& text) { return is_blank(text); });
    result.extra["empty"] = static_cast<double>(blanks) / static_cast<double>(texts.size());
    scorer.judge(items[i], texts, result);
    note_truncation(answers[i].truncated_tokens, result);
    results.push_back(std::move(result));
  }
  return results;
}

// What separates the context from each option: the item's own, the task's, or a blank behind plain text.
std::string option_delimiter(const Task& task, const EvalOptions& options, const Json& item) {
  if (options.apply_chat_template) return "";
  if (item.contains("delimiter")) return item_label(item, "delimiter");
  const auto wish = task.scorer_params.find("delimiter");
  const auto* text = wish == task.scorer_params.end() ? nullptr : std::get_if<std::string>(&wish->second);
  return text != nullptr ? *text : task.is_chat ? "" : " ";
}

// The requests of one item: its options behind one context, or one continuation behind each of several contexts.
std::vector<ScoreRequest> choice_requests(const LanguageModel& model, const Task& task, const EvalOptions& options,
                                          const Json& item) {
  const std::string delimiter = option_delimiter(task, options, item);
  const std::vector<std::string> contexts = item_texts(item, "contexts"), answers = item_texts(item, "option");
  std::vector<ScoreRequest> requests;
  const size_t fewest = task.scorer == "likelihood" ? 1 : 2;
  if (answers.size() < fewest)
    throw_input("{}: {}: key 'option' holds {} texts, expected at least {}", task.file, item_name(item), answers.size(),
                fewest);
  if (!contexts.empty()) {
    Json alone = item;
    for (const std::string& context : contexts) {
      alone["context"] = context;
      requests.push_back({build_prompt(model, task, alone, options), {delimiter + item_label(item, "continuation")}});
    }
    return requests;
  }
  ScoreRequest request;
  request.context = build_prompt(model, task, item, options);
  for (const std::string& answer : answers) request.continuations.push_back(delimiter + answer);
  requests.push_back(std::move(request));
  return requests;
}

std::vector<ItemResult> choice_batch(LanguageModel& model, const Task& task, const Scorer& scorer,
                                     const EvalOptions& options, std::span<const Json> items) {
  std::vector<ScoreRequest> requests;
  std::vector<size_t> first;
  for (const Json& item : items) {
    first.push_back(requests.size());
    for (ScoreRequest& request : choice_requests(model, task, options, item)) requests.push_back(std::move(request));
  }
  first.push_back(requests.size());
  const std::vector<ScoreAnswer> answers = model.score(requests);
  OCKHAM_CHECK(answers.size() == requests.size());
  std::vector<ItemResult> results;
  for (size_t i = 0; i < items.size(); ++i) {
    ItemResult result = start_result(items[i], requests[first[i]].context);
    std::vector<ContinuationScore> scores;
    int64_t cut = 0;
    for (size_t r = first[i]; r < first[i + 1]; ++r) {
      scores.insert(scores.end(), answers[r].scores.begin(), answers[r].scores.end());
      cut = std::max(cut, answers[r].truncated_tokens);
      if (!answers[r].missing.empty()) result.extra[kMissing] = answers[r].missing;
    }
    if (result.extra.contains(kMissing)) {
      results.push_back(std::move(result));
      continue;
    }
    for (const ContinuationScore& score : scores)
      if (std::isnan(score.logprob)) refuse_nan(item_name(items[i]));
    scorer.judge_choice(items[i], scores, result);
    note_truncation(cut, result);
    results.push_back(std::move(result));
  }
  return results;
}

ItemResult window_result(const std::string& id, double nats, int64_t tokens) {
  ItemResult result;
  result.id = id;
  result.score = nats / static_cast<double>(tokens);
  result.extra = {{"tokens", tokens}};
  if (!std::isfinite(result.score)) refuse_nan(result.id);
  return result;
}

// Negative log-likelihood of what each window scores, nats, and why a server gave none.
struct WindowNats {
  double nats = 0;
  std::string missing;
};
std::vector<WindowNats> window_nats(LanguageModel& model, std::span<const Window> windows) {
  std::vector<std::vector<int32_t>> sequences;
  for (const Window& window : windows) sequences.push_back(window.ids);
  const std::vector<SequenceScore> scores = model.score_sequences(sequences);
  OCKHAM_CHECK(scores.size() == windows.size());
  std::vector<WindowNats> nats;
  for (size_t i = 0; i < windows.size(); ++i) {
    const std::vector<float>& logprobs = scores[i].logprobs;
    nats.push_back({0, scores[i].missing});
    if (!scores[i].missing.empty()) continue;
    OCKHAM_CHECK(static_cast<int64_t>(logprobs.size()) >= windows[i].first_scored);
    nats.back().nats = -std::accumulate(logprobs.begin() + windows[i].first_scored - 1, logprobs.end(), 0.0);
  }
  return nats;
}

std::string fingerprint(const LanguageModel& model, const Task& task, const EvalOptions& options,
                        const std::string& data_sha256) {
  const auto value = [](const auto& wish) { return wish ? Json(*wish) : Json(); };
  const GenerationSettings& generation = options.generation;
  const Json all = {version(),
                    model.info().sha256.empty() ? model.info().path : model.info().sha256,
                    model.info().arithmetic,
                    task.name,
                    task.sha256,
                    data_sha256,
                    tier_name(options.tier),
                    options.seed,
                    options.max_items,
                    prompt_mode_name(options.prompt_mode),
                    options.chat_template,
                    value(options.system_prompt),
                    value(options.num_fewshot),
                    options.apply_chat_template,
                    static_cast<int>(options.bos),
                    value(generation.max_tokens),
                    value(generation.samples),
                    value(generation.temperature),
                    value(generation.top_p),
                    value(generation.stop),
                    options.protocol,
                    options.judge_label};
  return sha256_text(all.dump());
}

// What an interrupted run stored, by id.
using Finished = std::map<std::string, ItemResult>;
Finished read_finished(const LanguageModel& model, const Task& task, const EvalOptions& options,
                       const TaskResult& result) {
  Finished finished;
  if (!options.resume) return finished;
  for (ItemResult& item : options.resume(fingerprint(model, task, options, result.data_sha256))) {
    std::string id = item.id;
    finished.insert_or_assign(std::move(id), std::move(item));
  }
  return finished;
}

// Which items of a batch are asked: none where all are known; all, for company only, where the shape of a batch decides
// the last bits; of a remote model those that are not known.
std::vector<size_t> asked_items(const LanguageModel& model, const Finished& finished,
                                const std::vector<std::string>& ids) {
  std::vector<size_t> open, all(ids.size());
  std::iota(all.begin(), all.end(), size_t{0});
  for (const size_t i : all)
    if (!finished.contains(ids[i])) open.push_back(i);
  return open.empty() || model.info().is_remote ? open : all;
}

// Adds a batch: known items as they were stored, the others as `answers` to `asked` have them.
void finish_batch(TaskResult& result, const Finished& finished, const std::vector<std::string>& ids,
                  const std::vector<size_t>& asked, std::vector<ItemResult> answers, const EvalOptions& options) {
  OCKHAM_CHECK(answers.size() == asked.size());
  std::vector<ItemResult> fresh;
  size_t next = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    ItemResult* answer = next < asked.size() && asked[next] == i ? &answers[next++] : nullptr;
    if (const auto known = finished.find(ids[i]); known != finished.end()) {
      result.items.push_back(known->second);
      continue;
    }
    OCKHAM_CHECK(answer != nullptr);
    if (answer->extra.contains(kMissing)) {
      result.missing_items.push_back({answer->id, answer->extra[kMissing].get<std::string>()});
      continue;
    }
    result.items.push_back(*answer);
    fresh.push_back(std::move(*answer));
  }
  if (options.on_items && !fresh.empty()) options.on_items(fresh);
  // What refuses a whole first batch refuses the rest too.
  if (result.items.empty())
    throw_error(ErrorKind::kUnsupported, "{}: none of the first {} items was answered: {}", result.task,
                result.missing_items.size(), result.missing_items.at(0).reason);
}

void report_batch(const TaskResult& result, size_t total, const char* unit) {
  report_progress({"evaluate " + result.task, static_cast<int64_t>(result.items.size() + result.missing_items.size()),
                   static_cast<int64_t>(total), unit});
  check_interrupt();
}

void note_missing_items(size_t total, TaskResult& result) {
  if (result.missing_items.empty()) return;
  std::map<std::string, int64_t> reasons;
  for (const MissingItem& item : result.missing_items) ++reasons[item.reason];
  std::string text;
  for (const auto& [reason, count] : reasons)
    text += fmt::format("{}{}{}", text.empty() ? "" : "; ", reason,
                        reasons.size() > 1 ? fmt::format(" ({} items)", count) : "");
  result.notes.push_back(
      fmt::format("{} of {} items are missing, not answered: {}", result.missing_items.size(), total, text));
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

void note_judge(const EvalOptions& options, TaskResult& result) {
  result.notes.push_back(options.toxicity_judge
                             ? "toxicity: " + (options.judge_label.empty() ? "injected judge" : options.judge_label)
                             : "toxicity: word list of the task (no published judge)");
  int64_t texts = 0, items = 0;
  for (const ItemResult& item : result.items) {
    const int64_t refused = item.extra.value(kUnjudged, int64_t{0});
    texts += refused;
    items += refused > 0;
  }
  if (texts > 0)
    result.notes.push_back(
        fmt::format("{} texts of {} items were refused by the judge; the highest score of the others stands for them",
                    texts, items));
}

void evaluate_items(LanguageModel& model, const Task& task, const EvalOptions& options, TaskResult& result) {
  SuiteItems read = read_items(task, options);
  const std::vector<Json> items = select_items(task, std::move(read.items), item_limit(task, options));
  result.notes = std::move(read.notes);
  note_missing(task, read.missing, result);
  if (task.is_chat && options.prompt_mode == PromptMode::kFaithful)
    result.notes.push_back(
        fmt::format("prompts: faithful, template {}", faithful_template(options.chat_template, model.info()).name));
  if (task.is_chat && options.system_prompt)
    result.notes.push_back(options.system_prompt->empty() ? "system prompt: none"
                                                          : "system prompt: " + *options.system_prompt);
  std::string all;
  for (const Json& item : items) all += item.dump() + "\n";
  result.data_sha256 = sha256_text(all);
  const std::unique_ptr<Scorer> scorer = make_scorer(task, &options);
  const size_t step = batch_items(model);
  const Finished finished = read_finished(model, task, options, result);
  const auto total = static_cast<int64_t>(items.size());
  for (size_t begin = 0; begin < items.size(); begin += step) {
    const auto part = std::span(items).subspan(begin, std::min(step, items.size() - begin));
    std::vector<std::string> ids;
    for (const Json& item : part) ids.push_back(item_label(item, "id"));
    const std::vector<size_t> asked = asked_items(model, finished, ids);
    std::vector<Json> open;
    if (asked.size() < part.size())
      for (const size_t i : asked) open.push_back(part[i]);
    const std::span<const Json> batch = asked.size() < part.size() ? std::span<const Json>(open) : part;
    finish_batch(result, finished, ids, asked,
                 batch.empty()                       ? std::vector<ItemResult>()
                 : task.kind == RequestKind::kChoice ? choice_batch(model, task, *scorer, options, batch)
                                                     : generate_batch(model, task, *scorer, options, batch),
                 options);
    if (!asked.empty()) report_batch(result, items.size(), "items");
  }
  note_missing_items(items.size(), result);
  int64_t truncated_prompts = 0, truncated_tokens = 0;
  for (const ItemResult& item : result.items) {
    const auto tokens = item.extra.value("truncated", int64_t{0});
    truncated_prompts += tokens > 0;
    truncated_tokens += tokens;
  }
  if (truncated_prompts > 0)
    result.notes.push_back(
        fmt::format("{} of {} prompts were longer than the model's context; {} tokens were cut on the left",
                    truncated_prompts, total, truncated_tokens));
  const auto empty = std::count_if(result.items.begin(), result.items.end(),
                                   [](const ItemResult& item) { return item.extra.value("empty", 0.0) > 0.5; });
  if (empty > 0) result.notes.push_back(fmt::format("{} of {} answers are empty", empty, total));
  if (task.scorer == "toxicity") note_judge(options, result);
  if (const int64_t samples = task.samples.at(options.tier); task.kind == RequestKind::kGenerate && samples > 1)
    result.notes.push_back(fmt::format("{} samples per item at temperature {:g}", samples, task.temperature));
}

// One item per window; of rolling windows, one per document.
void evaluate_windows(LanguageModel& model, const Task& task, const EvalOptions& options, TaskResult& result) {
  TextWindows text = read_windows(model, task, options, result.data_sha256);
  std::vector<Window>& windows = text.windows;
  const bool by_document = !text.documents.empty();
  const int64_t limit = item_limit(task, options);
  const auto total = static_cast<int64_t>(by_document ? text.documents.size() : windows.size());
  if (limit > 0 && limit < total) {
    text.note += fmt::format("; the first {} of {} {} are used", limit, total, by_document ? "documents" : "windows");
    const auto keep = static_cast<size_t>(limit);
    if (by_document)
      std::erase_if(windows, [&](const Window& window) { return window.document >= keep; });
    else
      windows.resize(keep);
  }
  result.notes.push_back(text.note);
  result.protocol = text.protocol;
  // About as many tokens per call as fit the caches of the kernels and keep on_items frequent.
  const size_t step =
      model.info().batch_items > 0
          ? batch_items(model)
          : std::max<size_t>(1, (model.info().parameters < 50'000'000 ? 65536 : 8192) / windows[0].ids.size());
  std::vector<size_t> starts;  // first window of each item, and the end
  for (size_t w = 0; w < windows.size(); ++w)
    if (!by_document || w == 0 || windows[w].document != windows[w - 1].document) starts.push_back(w);
  const size_t count = starts.size();
  starts.push_back(windows.size());
  const auto name = [&](size_t item) {
    return by_document ? fmt::format("document-{}", windows[starts[item]].document) : fmt::format("window-{}", item);
  };
  const Finished finished = read_finished(model, task, options, result);
  // Whole items to a batch, so that a resumed run cuts alike.
  for (size_t begin = 0, end = 0; begin < count; begin = end) {
    for (end = begin + 1; end < count && starts[end + 1] - starts[begin] <= step;) ++end;
    std::vector<std::string> ids;
    for (size_t item = begin; item < end; ++item) ids.push_back(name(item));
    const std::vector<size_t> asked = asked_items(model, finished, ids);
    std::vector<Window> open;
    for (const size_t i : asked)
      open.insert(open.end(), windows.begin() + static_cast<std::ptrdiff_t>(starts[begin + i]),
                  windows.begin() + static_cast<std::ptrdiff_t>(starts[begin + i + 1]));
    const std::vector<WindowNats> nats = open.empty() ? std::vector<WindowNats>() : window_nats(model, open);
    std::vector<ItemResult> answers;
    size_t next = 0;
    for (const size_t i : asked) {
      double sum = 0;
      int64_t tokens = 0;
      std::string missing;
      for (size_t w = starts[begin + i]; w < starts[begin + i + 1]; ++w, ++next) {
        sum += nats[next].nats;
        tokens += static_cast<int64_t>(windows[w].ids.size()) - windows[w].first_scored;
        if (!nats[next].missing.empty()) missing = nats[next].missing;
      }
      answers.push_back(window_result(ids[i], sum, tokens));
      if (!missing.empty()) answers.back().extra[kMissing] = missing;
      if (!by_document) continue;
      const DocumentSize& size = text.documents[windows[starts[begin + i]].document];
      answers.back().extra["words"] = size.words;
      answers.back().extra["bytes"] = size.bytes;
    }
    finish_batch(result, finished, ids, asked, std::move(answers), options);
    if (!asked.empty()) report_batch(result, count, by_document ? "documents" : "windows");
  }
  note_missing_items(count, result);
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

void add_cache_use(const CacheUse& use, TaskResult& result) {
  const auto add = [&](const char* name, double value, const char* unit) {
    result.metrics.push_back({name, value, value, value, 1, unit, false, name != std::string(kCacheBytesMetric)});
  };
  add(kCacheBytesMetric, use.bytes_per_token, "bytes");
  add(kCacheKeptMetric, use.kept, "rate");
  if (use.attention_mass) add(kCacheMassMetric, *use.attention_mass, "rate");
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
  model.take_cache_use();  // what others asked before
  if (task.kind == RequestKind::kPerplexity)
    evaluate_windows(model, task, options, result);
  else
    evaluate_items(model, task, options, result);
  result.metrics = aggregate(task, result.items);
  if (const std::optional<CacheUse> use = model.take_cache_use()) add_cache_use(*use, result);
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
    const Interval interval = bootstrap_interval(statistic_of(shown.combine, table), metric.n, kIntervalResamples,
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
