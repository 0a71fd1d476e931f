// results.sqlite: every model, recipe, cell, item and metric of a study, written so that a kill at any moment loses at
// most the batch in progress. A cell is `running` until its metrics are in; a running cell that nobody works on is
// taken up again with the items it has, where the same evaluation asks for them. Not done here: deciding what to run
// (study.h) or what it means (report/).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ockham/report/results.h"

namespace ockham {

// A metric of cells in which items are missing: how many.
inline constexpr const char* kMissingMetric = "missing_items";

class ResultsStore {
 public:
  static constexpr int64_t kMajor = 1, kMinor = 1;

  // Opens or creates `directory`/results.sqlite for one writer. Error(kResource) while another process writes there,
  // Error(kUnsupported) for another major schema version.
  explicit ResultsStore(const std::string& directory);
  ~ResultsStore();
  ResultsStore(const ResultsStore&) = delete;
  ResultsStore& operator=(const ResultsStore&) = delete;

  void set_study(const StudyDescription& study);
  int64_t add_run(const StoredRun& run);
  // The id of the row with this name and hash, added when new. Finished cells of the same name with another hash become
  // `superseded`: kept in the file, shown by no report.
  int64_t add_model(const StoredModel& model);
  int64_t add_recipe(const StoredRecipe& recipe);
  // The same by the hash of the task file and the tier, since both decide what is asked.
  void add_task(const StoredTask& task, const std::string& tier);

  bool is_done(int64_t model, int64_t recipe, uint64_t seed, const std::string& task);
  double seconds_of(int64_t model, int64_t recipe, uint64_t seed, const std::string& task);  // 0 where not done
  // The cell that an interrupted run left, or a new one.
  int64_t begin_cell(int64_t run, int64_t model, int64_t recipe, uint64_t seed, const std::string& task);
  // The items that an interrupted run left in the cell, if it evaluated under the same fingerprint (see
  // EvalOptions::resume); others are removed.
  std::vector<ItemResult> resume_cell(int64_t cell, const std::string& fingerprint);
  void add_items(int64_t cell, const std::vector<ItemResult>& items);  // one transaction
  // Writes the metrics and the status `done` in one transaction; kMissingMetric among them marks an incomplete cell.
  void finish_cell(int64_t cell, const std::vector<MetricResult>& metrics, double seconds, int64_t peak_bytes);
  // Error(kInput) where the items are not those of the cells before. Notes are replaced only with `set_notes`.
  void set_task_data(const std::string& task, const std::string& data_sha256, const std::vector<std::string>& notes,
                     bool set_notes);
  // Takes a finished cell whose items are not all there up again, with those it has. False where there is none.
  bool reopen_incomplete(int64_t model, int64_t recipe, uint64_t seed, const std::string& task);
  // Deletes a finished cell with its items and metrics, if there is one.
  void remove_cell(int64_t model, int64_t recipe, uint64_t seed, const std::string& task);
  // Cells superseded since the store was opened.
  int64_t superseded() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Everything that finished in `directory`; works while a study is still writing. `read_items` false leaves the items
// out.
StudyResults read_results(const std::string& directory, bool read_items = true);

}  // namespace ockham
