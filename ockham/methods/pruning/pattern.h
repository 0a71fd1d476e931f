// Shared by pruning methods: which weights go, given scores, and how a recipe says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/params.h"
#include "ockham/methods/pruning/tiles.h"
#include "ockham/model/decoder.h"

namespace ockham {

// Unstructured, or `zeros` of every `group` consecutive columns of a row, or whole tiles.
struct SparsityPattern {
  double sparsity = 0.5;
  int64_t zeros = 0, group = 0;  // group 0: not N:M
  Tile tile = {0, 0};            // rows 0: no tiles
};

// The parameters `sparsity` and `pattern`, alike in every pruning method.
std::vector<ParamSpec> sparsity_parameters(bool allows_tiles = false);
// Error(kInput) for a malformed pattern, a sparsity that contradicts it, or tiles where the method cannot choose them.
SparsityPattern read_sparsity(const Params& params, bool allows_tiles = false);
// True where the weights [R, C] are zero as the pattern asks: enough of them, in every group, in whole tiles.
bool satisfies(const Tensor& weights, const SparsityPattern& pattern);
// Error(kInput) where an N:M pattern does not divide the columns.
void check_pattern(const SparsityPattern& pattern, const std::string& where, const std::string& linear,
                   int64_t columns);

// Masks bool [R, C], true = pruned; scores float32 [R, C]. Among equal scores the lowest column goes first.
Tensor lowest_of_each_row(const Tensor& scores, int64_t count);
// The score float32 that would stand at `place`, from 0, if all of them were sorted.
float kth_lowest(const Tensor& scores, int64_t place);
// The tiles with the least sum of squared scores.
Tensor lowest_tiles_of(const Tensor& scores, const SparsityPattern& pattern);
Tensor lowest_of_each_group(const Tensor& scores, int64_t zeros, int64_t group);
// Sets the masked weights to exactly zero, in whatever format the weight is.
void prune(Linear& linear, const Tensor& pruned);

}  // namespace ockham
