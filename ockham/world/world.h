// FactWorld: a generated world whose texts teach a small model facts and habits, and whose items question them.
// Everything follows from one seed; sha256() fixes world, items and analysis plan before any compressed model is
// measured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"
#include "ockham/io/documents.h"
#include "ockham/io/json.h"

namespace ockham {

class World {
 public:
  static constexpr uint64_t kDefaultSeed = 20260101;
  explicit World(uint64_t seed = kDefaultSeed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // The training documents of pass `pass` (0, 1, ...): the same facts told again, in fresh order, company and wording;
  // plain texts and chats, some of up to 2,048 tokens. `lookups` (>= 0) multiplies the documents that ask for notes.
  std::vector<Document> corpus(int64_t pass, double lookups = 1) const;
  // Names of the item suites ("closed_book", "privacy", ...), and the items of one; Error(kUsage) for another name.
  std::vector<std::string> suites() const;
  std::vector<Json> items(const std::string& suite) const;
  // Documents never used in training: "heldout" for perplexity, "calibration" for calibration, plain texts and chats;
  // "refusal" and "utility", chats (texts.h).
  std::vector<Document> documents(const std::string& split) const;
  // The plain ones among them, as one text.
  std::string text(const std::string& split) const;
  // Of the facts, all items, the held-out texts and the analysis plan.
  std::string sha256() const;
  // Checks that no evaluation prompt, entity-template pair or 13-gram of an item occurs in `passes` passes of the
  // corpus, except the fact itself; returns one line per violation.
  std::vector<std::string> find_leaks(int64_t passes) const;

  // What the world is made of; the folder's own sources know it (state.h).
  struct State;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace ockham
