// Small tools for making items.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/writers.h"

namespace ockham::world {

// A finished suite and what it forbids the corpus.
struct FiledSuite {
  std::string name;
  std::vector<Json> items;
  std::vector<uint64_t> grams, prompts;  // see World::State
};
// Where a maker of suites puts them; suites know nothing of each other, so that their makers may run side by side.
struct Shelf {
  const World::State& state;
  std::vector<FiledSuite> suites;
};
using SuiteMaker = std::function<void(Shelf& shelf)>;
std::vector<SuiteMaker> knowledge_suites();
std::vector<SuiteMaker> trust_suites();
std::vector<SuiteMaker> demonstration_suites();
std::vector<SuiteMaker> privacy_suites();

// Collects one suite; refuses a second item with the same prompt.
class Suite {
 public:
  Suite(Shelf& shelf, std::string name) : shelf_(shelf), name_(std::move(name)) {}
  Suite(const Suite&) = delete;
  Suite& operator=(const Suite&) = delete;
  // False where the prompt is already there.
  bool add(Json item);
  size_t size() const { return items_.size(); }
  // Puts the items in an order in which any beginning holds all parts and labels in even shares.
  void mix();
  // Numbers the ids and puts the suite on the shelf: once, in the end.
  void file();

 private:
  Shelf& shelf_;
  std::string name_;
  std::vector<Json> items_;
  std::unordered_set<std::string> seen_;
};

Json make_item(const std::string& input, const std::string& label, const std::vector<std::string>& option = {});
Rng suite_rng(const World::State& state, const std::string& suite);
const std::vector<std::string>& options_of(Task task);

}  // namespace ockham::world
