// Items out of rows through Jinja templates, as lm-evaluation-harness builds them from its YAML files. A template may
// also be the name of a field, whose value is then taken as it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/eval/suites/suite.h"
#include "ockham/io/json.h"

namespace ockham {

struct RowsPlan {
  std::string where;         // names the task in errors
  std::string text, target;  // what is asked; the answer: a text, the index of a choice, or a list of right ones
  // One template that gives a list, or one template per choice; empty: the answer is to be written. When `text` gives a
  // whole number, the choices are contexts, the number is the right one and `target` the continuation of all.
  std::vector<std::string> choices;
  std::string description;  // stands before everything, once
  std::string target_delimiter = " ", shot_delimiter = "\n\n";
  int64_t shots = 0;
  bool takes_first_shots = false;       // else drawn anew for each row as Python's random.Random(1234).sample() does
  bool excludes_row = false;            // a row is never its own example
  bool is_likelihood = false;           // the target itself is scored, without a delimiter
  std::string id, part, group, labels;  // optional: identity, cell, group, truth of each choice (0 or 1)
};

// One item per row: `context` and, where there is one, `preamble`; `option` and `label`, or `answers`; for choices that
// are contexts `contexts` and `continuation`. Examples come from `pool`.
std::vector<Json> build_items(const RowsPlan& plan, const std::vector<Json>& rows, const std::vector<Json>& pool);

}  // namespace ockham
