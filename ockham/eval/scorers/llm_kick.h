// What LLM-KICK (Jaiswal et al., 2023, arXiv 2310.01382) counts, and what stands in for its GPT-4 judge where there is
// none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/eval/scorers/scorer.h"

namespace ockham {

// A judge's reply: its first line, commas as blanks, holds exactly two numbers; else {-1, -1}.
std::vector<double> parse_judge_scores(const std::string& reply);
// A judge of summaries: two numbers in each of the first four lines; a line without two gives {-1, -1}.
std::vector<std::vector<double>> parse_summary_scores(const std::string& reply);

// F1 of n-grams (Lin, 2004), without stemming: lower case, runs of letters and digits are words.
std::vector<std::string> rouge_words(const std::string& text);
double rouge_n(const std::vector<std::string>& reference, const std::vector<std::string>& reply, size_t n);
double rouge_l(const std::vector<std::string>& reference, const std::vector<std::string>& reply);

// Repetition of a reply, in words between blanks.
double distinct_n(const std::vector<std::string>& words, size_t n);  // distinct n-grams / n-grams; 1 without any
// Words of the longest end of the text that also occurs before it, overlap allowed.
int64_t repeated_suffix(const std::vector<std::string>& words);

// Containment of one normalised text in the other; an empty reply, which is contained in everything, is wrong.
bool contained_either_way(const std::string& answer, const std::string& reply);
double token_f1(const std::string& answer, const std::string& reply);

ScorerEntry factoid_entry();
ScorerEntry reply_entry();

}  // namespace ockham
