// Slices along the experts and, where gate and up share a tensor, along its rows are contiguous: names and offsets are
// all there is to find.
#include "ockham/io/families/stacked_experts.h"

#include <fmt/format.h>

#include <optional>

#include "ockham/core/error.h"
#include "ockham/io/families/families.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

// What follows the name of the matrix, and what it is for a single expert.
constexpr std::pair<std::string_view, std::string_view> kEndings[] = {{"", ".weight"},
                                                                      {".weight", ".weight"},
                                                                      {".weight_packed", ".weight_packed"},
                                                                      {".weight_scale", ".weight_scale"},
                                                                      {".weight_zero_point", ".weight_zero_point"},
                                                                      {".weight_scale_inv", ".weight_scale_inv"},
                                                                      {"_scale_inv", ".weight_scale_inv"}};
// Gate, up and down in the order of Family::expert_linears.
struct Matrix {
  std::string_view name;
  size_t first, count;
};
constexpr Matrix kMatrices[] = {{"gate_up_proj", 0, 2}, {"gate_proj", 0, 1}, {"up_proj", 1, 1}, {"down_proj", 2, 1}};

struct Found {
  std::string block;  // prefix
  Matrix matrix;
  std::string_view ending;
};

std::optional<Found> find_matrix(const Family& family, const std::string& name) {
  const size_t dots = family.block.find("{}");
  const std::string_view head = family.block.substr(0, dots);
  if (!name.starts_with(head)) return std::nullopt;
  const size_t end = name.find('.', head.size());
  if (end == std::string::npos) return std::nullopt;
  // Mixtral's mixtures have llama's name there.
  const std::string_view own = family.expert.substr(0, family.expert.find("{}"));
  std::string_view rest = std::string_view(name).substr(end + 1);
  if (rest.starts_with(own)) {
    rest.remove_prefix(own.size());
  } else if (rest.starts_with("mlp.experts.")) {
    rest.remove_prefix(std::string_view("mlp.experts.").size());
  } else {
    return std::nullopt;
  }
  for (const Matrix& matrix : kMatrices) {
    if (!rest.starts_with(matrix.name)) continue;
    for (const auto& [theirs, ours] : kEndings)
      if (rest.substr(matrix.name.size()) == theirs) return Found{name.substr(0, end + 1), matrix, ours};
  }
  return std::nullopt;
}

}  // namespace

std::vector<TensorInfo> split_stacked_experts(const ModelConfig& config, const TensorInfo& stacked,
                                              const std::string& where) {
  const Family& family = *find_family(config.family);
  if (config.experts == 0 || family.expert.empty()) return {};
  const auto found = find_matrix(family, stacked.name);
  if (!found) return {};
  const auto [block, matrix, ending] = *found;
  const auto parts = static_cast<int64_t>(matrix.count);
  const std::vector<int64_t>& shape = stacked.shape;
  const int64_t inner = config.expert_size, hidden = config.hidden_size;
  const bool is_down = matrix.first == 2;
  const std::vector<int64_t> whole = {config.experts, is_down ? hidden : parts * inner, is_down ? inner : hidden};
  if (ending == ".weight" ? shape != whole : shape.empty() || shape.size() > 3 || shape.front() != config.experts) {
    throw_input("{}: tensor '{}' has shape {}, expected {}; config and weights are not of one model", where,
                stacked.name, Json(shape).dump(),
                ending == ".weight" ? Json(whole).dump() : fmt::format("{} in front", config.experts));
  }
  // A scale for the whole matrix serves gate and up alike.
  const bool is_shared = shape.size() < 2 || (shape[1] == 1 && ending != ".weight");
  if (!is_shared && shape[1] % parts != 0)
    throw_input("{}: tensor '{}' has {} rows, expected those of gate and up; download the model again", where,
                stacked.name, shape[1]);
  std::vector<int64_t> single(shape.begin() + 1, shape.end());
  if (single.empty()) single = {1};
  if (!is_shared) single.front() /= parts;
  const int64_t step = (stacked.end - stacked.begin) / std::max(config.experts, int64_t{1});
  std::vector<TensorInfo> result;
  for (int64_t expert = 0; expert < config.experts; ++expert) {
    for (int64_t part = 0; part < parts; ++part) {
      TensorInfo info = stacked;
      info.name = fmt::format("{}{}{}{}", block, fmt::format(fmt::runtime(family.expert), expert),
                              family.expert_linears[matrix.first + static_cast<size_t>(part)], ending);
      info.shape = single;
      const int64_t length = is_shared ? step : step / parts;
      info.begin = stacked.begin + expert * step + (is_shared ? 0 : part * length);
      info.end = info.begin + length;
      result.push_back(std::move(info));
    }
  }
  return result;
}

}  // namespace ockham
