// Selection of the lowest scores, and the two parameters behind it.
#include "ockham/methods/pruning/pattern.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

// Marks the `count` lowest of scores[0..n); `scratch` has room for n.
void mark_lowest(const float* scores, int64_t n, int64_t count, float* scratch, bool* pruned) {
  std::fill(pruned, pruned + n, count >= n);
  if (count <= 0 || count >= n) return;
  std::copy(scores, scores + n, scratch);
  std::nth_element(scratch, scratch + count - 1, scratch + n);
  const float last = scratch[count - 1];
  // Everything below `last` goes; of the weights equal to it as many as are still missing, from the left.
  int64_t equals = count - std::count_if(scratch, scratch + count, [last](float score) { return score < last; });
  for (int64_t i = 0; i < n; ++i) {
    if (scores[i] < last || (scores[i] == last && equals-- > 0)) pruned[i] = true;
  }
}

// Ordered as the floats are, NaN beyond the infinities.
uint32_t key_of(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits >> 31U) != 0 ? ~bits : bits | 0x80000000U;
}

float value_of(uint32_t key) {
  return std::bit_cast<float>((key >> 31U) != 0 ? key & 0x7fffffffU : ~key);
}

bool parse_n_of_m(const std::string& text, int64_t& zeros, int64_t& group) {
  const size_t colon = text.find(':');
  if (colon == 0 || colon == std::string::npos || colon + 1 == text.size() || text.size() > 7) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i != colon && (text[i] < '0' || text[i] > '9')) return false;
  }
  zeros = std::stoll(text.substr(0, colon));
  group = std::stoll(text.substr(colon + 1));
  return zeros >= 1 && zeros < group;
}

}  // namespace

std::vector<ParamSpec> sparsity_parameters(bool allows_tiles) {
  const char* with_tiles =
      "unstructured; N:M (N of every M consecutive columns of a row become zero), as in \"2:4\"; row; or tiles as in "
      "\"4x16\" and \"32x*\"";
  return {
      real_spec("sparsity", "share of the weights set to zero", 0.5, 0, 1),
      text_spec("pattern",
                allows_tiles ? with_tiles
                             : "unstructured, or N:M (N of every M consecutive columns of a row become zero), as in "
                               "\"2:4\"",
                "unstructured")};
}

SparsityPattern read_sparsity(const Params& params, bool allows_tiles) {
  SparsityPattern pattern;
  pattern.sparsity = params.real("sparsity");
  const std::string& text = params.text("pattern");
  if (text == "unstructured") return pattern;
  Tile tile;
  if (allows_tiles && parse_tile(text == "row" ? "1x*" : text, tile)) {
    pattern.tile = tile;
    return pattern;
  }
  if (!parse_n_of_m(text, pattern.zeros, pattern.group)) {
    throw_input("{}: key 'pattern' is '{}', expected unstructured or N:M with 0 < N < M, as in \"2:4\"{}",
                params.where(), text, allows_tiles ? ", row, or tiles as in \"4x16\"" : "");
  }
  const double implied = static_cast<double>(pattern.zeros) / static_cast<double>(pattern.group);
  if (params.is_given("sparsity") && std::abs(pattern.sparsity - implied) > 1e-6) {
    throw_input("{}: key 'sparsity' is {}, expected {} as pattern '{}' says; remove it or correct one of the two",
                params.where(), pattern.sparsity, implied, text);
  }
  pattern.sparsity = implied;
  return pattern;
}

void check_pattern(const SparsityPattern& pattern, const std::string& where, const std::string& linear,
                   int64_t columns) {
  if (pattern.group == 0 || columns % pattern.group == 0) return;
  throw_input(
      "{}: pattern '{}:{}' does not divide the {} columns of '{}', expected a divisor; choose another pattern or leave "
      "this linear out of `targets`",
      where, pattern.zeros, pattern.group, columns, linear);
}

Tensor lowest_of_each_row(const Tensor& scores, int64_t count) {
  const Tensor source = scores.to(at::kCPU).contiguous();
  const int64_t rows = source.size(0), columns = source.size(1);
  const Tensor pruned = at::empty({rows, columns}, at::kBool);
  const float* in = source.const_data_ptr<float>();
  bool* out = pruned.mutable_data_ptr<bool>();
  parallel_rows(0, rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(columns));
    for (int64_t row = begin; row < end; ++row) {
      mark_lowest(in + row * columns, columns, count, scratch.data(), out + row * columns);
    }
  });
  return pruned.to(scores.device());
}

float kth_lowest(const Tensor& scores, int64_t place) {
  OCKHAM_CHECK(scores.is_contiguous() && place >= 0 && place < scores.numel());
  constexpr uint32_t kShift = 20;  // counted by the leading 12 bits first
  const float* values = scores.const_data_ptr<float>();
  const int64_t n = scores.numel();
  std::vector<int64_t> counts(size_t{1} << (32U - kShift));
  for (int64_t i = 0; i < n; ++i) ++counts[key_of(values[i]) >> kShift];
  size_t bin = 0;
  for (; place >= counts[bin]; ++bin) place -= counts[bin];
  std::vector<uint32_t> keys;
  keys.reserve(static_cast<size_t>(counts[bin]));
  for (int64_t i = 0; i < n; ++i)
    if (const uint32_t key = key_of(values[i]); key >> kShift == bin) keys.push_back(key);
  std::nth_element(keys.begin(), keys.begin() + place, keys.end());
  return value_of(keys[static_cast<size_t>(place)]);
}

Tensor lowest_tiles_of(const Tensor& scores, const SparsityPattern& pattern) {
  const Tensor sums = tiled(scores.square(), pattern.tile).sum(2);
  const int64_t count = static_cast<int64_t>(static_cast<double>(sums.numel()) * pattern.sparsity);
  return lowest_tiles(sums, count, pattern.tile, scores.sizes());
}

bool satisfies(const Tensor& weights, const SparsityPattern& pattern) {
  const Tensor zeros = weights == 0;
  if (pattern.group > 0) {
    if (weights.size(1) % pattern.group != 0) return false;
    return (zeros.reshape({-1, pattern.group}).sum(1) >= pattern.zeros).all().item<bool>();
  }
  // Tiles that reach beyond the matrix are filled with zeros.
  const Tensor units = pattern.tile.rows > 0 ? (tiled(weights.abs(), pattern.tile).sum(2) == 0) : zeros;
  const double wanted = std::floor(static_cast<double>(units.numel()) * pattern.sparsity);
  return static_cast<double>(units.sum().item<int64_t>()) >= wanted;
}

Tensor lowest_of_each_group(const Tensor& scores, int64_t zeros, int64_t group) {
  OCKHAM_CHECK(scores.size(1) % group == 0);
  return lowest_of_each_row(scores.reshape({-1, group}), zeros).view(scores.sizes());
}

void prune(Linear& linear, const Tensor& pruned) {
  if (auto* group = std::get_if<GroupIntWeight>(&linear.weight)) {
    group->mask = group->mask.defined() ? group->mask.logical_or(pruned) : pruned;
    group->codes = group->codes.masked_fill(group->mask, 0);
    return;
  }
  if (const auto* dense = std::get_if<DenseWeight>(&linear.weight)) {
    linear.weight = DenseWeight{dense->values.masked_fill(pruned, 0)};
    return;
  }
  const auto* sparse = std::get_if<SparseWeight>(&linear.weight);
  if (sparse == nullptr)
    throw_input("{}: the weight is stored as {} already, expected pruning before that; reorder the steps", linear.name,
                weight_format(linear.weight));
  linear.weight = DenseWeight{weight_to_dense(*sparse, sparse->values.scalar_type()).masked_fill(pruned, 0)};
}

}  // namespace ockham
