// Every unit of a model at every level, computed once: a directory with database.json (what it is made of),
// journal.jsonl (a line for each finished unit, with the hash of its file) and units/NAME.safetensors, which are mapped
// when levels are read. What a unit becomes depends on the dense model's activations alone, never on other units.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/calibration.h"
#include "ockham/search/levels.h"

namespace ockham {

// A unit at a level.
struct LevelFacts {
  Level level;
  int64_t bytes = 0;      // stored, side data included
  int64_t code_bits = 0;  // widths of integer codes alone, where there are such; otherwise the stored bits
  int64_t kept = 0;       // weights that are not zero
  double error = 0;       // mean squared change of the outputs in units of their size, summed over the unit's linears
};

class LevelDatabase {
 public:
  struct Options {
    std::string directory;
    CalibrationSpec calibration;
    TextSource text_source;
    int64_t share = 0, shares = 1;  // this process makes every `shares`-th unit of a block
  };
  // Opens the database in the directory and makes what is missing; interrupted, the next call goes on. Error(kInput)
  // where what is there was made of another model, other texts or other levels, or is damaged: the file, the key, what
  // was found and what to do are named.
  LevelDatabase(const Checkpoint& checkpoint, std::vector<LevelUnit> units, const LevelSet& levels,
                const Options& options);
  const std::vector<LevelUnit>& units() const { return units_; }
  // Of unit u, in the order of LevelSet::of().
  const std::vector<LevelFacts>& levels(size_t unit) const { return facts_[unit]; }
  // The weight of the unit's linear number `place` (in LevelUnit::linears). Thread-safe.
  Weight read(size_t unit, size_t level, size_t place) const;
  const std::string& directory() const { return directory_; }
  // What it was made of.
  const Json& conditions() const { return conditions_; }
  double seconds() const { return seconds_; }  // that this process computed
  int64_t bytes() const { return bytes_; }     // on disk

 private:
  std::string unit_path(size_t unit) const;
  void check_conditions() const;
  std::map<std::string, std::string> read_journal() const;
  void open();

  std::string directory_;
  std::vector<LevelUnit> units_;
  LevelSet set_;
  Json conditions_;
  std::vector<std::vector<LevelFacts>> facts_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<std::vector<Json>> records_;  // by unit and level: one of pack_weight() for each linear
  double seconds_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace ockham
