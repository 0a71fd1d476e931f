// Parts of search.json; private to ockham/search.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/search/constrain.h"
#include "ockham/search/search.h"

namespace ockham {

Json settings_json(const SearchRequest& request);
Json compared_json(const std::vector<ComparedAssignment>& compared);
Json layers_json(const LevelDatabase& database, const BuiltProblem& built, const Assignment& best);
Json speed_json(const CandidateEvaluator::Speed& speed);
// `unseen`: the chosen attempt on the items that the search never saw.
Json limits_json(const Constrained& constrained, const std::vector<FloorResult>& unseen, double confidence);
// Texts behind one another as token sequences of equal length, at most `tokens` in all. Error(kInput) where they are
// fewer than one sequence.
Tensor pack_texts(const std::vector<std::string>& texts, const std::string& tokenizer_directory, int64_t length,
                  int64_t tokens);

}  // namespace ockham
