// Scripted answers, a small home, and a dump of the database.
#include "tests/study/scripted_fixture.h"

#include <unistd.h>

#include <mutex>

#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/io/file.h"
#include "ockham/study/database.h"

namespace ockham {
namespace {

// Several threads count at once.
int64_t count(int64_t& counter) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  return ++counter;
}

// Scores options by a hash; parameters above the limit of small models, so that a task takes several batches.
class ScriptedModel final : public LanguageModel {
 public:
  ScriptedModel(std::string key, ScriptedBackend& backend) : key_(std::move(key)), backend_(backend) {
    info_.parameters = 60'000'000;
    info_.name = key_;
    info_.sha256 = sha256_text(key_);
  }
  const ModelInfo& info() const override { return info_; }
  std::optional<CacheUse> take_cache_use() override { return cache; }
  Prompt render(std::span<const ChatMessage> messages, bool) const override {
    std::string text;
    for (const ChatMessage& message : messages) text += message.role + ": " + message.content + "\n";
    return {text, true};
  }
  std::vector<ScoreAnswer> score(std::span<const ScoreRequest> requests) override {
    if (backend_.pause_us > 0) usleep(static_cast<useconds_t>(backend_.pause_us));
    if (count(backend_.batches) == backend_.interrupt_after) request_interrupt();
    std::vector<ScoreAnswer> answers;
    for (const ScoreRequest& request : requests) {
      ScoreAnswer answer;
      for (const std::string& option : request.continuations) {
        const double noise = Rng(hash_seed(key_ + request.context.text + option)).uniform();
        answer.scores.push_back({-1 - noise, 1, false});
      }
      answers.push_back(answer);
    }
    return answers;
  }
  std::vector<GenerateAnswer> generate(std::span<const GenerateRequest>) override { return {}; }
  std::vector<SequenceScore> score_sequences(std::span<const std::vector<int32_t>>) override { return {}; }
  std::vector<int32_t> tokenize(const std::string&, bool) const override { return {}; }

  std::optional<CacheUse> cache;

 private:
  std::string key_;
  ScriptedBackend& backend_;
  ModelInfo info_;
};

std::string task_yaml(const std::string& name, const std::string& dimension) {
  return fmt::format(
      "task: {}\nsummary: scripted\ndimension: {}\nitems: {{quick: 0, full: 0}}\ndata: {{world: {}}}\nrequest: {{kind: "
      "choice}}\n"
      "prompt: {{system: \"s\", description: \"d\"}}\nscorer: choice\nmetrics:\n"
      "  - {{name: accuracy, aggregate: score, better: higher, score: true}}\n",
      name, dimension, dimension);
}

}  // namespace

ModelInfo ScriptedBackend::describe(const std::string& path) {
  if (path.find("missing") != std::string::npos) throw_input("{}: no such model", path);
  ModelInfo info;
  info.path = path;
  info.sha256 = sha256_text(path + model_version);
  info.bytes = 1000;
  info.parameters = 500;
  info.context_length = 128;
  return info;
}
void ScriptedBackend::check(const std::string&, const Recipe& recipe) {
  for (const RecipeStep& step : recipe.steps)
    if (step.params.contains("bits") && to_text(step.params.at("bits")) == "7")
      throw_input("{}: seven bits do not fit", step.where);
}
std::string ScriptedBackend::data_sha256(const std::string& data) {
  return sha256_text(data);
}
CompressedModel ScriptedBackend::open(const std::string& path, std::optional<uint64_t> noise_seed) {
  count(opened);
  CompressedModel result;
  result.model =
      std::make_unique<ScriptedModel>(noise_seed ? fmt::format("{} noise {}", path, *noise_seed) : path, *this);
  result.bytes = 1000;
  result.bits = 16;
  result.sha256 = sha256_text(path);
  return result;
}
CompressedModel ScriptedBackend::open_cached(const std::string& path, const KvPolicy& kv) {
  CompressedModel result = open(path);
  auto model = std::make_unique<ScriptedModel>(path + kv.text(), *this);
  model->cache = {512, 0.25, 0.75};
  result.model = std::move(model);
  return result;
}
CompressedModel ScriptedBackend::compress(const std::string& path, const Recipe& recipe, const std::string& directory) {
  count(compressed);
  std::filesystem::create_directories(directory);
  write_file_atomically(directory + "/weights", recipe.to_yaml());
  CompressedModel result = open(path + recipe.to_yaml());
  result.bytes = 500;
  result.sparsity = 0.5;
  return result;
}
StudyBackend::Estimate ScriptedBackend::estimate(const std::string&, const Recipe* recipe) {
  return {recipe == nullptr ? 0.0 : 2.0, 500, 4096};
}
EvalOptions ScriptedBackend::eval_options() {
  EvalOptions options;
  options.world_items = [this](const std::string& suite) {
    std::vector<Json> all;
    for (int64_t i = 0; i < items; ++i)
      all.push_back(Json{{"id", fmt::format("{}-{:03}", suite, i)},
                         {"input", fmt::format("question {} of {}", i, suite)},
                         {"option", {"yes", "no"}},
                         {"label", i % 2}});
    return all;
  };
  return options;
}

void make_home(const Scratch& scratch) {
  namespace fs = std::filesystem;
  fs::create_directories(scratch.file("tasks/trial"));
  fs::create_directories(scratch.file("recipes"));
  for (const char* name : {"wanda.yaml", "rtn.yaml", "rtn-4.yaml", "magnitude.yaml"})
    fs::copy_file(fs::path(OCKHAM_SOURCE_DIR) / "recipes" / name, scratch.file("recipes") + "/" + name);
  scratch.put("tasks/trial/privacy.yaml", task_yaml("trial/privacy", "privacy"));
  scratch.put("tasks/trial/fairness.yaml", task_yaml("trial/fairness", "fairness"));
  scratch.put("study.yaml", study_text());
}

std::string study_text() {
  return "models: [{name: big, path: /models/big}, {name: small, path: /models/small, recipes: [dense]}]\n"
         "recipes: [dense, {name: wanda-50, use: wanda, params: {sparsity: 0.5}}, rtn-4]\n"
         "calibration: {data: made-up, samples: 4, tokens: 8}\n"
         "seeds: [0, 1, 2]\n"
         "tasks: [trial/*]\n";
}

StudyOptions options_in(const Scratch& scratch, const std::string& directory) {
  StudyOptions options;
  options.home = scratch.path();
  options.directory = scratch.file(directory);
  return options;
}

std::string contents(const std::string& directory) {
  Database database(directory + "/results.sqlite", Database::Mode::kRead);
  std::string text;
  const auto dump = [&](const std::string& sql, int columns) {
    Statement row(database, sql);
    while (row.step()) {
      for (int c = 0; c < columns; ++c) text += row.text(c) + "|";
      text += "\n";
    }
  };
  const std::string cells = " FROM cell JOIN model ON model.id=cell.model JOIN recipe ON recipe.id=cell.recipe ";
  const std::string order = " ORDER BY 1,2,3,4,5";
  dump("SELECT model.name,recipe.name,seed,task,status" + cells + order, 5);
  dump("SELECT model.name,recipe.name,seed,task,item.id,prompt_sha,answer,score,refused,extra" + cells +
           "JOIN item ON item.cell=cell.id" + order,
       10);
  dump("SELECT model.name,recipe.name,seed,task,metric.name,value,low,high,n,unit" + cells +
           "JOIN metric ON metric.cell=cell.id" + order,
       10);
  return text;
}

}  // namespace ockham
