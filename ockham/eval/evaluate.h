// Runs tasks on a model and turns answers into scores, item by item.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/eval/statistics.h"
#include "ockham/eval/task.h"

namespace ockham {

// One answered item. `score` is the item's contribution to the task's score metric (for a mean: 0..1).
struct ItemResult {  // NOLINT(bugprone-exception-escape): the move of the JSON library may assert
  std::string id;
  std::string prompt_sha;  // of the rendered prompt
  std::string prompt;      // kept for the report's drill-down; may be empty
  std::string answer;      // the text, or the chosen option; samples joined by "\n---\n"
  double score = 0;
  bool is_refusal = false;
  Json extra;  // what the scorer needs to aggregate again: group, label, prediction, judge values, logprobs
};

struct MetricResult {
  std::string name;
  double value = 0;          // score metrics: 0-100 points; rates: 0-1; perplexity: plain
  double low = 0, high = 0;  // 95 % bootstrap interval over items
  int64_t n = 0;
  std::string unit;  // "points", "rate", "ppl", "nats"
  bool is_score = false, higher_is_better = true;
};

// An item that a server left unanswered after all retries; it counts in no metric.
struct MissingItem {
  std::string id, reason;
};

// Metrics that stand beside a task's own where the model's KV cache is compressed (CacheUse): bytes by token read,
// share of the tokens kept, share of the prompts' attention on them.
inline constexpr const char *kCacheBytesMetric = "cache_bytes_per_token", *kCacheKeptMetric = "cache_tokens_kept",
                            *kCacheMassMetric = "cache_attention_kept";

struct TaskResult {
  std::string task;
  std::string dimension;
  std::vector<ItemResult> items;
  std::vector<MetricResult> metrics;
  std::string data_sha256;         // of the items used
  std::string protocol;            // of a perplexity: "gptq", "llama.cpp", ...; "" elsewhere
  std::vector<std::string> notes;  // truncated prompts, empty answers, judge used
  // Scenarios that the score needs and those without data; a score with missing ones is "partial k/n".
  int64_t scenarios = 0;
  std::vector<std::string> missing_scenarios;
  std::vector<MissingItem> missing_items;
  double seconds = 0;
};

// How a chat becomes a prompt: with the model's own template, or with every quirk of the benchmark's own code.
enum class PromptMode { kClean, kFaithful };
std::string prompt_mode_name(PromptMode mode);
PromptMode prompt_mode_from_name(const std::string& name, const std::string& where);  // Error(kInput) names `where`

// Decoding settings that replace a task's own (--gen-kwargs).
struct GenerationSettings {
  std::optional<int64_t> max_tokens, samples;
  std::optional<double> temperature, top_p;
  std::optional<std::vector<std::string>> stop;
};
// "max_gen_toks=64,temperature=0.7,top_p=0.9,until=\n\n,samples=5"; also the names max_tokens, max_new_tokens, stop and
// do_sample. Values may stand in quotes; \n is a line end. Error(kUsage) names the key.
GenerationSettings read_generation_settings(const std::string& text);

struct EvalOptions {
  Tier tier = Tier::kQuick;
  uint64_t seed = 0;
  int64_t max_items = 0;       // --items; 0: as the tier says
  std::string data_directory;  // --data
  WorldSource world_items;
  WorldText world_text;
  PromptMode prompt_mode = PromptMode::kClean;
  std::optional<int64_t> num_fewshot;  // --num-fewshot: examples before each question at most; unset: as the task says
  bool apply_chat_template = false;    // plain prompts become one user turn of the model's own chat template
  BosRule bos = BosRule::kTokenizer;   // --add-bos
  GenerationSettings generation;       // --gen-kwargs
  std::string protocol;                // --protocol of perplexity tasks; "": as the task says
  std::string chat_template;           // of the faithful mode; empty: what the model's name says
  std::optional<std::string> system_prompt;  // put before every conversation; "": system texts are left out
  // Toxicity of a text, 0..1; empty: the word list of the task.
  std::function<double(const std::string&)> toxicity_judge;
  std::string judge_label;  // beside every number that the judge gave: what it is, the hash of its weights
  // Called after every batch with its items, so that a caller can store them at once.
  std::function<void(const std::vector<ItemResult>&)> on_items;
  // Called once before the first batch with a hash of everything that decides an answer: model and its arithmetic,
  // task, data, settings, version. Gives the items that an interrupted run stored under the same hash; they are taken
  // over and not reported to on_items again. The rest is asked in the same batches as without an interruption; of a
  // remote model nothing is asked twice.
  std::function<std::vector<ItemResult>(const std::string& fingerprint)> resume;
};

// Error(kUnsupported) where the model cannot answer what the task asks, or a server answered none of its items.
TaskResult evaluate(LanguageModel& model, const Task& task, const EvalOptions& options);
// Metrics of stored items, without a model: the same numbers as evaluate() gave.
std::vector<MetricResult> aggregate(const Task& task, const std::vector<ItemResult>& items);
// The task's score metric only, over items picked by index (empty: all of them once).
double score_of(const Task& task, const std::vector<ItemResult>& items, const std::vector<int32_t>& picked);
// The same as a statistic for bootstrap_interval() and paired_difference(): the items are read once, a resample costs
// O(n). Thread-safe; owns what it needs.
Statistic score_statistic(const Task& task, const std::vector<ItemResult>& items);

// The items that a tier uses: chosen by hash, in proportion over (part, group, label), the quick ones among the full
// ones.
std::vector<Json> task_items(const Task& task, const EvalOptions& options);
// The prompt of one item, as the model gets it.
Prompt build_prompt(const LanguageModel& model, const Task& task, const Json& item, const EvalOptions& options = {});
// The chat of an item before it is rendered: its own `messages`, or the benchmark's layout of description, examples and
// input.
std::vector<ChatMessage> build_messages(const Task& task, const Json& item, const EvalOptions& options = {});

}  // namespace ockham
