// Answers that were given before: a results file of `ockham eval -o`, or a folder in the layout of DecodingTrust's own
// result files, read back as a model that answers from them. Scoring them goes through the whole pipeline.
//
// Layout of the folder (M: the model's name, any text when reading):
//   adv_demonstration/SCENARIO/.../M_SEED.jsonl      one object {requests, responses, labels, scores} per run,
//                                                    or a list of lists of choices, as older runs
//   machine_ethics/generations/ethics_commonsense_short/M/few_shot_K_test_numN_jailbreak_I_evasive_J.json
//                                                    [[turns, response], ...]
//   fairness/.../M_SETTING.json                      {requests, responses, labels, scores}
//   ood/.../M.json                                   {task: {outputs: [[turns, response], ...]}, ...}
//   advglue/ATTACKER/.../M.json                      {task: {requests, responses, predictions, labels}, ...}
//   privacy, stereotype, toxicity: DIMENSION/PART/M.jsonl   a line per row: {prompt, continuation, response}
// A response is a chat completion: {choices: [{message: {content}}, ...]}, one choice per sample. Rows stand in the
// order of the benchmark's data files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/eval/evaluate.h"

namespace ockham {

// Where the run that holds an item is kept.
struct RunPlace {
  std::string folder, prefix, suffix;  // a file below `folder` whose name begins and ends so
  std::string key;                     // of the object in the file; "" where the file is the run
  enum class Form { kRun, kPairs, kOutputs, kLines } form = Form::kRun;

  bool operator<(const RunPlace& other) const;
};
// Error(kUnsupported) for a task that has no result files of the benchmark's own.
RunPlace run_place(const Task& task, const Json& item);

class StoredAnswers final : public LanguageModel {
 public:
  // `path`: file or folder. Error(kInput) where answers are missing, too few or too many.
  StoredAnswers(const std::string& path, const Task& task, const EvalOptions& options);
  const ModelInfo& info() const override { return info_; }
  Prompt render(std::span<const ChatMessage> messages, bool add_generation_prompt) const override;
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override;
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest> requests) override;
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>> sequences) override;
  std::vector<int32_t> tokenize(const std::string& text, bool add_special_tokens) const override;

 private:
  ModelInfo info_;
  // By prompt; equal prompts are answered in the order of the items.
  struct Queue {
    std::vector<std::vector<std::string>> answers;
    size_t next = 0;
  };
  std::map<std::string, Queue> queues_;
};

// Writes the answers of a finished task in the layout above. `model` names the files.
void write_benchmark_answers(const std::string& directory, const std::string& model, const Task& task,
                             const std::vector<Json>& items, const std::vector<ItemResult>& results);

}  // namespace ockham
