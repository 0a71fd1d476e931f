// `--judge`: a toxicity judge by its name, for the commands that take one.
#pragma once

#include <string>

#include "cli/commands.h"
#include "ockham/eval/judges/judge.h"

namespace ockham {

struct JudgeChoice {
  std::string name, label;  // a file, a folder or "perspective"; the classifier's label
  double rate = 1;          // queries a second of a service
};

void add_judge_options(CLI::App& command, JudgeChoice& choice);
// `answers`: the file that keeps what a service said; "": none. Error(kUsage) where an option has nothing to choose.
ToxicityJudge open_judge(const JudgeChoice& choice, const std::string& answers);
// True for a judge that costs queries.
bool is_service(const JudgeChoice& choice);

}  // namespace ockham
