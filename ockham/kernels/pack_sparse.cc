// Floats with zeros left out: bitmap or column steps, or dense where neither pays.
#include "ockham/kernels/pack_sparse.h"

#include <algorithm>
#include <atomic>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/float_values.h"
#include "ockham/kernels/target.h"

namespace ockham {
namespace {

// Share of non-zeros up to which column steps are faster on every target.
constexpr double kFewNonZeros = 0.06;

struct FloatSource {
  const ReadFloats& read;
  DType type;
  int64_t rows, columns;
};

int64_t longest_step(int bits) {
  return (1 << bits) - 1;
}

// Of a row: its non-zeros, and its entries with steps of 4 and of 8 bits.
struct RowCount {
  int64_t values = 0, entries4 = 0, entries8 = 0;
  int64_t entries(int bits) const { return bits == 4 ? entries4 : entries8; }
};
RowCount count_row(const std::vector<float>& row) {
  RowCount count;
  int64_t at = 0;
  for (int64_t c = 0; c < static_cast<int64_t>(row.size()); ++c) {
    if (row[static_cast<size_t>(c)] == 0) continue;
    const int64_t before = std::max<int64_t>(c - at - 1, 0);
    ++count.values;
    count.entries4 += 1 + before / longest_step(4);
    count.entries8 += 1 + before / longest_step(8);
    at = c;
  }
  return count;
}

std::vector<RowCount> count_rows(const FloatSource& source) {
  std::vector<RowCount> counts(static_cast<size_t>(source.rows));
  for_each_panel(source.rows, [&](int64_t panel) {
    std::vector<float> values(static_cast<size_t>(source.columns));
    for (int64_t row = panel * kPanelRows; row < std::min(source.rows, (panel + 1) * kPanelRows); ++row) {
      source.read(row, values.data());
      counts[static_cast<size_t>(row)] = count_row(values);
    }
  });
  return counts;
}
int64_t sum(const std::vector<RowCount>& counts, const std::function<int64_t(const RowCount&)>& of) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0},
                         [&](int64_t before, const RowCount& count) { return before + of(count); });
}

// Rows by their number of entries, so that those with about as many share a panel.
std::vector<int32_t> order_of(const std::vector<RowCount>& counts, int bits) {
  std::vector<int32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return counts[static_cast<size_t>(a)].entries(bits) > counts[static_cast<size_t>(b)].entries(bits);
  });
  return order;
}

// Of steps and values, with what fills short rows.
int64_t bytes_of_steps(const std::vector<RowCount>& counts, DType type, int bits) {
  int64_t entries = 0;
  const std::vector<int32_t> order = order_of(counts, bits);
  for (size_t first = 0; first < order.size(); first += kPanelRows)
    entries += round_up(counts[static_cast<size_t>(order[first])].entries(bits), 32 / bits);
  return entries * kPanelRows * (8 * dtype_size(type) + bits) / 8;
}
// The bits of a step with which a matrix takes fewer bytes.
int choose_step_bits(const std::vector<RowCount>& counts, DType type) {
  return bytes_of_steps(counts, type, 4) < bytes_of_steps(counts, type, 8) ? 4 : 8;
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
std::vector<Entry> entries_of(const std::vector<float>& row, int64_t longest) {
  std::vector<Entry> entries;
  int64_t at = 0;
  for (int64_t c = 0; c < static_cast<int64_t>(row.size()); ++c) {
    if (row[static_cast<size_t>(c)] == 0) continue;
    for (; c - at > longest; at += longest) entries.push_back({static_cast<uint8_t>(longest), 0});
    entries.push_back({static_cast<uint8_t>(c - at), row[static_cast<size_t>(c)]});
    at = c;
  }
  return entries;
}

// Lanes of a panel side by side, all filled up with steps of nothing to a whole number of blocks of 64 bytes of steps.
void append_lanes(std::vector<std::vector<Entry>>& lanes, int bits, DType type, std::vector<uint8_t>& steps,
                  std::vector<uint8_t>& values) {
  size_t longest = 0;
  for (const auto& lane : lanes) longest = std::max(longest, lane.size());
  const size_t block = 32 / static_cast<size_t>(bits), beside = type == DType::kF32 ? 1 : 2;
  longest = (longest + block - 1) / block * block;
  for (auto& lane : lanes) lane.resize(longest, Entry{0, 0});
  for (size_t first = 0; first < longest; first += block) {
    for (const auto& lane : lanes) {
      for (size_t i = first; i < first + 4; ++i)
        steps.push_back(static_cast<uint8_t>(bits == 8 ? lane[i].step : lane[i].step | lane[i + 4].step << 4));
    }
  }
  for (size_t first = 0; first < longest; first += beside) {
    for (const auto& lane : lanes) {
      for (size_t i = first; i < first + beside; ++i) append_value(lane[i].value, type, values);
    }
  }
}

// `order` gets the row of each lane.
StepPanels pack_steps_of(const FloatSource& source, const std::vector<RowCount>& counts, std::vector<int32_t>& order,
                         MatrixBuilder& builder) {
  const int bits = choose_step_bits(counts, source.type);
  StepPanels panels;
  panels.step_bits = bits;
  panels.type = source.type;
  panels.rows = source.rows;
  panels.form.columns = round_up(source.columns, 32);
  panels.form.is_turnable = true;
  order = order_of(counts, bits);
  PanelStreams steps(source.rows), values(source.rows);
  for_each_panel(source.rows, [&](int64_t panel) {
    std::vector<std::vector<Entry>> lanes(kPanelRows);
    std::vector<float> row(static_cast<size_t>(source.columns));
    for (int64_t lane = 0; lane < kPanelRows && panel * kPanelRows + lane < source.rows; ++lane) {
      source.read(order[static_cast<size_t>(panel * kPanelRows + lane)], row.data());
      lanes[static_cast<size_t>(lane)] = entries_of(row, longest_step(bits));
    }
    append_lanes(lanes, bits, source.type, steps.at(panel), values.at(panel));
  });
  panels.starts = builder.keep(steps.starts(kPanelRows * bits / 8));
  panels.bytes = steps.bytes() + values.bytes();
  panels.steps = steps.move_to(builder);
  panels.values = values.move_to(builder);
  return panels;
}

bool take_steps(const FloatSource& source, const std::vector<RowCount>& counts, double density,
                const StepLimits& limits) {
  if (density > limits.share) return false;
  const double bitmap = (1 + 8.0 * static_cast<double>(dtype_size(source.type)) * density) / 8 *
                        static_cast<double>(source.rows) * static_cast<double>(source.columns);
  const int bits = choose_step_bits(counts, source.type);
  return density <= kFewNonZeros ||
         static_cast<double>(bytes_of_steps(counts, source.type, bits)) <= limits.bytes * bitmap;
}

}  // namespace

// Processors with AMX gather 16 inputs in two thirds of the cycles that it takes to expand a mask's 64 floats; AVX2
// expands eight at a time, of which a gather of four takes half. Elsewhere gathering costs more than passing zeros.
StepLimits step_limits(DType type) {
  switch (current_target()) {
    case Target::kAmx:
      return {type == DType::kF32 ? 0.35 : 0.25, 1.15};
    case Target::kAvx2:
      return {0.18, 1.15};
    case Target::kPortable:
      return {0.6, 1.2};  // a step takes 1.3 times as long as a dense float32, 1.6 as a bfloat16
    default:
      return {kFewNonZeros, 1.15};
  }
}

KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns) {
  const SparseLimits limits = {step_limits(type), bitmap_limits(8 * dtype_size(type))};
  return pack_sparse(read, type, rows, columns, limits);
}

KernelMatrix pack_sparse(const ReadFloats& read, DType type, int64_t rows, int64_t columns,
                         const SparseLimits& limits) {
  expect_float_type(type);
  MatrixBuilder builder(rows, columns);
  const FloatSource source{read, type, rows, columns};
  const std::vector<RowCount> counts = count_rows(source);
  const auto kept = static_cast<double>(sum(counts, [](const RowCount& count) { return count.values; }));
  const double density = kept / static_cast<double>(rows) / static_cast<double>(columns);
  const std::string name = fmt::format("{}, {:.1f} % kept", dtype_config_name(type), 100 * density);
  const int64_t bits = 8 * dtype_size(type);
  const bool takes_steps = type != DType::kF16 && take_steps(source, counts, density, limits.steps);
  if (!takes_steps && (type == DType::kF16 || !bitmap_pays(limits.bitmap, bits, bits, density)))
    return rename(pack_dense(read, type, rows, columns), "dense " + name + " would not pay as bitmap");
  if (!takes_steps) {
    builder.add_part(pack_bitmap(source, builder));
    return builder.finish(name + " in a bitmap");
  }
  std::vector<int32_t> order;
  const StepPanels panels = pack_steps_of(source, counts, order, builder);
  builder.add_part(panels, std::move(order));
  return builder.finish(fmt::format("{} as column steps of {} bits", name, panels.step_bits));
}

}  // namespace ockham
