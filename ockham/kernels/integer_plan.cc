#include "ockham/kernels/integer_plan.h"

#include <algorithm>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/half.h"
#include "ockham/core/integers.h"
#include "ockham/kernels/builder.h"

namespace ockham {
namespace {

// Source columns by group, each group's in order.
std::vector<std::vector<int32_t>> columns_by_group(const IntegerSource& source, int64_t groups) {
  std::vector<std::vector<int32_t>> found(static_cast<size_t>(groups));
  for (int64_t c = 0; c < source.columns; ++c) {
    const int64_t group =
        source.group_index.empty() ? c / source.group_size : source.group_index[static_cast<size_t>(c)];
    if (group < 0 || group >= groups)
      throw_input("column {} is in group {} of {} groups; write the model again", c, group, groups);
    found[static_cast<size_t>(group)].push_back(static_cast<int32_t>(c));
  }
  return found;
}

void plan_one_group(ColumnPlan& plan, int64_t columns) {
  plan.columns = round_up(columns, 32);
  plan.group = std::min(kMostGroup, plan.columns);
  plan.groups = ceil_div(plan.columns, plan.group);
  plan.inputs_per_record = plan.groups;
  plan.records = 1;
  plan.record_of.assign(static_cast<size_t>(columns), 0);
}

// One record for each group; long groups take several step sizes of inputs.
void plan_groups(ColumnPlan& plan, const IntegerSource& source) {
  const auto by_group = columns_by_group(source, plan.source_groups);
  size_t longest = 1;
  for (const auto& columns : by_group) longest = std::max(longest, columns.size());
  const auto length = static_cast<int64_t>(longest);
  const bool takes_halves = length == 16 || (source.bits != 3 && source.bits != 5);
  plan.inputs_per_record = ceil_div(length, kMostGroup);
  plan.group = round_up(ceil_div(length, plan.inputs_per_record), takes_halves ? 16 : 32);
  const int64_t width = plan.group * plan.inputs_per_record;
  const bool is_natural = source.group_index.empty() && width == source.group_size;
  plan.columns = round_up(is_natural ? source.columns : width * plan.source_groups, 32);
  plan.groups = ceil_div(plan.columns, plan.group);
  plan.records = ceil_div(plan.groups, plan.inputs_per_record);
  plan.record_of.resize(static_cast<size_t>(source.columns));
  for (size_t g = 0; g < by_group.size(); ++g) {
    for (const int32_t c : by_group[g]) plan.record_of[static_cast<size_t>(c)] = static_cast<int32_t>(g);
  }
  if (is_natural) return;
  plan.order.assign(static_cast<size_t>(plan.columns), -1);
  for (size_t g = 0; g < by_group.size(); ++g)
    std::copy(by_group[g].begin(), by_group[g].end(), plan.order.begin() + static_cast<int64_t>(g) * width);
}

using PackStep = void (*)(const uint8_t* q, uint8_t* v);

void pack_2(const uint8_t* q, uint8_t* v) {
  v[0] = static_cast<uint8_t>(q[0] | q[1] << 2 | q[2] << 4 | q[3] << 6);
}
void pack_3(const uint8_t* q, uint8_t* v) {
  v[0] = static_cast<uint8_t>(q[0] | q[1] << 3 | (q[6] & 3) << 6);
  v[1] = static_cast<uint8_t>(q[2] | q[3] << 3 | (q[7] & 3) << 6);
  v[2] = static_cast<uint8_t>(q[4] | q[5] << 3 | (q[6] >> 2) << 6 | (q[7] >> 2) << 7);
}
void pack_4(const uint8_t* q, uint8_t* v) {
  v[0] = static_cast<uint8_t>(q[0] | q[1] << 4);
}
void pack_5(const uint8_t* q, uint8_t* v) {
  v[0] = static_cast<uint8_t>(q[0] | (q[5] & 7) << 5);
  v[1] = static_cast<uint8_t>(q[1] | (q[6] & 7) << 5);
  v[2] = static_cast<uint8_t>(q[2] | (q[7] & 7) << 5);
  v[3] = static_cast<uint8_t>(q[3] | (q[5] >> 3) << 5 | (q[7] >> 3 & 1) << 7);
  v[4] = static_cast<uint8_t>(q[4] | (q[6] >> 3) << 5 | (q[7] >> 4) << 7);
}
void pack_6(const uint8_t* q, uint8_t* v) {
  for (int i = 0; i < 3; ++i) v[i] = static_cast<uint8_t>(q[i] | (q[3] >> 2 * i & 3) << 6);
}
void pack_8(const uint8_t* q, uint8_t* v) {
  v[0] = q[0];
}

struct StepShape {
  int bits;
  int64_t quads, vectors;
  PackStep pack;
};
constexpr StepShape kSteps[] = {{2, 4, 1, pack_2}, {3, 8, 3, pack_3}, {4, 2, 1, pack_4},
                                {5, 8, 5, pack_5}, {6, 4, 3, pack_6}, {8, 1, 1, pack_8}};

const StepShape& step_of(int bits) {
  const auto* found = std::find_if(std::begin(kSteps), std::end(kSteps), [&](const auto& s) { return s.bits == bits; });
  OCKHAM_CHECK(found != std::end(kSteps));
  return *found;
}

}  // namespace

ColumnPlan plan_columns(const IntegerSource& source) {
  ColumnPlan plan;
  const int64_t group_size = source.group_size == 0 ? source.columns : source.group_size;
  plan.source_groups = ceil_div(source.columns, group_size);
  if (plan.source_groups == 1) {
    plan_one_group(plan, source.columns);
  } else {
    plan_groups(plan, source);
  }
  return plan;
}

ColumnPlan plan_whole_groups(int64_t columns, int64_t group_size) {
  if (group_size > kMostGroup)
    throw_error(ErrorKind::kUnsupported, "groups of {} columns kept or dropped; kernels take up to {}", group_size,
                kMostGroup);
  ColumnPlan plan;
  plan.source_groups = plan.groups = plan.records = ceil_div(columns, group_size);
  plan.group = round_up(group_size, 16);
  plan.columns = plan.groups * plan.group;
  if (plan.group != group_size) plan.order.assign(static_cast<size_t>(plan.columns), -1);
  for (int64_t c = 0; c < columns; ++c) {
    plan.record_of.push_back(static_cast<int32_t>(c / group_size));
    if (!plan.order.empty()) {
      plan.order[static_cast<size_t>(c / group_size * plan.group + c % group_size)] = static_cast<int32_t>(c);
    }
  }
  return plan;
}

void pack_steps(const std::vector<uint8_t>& quads, int bits, uint8_t* to) {
  const StepShape& step = step_of(bits);
  const int64_t count = static_cast<int64_t>(quads.size()) / (64 * step.quads);
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t lane = 0; lane < 64; ++lane) {
      uint8_t codes[8], packed[5];
      for (int64_t q = 0; q < step.quads; ++q) codes[q] = quads[static_cast<size_t>((s * step.quads + q) * 64 + lane)];
      step.pack(codes, packed);
      for (int64_t v = 0; v < step.vectors; ++v) to[(s * step.vectors + v) * 64 + lane] = packed[v];
    }
  }
}

std::vector<int32_t> stored_places(const ColumnPlan& plan, int64_t columns) {
  std::vector<int32_t> places(static_cast<size_t>(columns));
  if (plan.order.empty()) std::iota(places.begin(), places.end(), 0);
  for (size_t i = 0; i < plan.order.size(); ++i) {
    if (plan.order[i] >= 0) places[static_cast<size_t>(plan.order[i])] = static_cast<int32_t>(i);
  }
  return places;
}

}  // namespace ockham
