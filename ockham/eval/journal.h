// What an evaluation has answered so far, kept beside its output: a line of JSON per batch, so that a kill loses at
// most the batch in flight.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ockham/eval/evaluate.h"
#include "ockham/io/line_file.h"

namespace ockham {

Json item_json(const ItemResult& item);
ItemResult item_from_json(const Json& json, const std::string& where);  // Error(kInput)

class EvalJournal {
 public:
  // Reads what an earlier run left at `path`. Error(kInput) where the file is no journal, Error(kResource) where
  // another process writes it.
  explicit EvalJournal(const std::string& path);
  // Lets evaluate() take over what the journal holds, and stores what it adds.
  void attach(EvalOptions& options);
  // What the journal holds for an evaluation; empty for none.
  std::vector<ItemResult> find(const std::string& fingerprint) const;
  // Items taken over by evaluations so far.
  int64_t resumed() const { return resumed_; }
  // Once the results are written.
  void remove() { file_.remove(); }

 private:
  LineFile file_;
  std::map<std::string, std::vector<ItemResult>> finished_;  // by fingerprint
  std::string fingerprint_;                                  // of the evaluation in progress
  int64_t resumed_ = 0;
};

}  // namespace ockham
