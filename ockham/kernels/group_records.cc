#include "ockham/kernels/group_records.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "ockham/core/half.h"
#include "ockham/kernels/float_values.h"

namespace ockham {
namespace {

bool fits_half(float value) {
  return half_to_float(float_to_half(value)) == value;
}
bool fits_bfloat16(float value) {
  return bfloat16_to_float(float_to_bfloat16(value)) == value;
}

// values [R, G] = inner [R, G] * outer [R, ceil(G / groups_of_outer)], exactly; outer fits f16.
struct Nested {
  std::vector<int8_t> inner;
  std::vector<float> outer;
};

// Whether all values are whole multiples of `factor` from -128 to 127, which go to `inner`.
bool divide(const float* values, int64_t count, float factor, int8_t* inner) {
  for (int64_t i = 0; i < count; ++i) {
    const float quotient = factor == 0 ? 0 : std::nearbyint(values[i] / factor);
    if (!(quotient >= -128 && quotient <= 127) || quotient * factor != values[i]) return false;
    inner[i] = static_cast<int8_t>(quotient);
  }
  return true;
}

// A common f16 factor of a few values: the largest of them is a multiple of it by 1 to 128.
bool find_factor(const float* values, int64_t count, int8_t* inner, float& factor) {
  const float largest =
      *std::max_element(values, values + count, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  for (int multiple = 1; multiple <= 128; ++multiple) {
    factor = half_to_float(float_to_half(std::fabs(largest) / static_cast<float>(multiple)));
    if (divide(values, count, factor, inner)) return true;
  }
  return false;
}

std::optional<Nested> nest(const std::vector<float>& values, int64_t rows, int64_t groups, int64_t groups_of_outer) {
  Nested nested;
  nested.inner.resize(values.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t g = 0; g < groups; g += groups_of_outer) {
      const int64_t at = row * groups + g, count = std::min(groups_of_outer, groups - g);
      nested.outer.push_back(0);
      if (!find_factor(values.data() + at, count, nested.inner.data() + at, nested.outer.back())) return std::nullopt;
    }
  }
  return nested;
}

struct NestedValues {
  Nested scales, minima;
};
std::optional<NestedValues> nest_all(const GroupValues& values, int64_t groups_of_outer) {
  NestedValues nested;
  auto scales = nest(values.scales, values.rows, values.groups, groups_of_outer);
  if (!scales) return std::nullopt;
  nested.scales = std::move(*scales);
  if (values.minima.empty()) return nested;
  auto minima = nest(values.minima, values.rows, values.groups, groups_of_outer);
  if (!minima) return std::nullopt;
  nested.minima = std::move(*minima);
  return nested;
}

// Calls put(row, lane's panel, lane) for every row.
template <typename Put>
void for_rows(int64_t rows, const Put& put) {
  for (int64_t row = 0; row < rows; ++row) put(row, row / kPanelRows, row % kPanelRows);
}

void write_plain(const GroupRecords& groups, const GroupValues& values, uint8_t* to) {
  const DType type = float_type(groups.scale);
  const int64_t size = dtype_size(type);
  for_rows(values.rows, [&](int64_t row, int64_t panel, int64_t lane) {
    for (int64_t g = 0; g < values.groups; ++g) {
      const auto from = static_cast<size_t>(row * values.groups + g);
      uint8_t* record = to + panel * groups.panel_bytes + g * groups.record_bytes;
      store_values(&values.scales[from], 1, type, record + lane * size);
      uint8_t* after = record + kPanelRows * size;
      if (groups.zero == ZeroKind::kCodes) after[lane] = values.zeros[from];
      if (groups.zero == ZeroKind::kMinima) store_values(&values.minima[from], 1, type, after + lane * size);
    }
  });
}

void write_nested(const GroupRecords& groups, const GroupValues& values, const NestedValues& nested, uint8_t* to,
                  uint8_t* outers) {
  const int64_t outer_count = (values.groups + groups.records_of_outer - 1) / groups.records_of_outer;
  const bool has_minima = groups.zero == ZeroKind::kMinima;
  for_rows(values.rows, [&](int64_t row, int64_t panel, int64_t lane) {
    for (int64_t g = 0; g < values.groups; ++g) {
      const auto from = static_cast<size_t>(row * values.groups + g);
      uint8_t* record = to + panel * groups.panel_bytes + g * groups.record_bytes;
      record[lane] = static_cast<uint8_t>(nested.scales.inner[from]);
      if (has_minima) record[kPanelRows + lane] = static_cast<uint8_t>(nested.minima.inner[from]);
      if (groups.zero == ZeroKind::kCodes) record[kPanelRows + lane] = values.zeros[from];
    }
    for (int64_t o = 0; o < outer_count; ++o) {
      const auto from = static_cast<size_t>(row * outer_count + o);
      uint8_t* outer = outers + panel * groups.outer_panel_bytes + o * groups.outer_bytes;
      store_values(&nested.scales.outer[from], 1, DType::kF16, outer + 2 * lane);
      if (has_minima) store_values(&nested.minima.outer[from], 1, DType::kF16, outer + 32 + 2 * lane);
    }
  });
}

ZeroKind zero_kind(const GroupValues& values) {
  if (!values.minima.empty()) return ZeroKind::kMinima;
  const auto is_first = [&](uint8_t zero) { return zero == values.zeros.front(); };
  return std::all_of(values.zeros.begin(), values.zeros.end(), is_first) ? ZeroKind::kSame : ZeroKind::kCodes;
}

}  // namespace

DType float_type(ScaleKind kind) {
  return kind == ScaleKind::kF32 ? DType::kF32 : kind == ScaleKind::kBF16 ? DType::kBF16 : DType::kF16;
}

ScaleKind narrowest_kind(const std::vector<float>& scales, const std::vector<float>& minima) {
  const auto all = [&](bool (*fits)(float)) {
    return std::all_of(scales.begin(), scales.end(), fits) && std::all_of(minima.begin(), minima.end(), fits);
  };
  if (all(fits_bfloat16)) return ScaleKind::kBF16;
  return all(fits_half) ? ScaleKind::kF16 : ScaleKind::kF32;
}

GroupRecords store_records(const GroupValues& values, const RecordPlan& plan, MatrixBuilder& builder) {
  GroupRecords groups;
  groups.scale = narrowest_kind(values.scales, values.minima);
  groups.zero = zero_kind(values);
  groups.same_zero = values.zeros.front();
  groups.inputs_per_record = plan.inputs_per_record;
  groups.records_of_outer = std::max<int64_t>(kOuterColumns / plan.group_columns, 1);
  std::optional<NestedValues> nested;
  if (groups.scale == ScaleKind::kF32 && plan.may_nest) nested = nest_all(values, groups.records_of_outer);
  if (nested) groups.scale = ScaleKind::kNested;
  const int64_t scale_bytes = kPanelRows * (nested ? 1 : dtype_size(float_type(groups.scale)));
  groups.record_bytes =
      scale_bytes * (groups.zero == ZeroKind::kMinima ? 2 : 1) + (groups.zero == ZeroKind::kCodes ? kPanelRows : 0);
  groups.panel_bytes = plan.records * groups.record_bytes;
  const int64_t panels = panels_of(values.rows);
  uint8_t* records = builder.allocate(panels * groups.panel_bytes);
  groups.records = records;
  if (!nested) {
    write_plain(groups, values, records);
    return groups;
  }
  groups.outer_bytes = groups.zero == ZeroKind::kMinima ? 64 : 32;
  groups.outer_panel_bytes =
      (plan.records + groups.records_of_outer - 1) / groups.records_of_outer * groups.outer_bytes;
  uint8_t* outers = builder.allocate(panels * groups.outer_panel_bytes);
  groups.outers = outers;
  write_nested(groups, values, *nested, records, outers);
  return groups;
}

}  // namespace ockham
