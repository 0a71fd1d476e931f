// The comparison in words: what a reader wants to know first, each answer with the numbers that it rests on.
#pragma once

#include <string>
#include <vector>

#include "ockham/report/summary.h"

namespace ockham {

enum class Tone { kGood, kBad, kNeutral };

struct Answer {
  std::string question;  // "What is the smallest version that keeps everything?"
  std::string headline;  // "rtn-4, 1.1 MB"
  std::string detail;    // one or two sentences
  Tone tone = Tone::kNeutral;
};

std::vector<Answer> answers(const Comparison& comparison);

// True where every interpretable trust and knowledge column is complete and keeps or gains.
bool keeps_everything(const Comparison& comparison, const ComparisonRow& row);
// How many interpretable columns have this verdict.
int64_t count_verdict(const ComparisonRow& row, Verdict verdict);

}  // namespace ockham
