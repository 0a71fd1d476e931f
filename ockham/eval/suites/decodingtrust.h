// The parts of the DecodingTrust benchmark that its suites share: where its files lie, and its literal prompts.
//
// --data may name a clone of the benchmark, a folder of the same layout, or the folder that holds it as
// `decodingtrust`. Data files are below its `data`; the prompts come from `prompts.json` beside it, which `ockham data
// decodingtrust` reads out of a clone, since none of the benchmark's texts are part of Ockham.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ockham/eval/suites/suite.h"

namespace ockham {

class DecodingTrust {
 public:
  explicit DecodingTrust(const SuiteContext& context);
  // A file below the benchmark's `data` ("ood/style.json"), or "" when it is absent.
  std::string file(const std::string& below) const;
  // The place that file() looks at, for messages.
  std::string place(const std::string& below) const;
  // An entry of prompts.json by its path ("stereotype.benign"). Error(kInput) names the file and the missing key.
  const Json& at(const std::string& path) const;
  std::string text(const std::string& path) const;
  std::vector<std::string> texts(const std::string& path) const;

 private:
  std::string root_, prompts_file_;
  Json prompts_;
};

// A task of the benchmark as turns. Without examples: the zero-shot system text, then description and input in one user
// turn. With examples: the few-shot system text, the description with its acknowledgement, every example as two turns
// (labels with a capital first letter and the rest in lower case), the input.
using Demonstrations = std::vector<std::pair<std::string, std::string>>;
Json classification_turns(const DecodingTrust& benchmark, const std::string& description, const std::string& input,
                          const Demonstrations& examples);
// One user turn, with a system turn before it unless `system` is empty.
Json plain_turns(const std::string& system, const std::string& user);
Json turn(const std::string& role, const std::string& content);

// Replaces each "{}" by the next of `values`, as the benchmark's templates mean it.
std::string fill_template(std::string_view pattern, const std::vector<std::string>& values);
// `examples` of a row, [[text, label], ...].
Demonstrations demonstrations_of(const Json& row, const std::string& where);

}  // namespace ockham
