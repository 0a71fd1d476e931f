// Floats with zeros left out: bitmap or column steps, or dense where neither pays.
#include <algorithm>
#include <atomic>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/float_values.h"

namespace ockham {
namespace {

constexpr int64_t kLongestStep = 255;
// Share of non-zeros up to which steps are the faster form: gathering an input costs more than passing a few zeros.
constexpr double kMostForSteps = 0.06;

struct FloatSource {
  const ReadFloats& read;
  DType type;
  int64_t rows, columns;
};

// Non-zeros of each row.
std::vector<int64_t> count_rows(const FloatSource& source) {
  std::vector<int64_t> counts(static_cast<size_t>(source.rows));
  for_each_panel(source.rows, [&](int64_t panel) {
    std::vector<float> values(static_cast<size_t>(source.columns));
    for (int64_t row = panel * kPanelRows; row < std::min(source.rows, (panel + 1) * kPanelRows); ++row) {
      source.read(row, values.data());
      counts[static_cast<size_t>(row)] = std::count_if(values.begin(), values.end(), [](float v) { return v != 0; });
    }
  });
  return counts;
}

void append_value(float value, DType type, std::vector<uint8_t>& to) {
  const auto size = static_cast<size_t>(dtype_size(type));
  to.resize(to.size() + size);
  store_values(&value, 1, type, to.data() + to.size() - size);
}

// Values of the panel's lanes in the order of the mask's places.
class PanelValues {
 public:
  PanelValues(const FloatSource& source, int64_t panel, int64_t columns)
      : columns_(columns), values_(static_cast<size_t>(kPanelRows * columns)) {
    for (int64_t lane = 0; lane < kPanelRows && panel * kPanelRows + lane < source.rows; ++lane)
      source.read(panel * kPanelRows + lane, values_.data() + lane * columns);
  }
  float at(int64_t lane, int64_t column) const { return values_[static_cast<size_t>(lane * columns_ + column)]; }

 private:
  int64_t columns_;
  std::vector<float> values_;
};

uint64_t append_places(const PanelValues& panel, int64_t first, DType type, std::vector<uint8_t>& to) {
  const int64_t width = type == DType::kF32 ? 1 : 2;  // columns that stand beside each other
  uint64_t mask = 0;
  for (int64_t place = 0; place < 64; ++place) {
    const int64_t within = place % (16 * width), column = first + place / (16 * width) * width + within % width;
    const float value = panel.at(within / width, column);
    if (value == 0) continue;
    mask |= uint64_t{1} << place;
    append_value(value, type, to);
  }
  return mask;
}

SparseFloatPanels pack_bitmap(const FloatSource& source, MatrixBuilder& builder) {
  SparseFloatPanels panels;
  panels.type = source.type;
  panels.rows = source.rows;
  panels.form.columns = round_up(source.columns, 32);
  const int64_t count = panels.form.columns / 4, mask_bytes = panels_of(source.rows) * count * 8;
  auto* masks = reinterpret_cast<uint64_t*>(builder.allocate(mask_bytes));
  PanelStreams values(source.rows);
  for_each_panel(source.rows, [&](int64_t panel) {
    const PanelValues read(source, panel, panels.form.columns);
    for (int64_t i = 0; i < count; ++i)
      masks[panel * count + i] = append_places(read, 4 * i, source.type, values.at(panel));
  });
  panels.masks = masks;
  panels.starts = builder.keep(values.starts(1));
  panels.bytes = mask_bytes + values.bytes();
  panels.values = values.move_to(builder);
  return panels;
}

struct Entry {
  uint8_t step;
  float value;
};
std::vector<Entry> entries_of(const std::vector<float>& row) {
  std::vector<Entry> entries;
  int64_t at = 0;
  for (int64_t c = 0; c < static_cast<int64_t>(row.size()); ++c) {
    if (row[static_cast<size_t>(c)] == 0) continue;
    for (; c - at > kLongestStep; at += kLongestStep) entries.push_back({kLongestStep, 0});
    entries.push_back({static_cast<uint8_t>(c - at), row[static_cast<size_t>(c)]});
    at = c;
  }
  return entries;
}

// Lanes of a panel side by side, the short ones filled up with steps of nothing.
void append_lanes(const std::vector<std::vector<Entry>>& lanes, DType type, std::vector<uint8_t>& steps,
                  std::vector<uint8_t>& values) {
  size_t longest = 0;
  for (const auto& lane : lanes) longest = std::max(longest, lane.size());
  for (size_t e = 0; e < longest; ++e) {
    for (const auto& lane : lanes) {
      const Entry entry = e < lane.size() ? lane[e] : Entry{0, 0};
      steps.push_back(entry.step);
      append_value(entry.value, type, values);
    }
  }
}

// Rows with about as many non-zeros share a panel; `order` gets the row of each lane.
StepPanels pack_steps_of(const FloatSource& source, const std::vector<int64_t>& counts, std::vector<int32_t>& order,
                         MatrixBuilder& builder) {
  StepPanels panels;
  panels.type = source.type;
  panels.rows = source.rows;
  panels.form.columns = round_up(source.columns, 32);
  order.resize(static_cast<size_t>(source.rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)];
  });
  PanelStreams steps(source.rows), values(source.rows);
  for_each_panel(source.rows, [&](int64_t panel) {
    std::vector<std::vector<Entry>> lanes(kPanelRows);
    std::vector<float> row(static_cast<size_t>(source.columns));
    for (int64_t lane = 0; lane < kPanelRows && panel * kPanelRows + lane < source.rows; ++lane) {
      source.read(order[static_cast<size_t>(panel * kPanelRows + lane)], row.data());
      lanes[static_cast<size_t>(lane)] = entries_of(row);
    }
    append_lanes(lanes, source.type, steps.at(panel), values.at(panel));
  });
  panels.starts = builder.keep(steps.starts(kPanelRows));
  panels.bytes = steps.bytes() + values.bytes();
  panels.steps = steps.move_to(builder);
  panels.values = values.move_to(builder);
  return panels;
}

}  // namespace

KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns) {
  expect_float_type(type);
  MatrixBuilder builder(rows, columns);
  const FloatSource source{read, type, rows, columns};
  const std::vector<int64_t> counts = count_rows(source);
  const auto kept = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  const double density = kept / static_cast<double>(rows) / static_cast<double>(columns);
  const std::string name = fmt::format("{}, {:.1f} % kept", dtype_config_name(type), 100 * density);
  const int64_t bits = 8 * dtype_size(type);
  if (type == DType::kF16 || !bitmap_pays(bits, bits, density))
    return rename(pack_dense(read, type, rows, columns), "dense " + name + " would not pay as bitmap");
  if (density > kMostForSteps) {
    builder.add_part(pack_bitmap(source, builder));
    return builder.finish(name + " in a bitmap");
  }
  std::vector<int32_t> order;
  const StepPanels panels = pack_steps_of(source, counts, order, builder);
  builder.add_part(panels, std::move(order));
  return builder.finish(name + " as column steps");
}

}  // namespace ockham
