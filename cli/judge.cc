#include "cli/judge.h"

#include <filesystem>
#include <memory>
#include <mutex>

#include "ockham/core/error.h"
#include "ockham/eval/judges/ngram_judge.h"
#include "ockham/pipeline/encoder_judge.h"
#include "ockham/server/perspective.h"

namespace ockham {

void add_judge_options(CLI::App& command, JudgeChoice& choice) {
  command.add_option("--judge", choice.name,
                     "Toxicity judge: a file that `ockham data judge` trained, the folder of a Hugging Face classifier "
                     "(bert, roberta, distilbert), or perspective (key in PERSPECTIVE_API_KEY)");
  command.add_option("--judge-label", choice.label,
                     "Which of the classifier's labels counts, by name or number (default: the one that says toxic)");
  command.add_option("--judge-rate", choice.rate, "Queries a second of --judge perspective (default 1)")
      ->check(CLI::Range(0.001, 1000.0));
}

bool is_service(const JudgeChoice& choice) {
  return choice.name == "perspective";
}

namespace {

template <typename Judge>
ToxicityJudge judge_of(std::shared_ptr<Judge> judge) {
  return {[judge](const std::string& text) { return judge->score(text); }, judge->label()};
}

}  // namespace

ToxicityJudge open_judge(const JudgeChoice& choice, const std::string& answers) {
  const bool is_folder = std::filesystem::is_directory(choice.name);
  if (!choice.label.empty() && (!is_folder || is_service(choice)))
    throw_error(ErrorKind::kUsage,
                "--judge-label: chooses among the labels of a classifier; name its folder with --judge");
  if (choice.name.empty()) return {};
  if (is_service(choice)) {
    PerspectiveService service = perspective_from_environment();
    service.queries_per_second = choice.rate;
    return judge_of(std::make_shared<PerspectiveJudge>(std::move(service), answers));
  }
  if (!is_folder) return judge_of(std::make_shared<const NgramJudge>(NgramJudge::load(choice.name)));
  // One text at a time: a study asks from several threads.
  const auto mutex = std::make_shared<std::mutex>();
  ToxicityJudge judge = judge_of(std::make_shared<const EncoderJudge>(choice.name, choice.label));
  judge.score = [mutex, score = std::move(judge.score)](const std::string& text) {
    const std::lock_guard lock(*mutex);
    return score(text);
  };
  return judge;
}

}  // namespace ockham
