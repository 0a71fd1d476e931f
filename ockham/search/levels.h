// Levels: the ways to store a unit that a search may choose from. A level is a list of recipe steps; "dense" has none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {

// What takes one level together: a linear, the linears of a block's attention or MLP, or those of a whole block.
enum class UnitKind { kLinear, kHalf, kBlock };
UnitKind unit_kind_from_name(const std::string& name);  // Error(kUsage)
std::string unit_kind_name(UnitKind kind);

struct LevelUnit {
  std::string name;  // "blocks.3.mlp.up_proj", "blocks.3.attention", "blocks.3"
  int64_t block = 0;
  std::vector<size_t> places;        // in Block::linears
  std::vector<std::string> linears;  // full names
  int64_t weights = 0;
};
// In the order of the blocks and of their linears; linears that match `ignore` are in none.
std::vector<LevelUnit> level_units(const ModelConfig& config, UnitKind kind, const std::vector<std::string>& ignore);

struct Level {
  std::string name;               // "sparsegpt sparsity=0.5 + gptq bits=4", "dense"
  std::vector<RecipeStep> steps;  // targets are not used
};
// "dense", or steps with + between, each METHOD:KEY=VALUE,KEY=VALUE. `where` names the place in errors.
Level parse_level(const std::string& text, const std::string& where);

// Sparsities around a mean in steps of equally many weights, so that one step down in a unit and one up in any other
// keep the number of zeros: unit u at level l has sparsity mean + l * step / weights(u) (Sieberling et al. 2025).
struct SparsityGrid {
  std::string method;
  double mean = 0.5;
  int64_t step = 0;   // weights
  int64_t reach = 8;  // levels on either side, as far as the sparsity stays within [0, 1)
  std::map<std::string, ParamValue> params;
};

struct LevelSet {
  std::vector<Level> levels;
  std::optional<SparsityGrid> grid;

  // Those of a unit, cheapest last in no particular order; the grid's are made for it.
  std::vector<Level> of(const LevelUnit& unit) const;
  // Complete and in one fixed form: what a database is made for.
  std::string text() const;
};

struct LevelRequest {
  std::string method;                        // "": what suits the budget
  std::vector<std::string> lists;            // "sparsity=0.4,0.5", "bits=2:6", "sparsity=0.3:0.9:0.1", "grid", a file
  std::vector<std::string> single;           // of parse_level()
  std::map<std::string, ParamValue> params;  // of every level of a list
  double sparsity = -1;                      // the budget's, for a grid
  bool has_bits = false;                     // the budget is one of bits or bytes
};
// Error(kUsage) and Error(kInput) for what is not understood; methods and parameters are checked.
LevelSet read_levels(const LevelRequest& request, const std::vector<LevelUnit>& units);

// The recipe in which every unit takes its level: one step for each step of each level that is used, with the names of
// its linears as targets.
Recipe recipe_of_levels(const std::vector<LevelUnit>& units, const std::vector<Level>& chosen,
                        const CalibrationSpec& calibration);

}  // namespace ockham
