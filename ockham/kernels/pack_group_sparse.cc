// Whole groups of columns left out, row by row (GQSA).
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/float_values.h"
#include "ockham/kernels/group_records.h"
#include "ockham/kernels/integer_plan.h"

namespace ockham {
namespace {

// What one row says of its groups, and its codes in stored order.
struct GroupedRow {
  std::vector<uint8_t> is_kept, codes, zeros;
  std::vector<float> scales;
};

// The rows of a panel.
std::vector<GroupedRow> read_rows(const GroupSparseSource& source, const ColumnPlan& plan,
                                  const std::vector<int32_t>& places, int64_t panel) {
  std::vector<GroupedRow> rows(kPanelRows);
  const auto groups = static_cast<size_t>(plan.source_groups);
  std::vector<uint8_t> codes(static_cast<size_t>(source.columns));
  const int most = (1 << source.bits) - 1;
  for (int64_t lane = 0; lane < kPanelRows; ++lane) {
    GroupedRow& row = rows[static_cast<size_t>(lane)];
    row.is_kept.assign(groups, 0);
    row.zeros.assign(groups, static_cast<uint8_t>(1 << (source.bits - 1)));
    row.scales.assign(groups, 0);
    row.codes.assign(static_cast<size_t>(plan.columns), 0);
    if (panel * kPanelRows + lane >= source.rows) continue;
    GroupSparseRow out = {row.is_kept.data(), codes.data(), row.scales.data(), row.zeros.data()};
    source.read(panel * kPanelRows + lane, out);
    for (size_t c = 0; c < codes.size(); ++c) {
      if (row.is_kept[static_cast<size_t>(plan.record_of[c])] == 0) continue;
      if (codes[c] > most) {
        throw_input("row {}, column {}: code {}, expected 0 to {}; write the model again", panel * kPanelRows + lane, c,
                    codes[c], most);
      }
      row.codes[static_cast<size_t>(places[c])] = codes[c];
    }
  }
  return rows;
}

// The lanes that keep 16 columns, as GroupSparsePanels says.
void append_codes(const std::vector<GroupedRow>& rows, uint16_t mask, int64_t first, int bits,
                  std::vector<uint8_t>& to) {
  for (int vector = 0; vector < bits / 2; ++vector) {
    for (int64_t lane = 0; lane < kPanelRows; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      const uint8_t* codes = rows[static_cast<size_t>(lane)].codes.data() + first;
      for (int i = 0; i < 4; ++i) {
        to.push_back(bits == 8 ? codes[4 * vector + i]
                               : static_cast<uint8_t>(codes[8 * vector + i] | codes[8 * vector + 4 + i] << 4));
      }
    }
  }
}

struct Streams {
  PanelStreams codes, zeros;
  std::vector<std::vector<float>> scales;  // by panel
};

void append_group(const std::vector<GroupedRow>& rows, uint16_t mask, int64_t group, int64_t panel, Streams& to) {
  for (int64_t lane = 0; lane < kPanelRows; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const GroupedRow& row = rows[static_cast<size_t>(lane)];
    to.zeros.at(panel).push_back(row.zeros[static_cast<size_t>(group)]);
    to.scales[static_cast<size_t>(panel)].push_back(row.scales[static_cast<size_t>(group)]);
  }
}

uint16_t mask_of(const std::vector<GroupedRow>& rows, int64_t group) {
  uint16_t mask = 0;
  for (size_t lane = 0; lane < rows.size(); ++lane)
    mask |= static_cast<uint16_t>((rows[lane].is_kept[static_cast<size_t>(group)] != 0 ? 1 : 0) << lane);
  return mask;
}

// Scales and zeros as GroupSparsePanels says.
void store_scales(const std::vector<float>& scales, PanelStreams& zeros, GroupSparsePanels& panels,
                  MatrixBuilder& builder) {
  const auto count = static_cast<int64_t>(scales.size());
  const DType type = float_type(panels.scale);
  uint8_t* const stored = builder.allocate(4 * count);
  panels.scales = stored;
  if (type == DType::kF32) {
    store_values(scales.data(), count, type, stored);
    panels.zeros = zeros.move_to(builder);
    return;
  }
  uint8_t* record = stored;
  for (int64_t panel = 0; panel < panels_of(panels.rows); ++panel) {
    for (const uint8_t zero : zeros.at(panel)) {
      record[0] = zero;
      store_values(scales.data() + (record - stored) / 4, 1, type, record + 2);
      record += 4;
    }
  }
}

}  // namespace

KernelMatrix pack_group_sparse(const GroupSparseSource& source) {
  if (source.bits < 2 || source.bits > 8)
    throw_error(ErrorKind::kUnsupported, "integer weights of {} bits; kernels take 2 to 8", source.bits);
  OCKHAM_CHECK(source.group_size > 0 && source.read != nullptr);
  MatrixBuilder builder(source.rows, source.columns);
  const ColumnPlan plan = plan_whole_groups(source.columns, source.group_size);
  const std::vector<int32_t> places = stored_places(plan, source.columns);
  GroupSparsePanels panels;
  panels.rows = source.rows;
  panels.bits = source.bits <= 4 ? 4 : 8;
  const int64_t mask_bytes = panels_of(source.rows) * plan.groups * 2;
  auto* masks = reinterpret_cast<uint16_t*>(builder.allocate(mask_bytes));
  Streams streams{PanelStreams(source.rows), PanelStreams(source.rows), {}};
  streams.scales.resize(static_cast<size_t>(panels_of(source.rows)));
  for_each_panel(source.rows, [&](int64_t panel) {
    const std::vector<GroupedRow> rows = read_rows(source, plan, places, panel);
    for (int64_t g = 0; g < plan.groups; ++g) {
      const uint16_t mask = mask_of(rows, g);
      masks[panel * plan.groups + g] = mask;
      for (int64_t c = 0; c < plan.group; c += 16)
        append_codes(rows, mask, g * plan.group + c, panels.bits, streams.codes.at(panel));
      append_group(rows, mask, g, panel, streams);
    }
  });
  std::vector<float> scales;
  for (const auto& panel : streams.scales) scales.insert(scales.end(), panel.begin(), panel.end());
  panels.scale = narrowest_kind(scales, {});
  panels.masks = masks;
  panels.bytes = mask_bytes + streams.codes.bytes() + (panels.scale == ScaleKind::kF32 ? 5 : 4) * streams.zeros.bytes();
  panels.starts = builder.keep(streams.zeros.starts(1));
  panels.codes = streams.codes.move_to(builder);
  store_scales(scales, streams.zeros, panels, builder);
  panels.form.is_rounded = true;
  panels.form.columns = plan.columns;
  panels.form.group = plan.group;
  if (!plan.order.empty()) panels.form.order = builder.keep(plan.order);
  builder.add_part(panels);
  const double all = static_cast<double>(source.rows) * static_cast<double>(plan.source_groups);
  return builder.finish(fmt::format("int{} group {}, {:.1f} % of the groups kept", source.bits, source.group_size,
                                    100 * static_cast<double>(scales.size()) / all));
}

}  // namespace ockham
