// Small tools for making items.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/writers.h"

namespace ockham::world {

// Collects one suite; refuses a second item with the same prompt, numbers the ids, and files the suite in the state.
class Suite {
 public:
  Suite(World::State& state, std::string name) : state_(state), name_(std::move(name)) {}
  ~Suite();
  Suite(const Suite&) = delete;
  Suite& operator=(const Suite&) = delete;
  // False where the prompt is already there.
  bool add(Json item);
  size_t size() const { return items_.size(); }
  // Puts the items in an order in which any beginning holds all parts and labels in even shares.
  void mix();

 private:
  World::State& state_;
  std::string name_;
  std::vector<Json> items_;
  std::unordered_set<std::string> seen_;
};

Json make_item(const std::string& input, const std::string& label, const std::vector<std::string>& option = {});
Rng suite_rng(const World::State& state, const std::string& suite);
const std::vector<std::string>& options_of(Task task);

}  // namespace ockham::world
