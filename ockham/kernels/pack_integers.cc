// Integers in groups, as panels.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "ockham/core/error.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/float_values.h"
#include "ockham/kernels/group_records.h"
#include "ockham/kernels/integer_plan.h"
#include "ockham/kernels/pack_sparse.h"

namespace ockham {
namespace {

int stored_bits(int64_t bits) {
  return bits == 7 ? 8 : static_cast<int>(bits);
}

void check_source(const IntegerSource& source) {
  if (source.bits < 2 || source.bits > 8)
    throw_error(ErrorKind::kUnsupported, "integer weights of {} bits; kernels take 2 to 8", source.bits);
  OCKHAM_CHECK(source.group_size >= 0 && source.read != nullptr);
  OCKHAM_CHECK(source.group_index.empty() || static_cast<int64_t>(source.group_index.size()) == source.columns);
  if (source.has_mask && source.has_minima)
    throw_error(ErrorKind::kUnsupported, "masked integer weights with minima; kernels take masks with zero points");
}

// One row read, its masked weights turned into the code of zero.
class RowReader {
 public:
  RowReader(const IntegerSource& source, const ColumnPlan& plan)
      : source_(source),
        plan_(plan),
        codes_(static_cast<size_t>(source.columns)),
        kept_(source.has_mask ? static_cast<size_t>(source.columns) : 0) {}

  const std::vector<uint8_t>& codes() const { return codes_; }
  bool is_kept(size_t column) const { return kept_.empty() || kept_[column] != 0; }

  void read(int64_t row, GroupValues& values) {
    const size_t at = static_cast<size_t>(row * plan_.source_groups);
    std::fill(kept_.begin(), kept_.end(), uint8_t{1});
    IntegerRow out = {codes_.data(), values.scales.data() + at, values.zeros.data() + at,
                      source_.has_minima ? values.minima.data() + at : nullptr, kept_.data()};
    source_.read(row, out);
    const int most = (1 << source_.bits) - 1;
    for (size_t c = 0; c < codes_.size(); ++c) {
      if (!is_kept(c)) codes_[c] = out.zeros[plan_.record_of[c]];
      if (codes_[c] > most) {
        throw_input("row {}, column {}: code {}{}, expected 0 to {}; write the model again", row, c, codes_[c],
                    is_kept(c) ? "" : " (the zero point of a masked weight)", most);
      }
    }
  }

 private:
  const IntegerSource& source_;
  const ColumnPlan& plan_;
  std::vector<uint8_t> codes_, kept_;
};

std::string describe(const IntegerSource& source, const GroupRecords& groups) {
  const char* zero = groups.zero == ZeroKind::kSame ? "" : groups.zero == ZeroKind::kCodes ? ", zeros" : ", minima";
  const std::string_view scale =
      groups.scale == ScaleKind::kNested ? "nested" : dtype_config_name(float_type(groups.scale));
  const std::string group = source.group_size == 0 || source.group_size >= source.columns
                                ? std::string("per row")
                                : fmt::format("group {}", source.group_size);
  return fmt::format("int{} {}, scales {}{}", source.bits, group, scale, zero);
}

// All that is read and decided before codes are stored.
struct Packing {
  const IntegerSource& source;
  ColumnPlan plan;
  std::vector<int32_t> places;
  GroupValues values;
  InputForm form = {};
  double density = 1;  // share of the weights that the mask keeps

  explicit Packing(const IntegerSource& of)
      : source(of), plan(plan_columns(of)), places(stored_places(plan, of.columns)) {
    const auto groups = static_cast<size_t>(source.rows * plan.source_groups);
    values.rows = source.rows;
    values.groups = plan.source_groups;
    values.scales.resize(groups);
    values.zeros.assign(groups, static_cast<uint8_t>(1 << (source.bits - 1)));
    if (source.has_minima) values.minima.resize(groups);
    form.is_rounded = true;
    form.columns = plan.columns;
    form.group = plan.group;
  }

  // Reads the rows of a panel and puts code and mask of each weight.
  template <typename Put>
  void for_panel(int64_t panel, const Put& put) {
    RowReader reader(source, plan);
    for (int64_t row = panel * kPanelRows; row < std::min(source.rows, (panel + 1) * kPanelRows); ++row) {
      reader.read(row, values);
      for (size_t c = 0; c < reader.codes().size(); ++c)
        put(row % kPanelRows, places[c], reader.codes()[c], reader.is_kept(c));
    }
  }
  void count_kept() {
    std::atomic<int64_t> all = 0;
    for_each_panel(source.rows, [&](int64_t panel) {
      int64_t kept = 0;
      for_panel(panel, [&](int64_t, int32_t, uint8_t, bool is_kept) { kept += is_kept ? 1 : 0; });
      all += kept;
    });
    density = static_cast<double>(all) / static_cast<double>(source.rows) / static_cast<double>(source.columns);
  }
  GroupRecords store(MatrixBuilder& builder) const {
    const bool may_nest = plan.order.empty() && plan.inputs_per_record == 1 && plan.group <= 64;
    return store_records(values, {plan.inputs_per_record, plan.records, plan.group, may_nest}, builder);
  }
};

IntegerPanels pack_all(Packing& packing, MatrixBuilder& builder) {
  IntegerPanels panels;
  panels.rows = packing.source.rows;
  panels.bits = stored_bits(packing.source.bits);
  panels.form = packing.form;
  const int64_t code_bytes = packing.plan.columns * 2 * panels.bits;
  uint8_t* codes = builder.allocate(panels_of(panels.rows) * code_bytes);
  for_each_panel(panels.rows, [&](int64_t panel) {
    QuadCodes quads(packing.plan.columns);
    packing.for_panel(panel, [&](int64_t lane, int32_t place, uint8_t code, bool) { quads.at(lane, place) = code; });
    pack_steps(quads.bytes(), panels.bits, codes + panel * code_bytes);
  });
  panels.codes = codes;
  panels.groups = packing.store(builder);
  panels.bytes = panels_of(panels.rows) * (code_bytes + panels.groups.panel_bytes + panels.groups.outer_panel_bytes);
  return panels;
}

std::vector<uint8_t> kept_codes(const uint8_t* codes, uint64_t mask) {
  std::vector<uint8_t> kept;
  for (int place = 0; place < 64; ++place) {
    if ((mask >> place & 1U) != 0) kept.push_back(codes[place]);
  }
  return kept;
}

// The kept codes of two quads, one after the other as bytes, or side by side as nibbles.
void append_quads(const uint8_t* codes, const uint64_t* masks, bool is_nibbles, std::vector<uint8_t>& to) {
  std::vector<uint8_t> first = kept_codes(codes, masks[0]), second = kept_codes(codes + 64, masks[1]);
  if (is_nibbles) {
    first.resize(std::max(first.size(), second.size()));
    for (size_t i = 0; i < second.size(); ++i) first[i] = static_cast<uint8_t>(first[i] | second[i] << 4);
    second.clear();
  }
  to.insert(to.end(), first.begin(), first.end());
  to.insert(to.end(), second.begin(), second.end());
}

SparseIntegerPanels pack_kept(Packing& packing, MatrixBuilder& builder) {
  SparseIntegerPanels panels;
  panels.rows = packing.source.rows;
  panels.bits = packing.source.bits <= 4 ? 4 : 8;
  panels.form = packing.form;
  const int64_t quads = packing.plan.columns / 4, mask_bytes = panels_of(panels.rows) * quads * 8;
  auto* masks = reinterpret_cast<uint64_t*>(builder.allocate(mask_bytes));
  PanelStreams values(panels.rows);
  for_each_panel(panels.rows, [&](int64_t panel) {
    QuadCodes codes(packing.plan.columns);
    uint64_t* mask = masks + panel * quads;
    packing.for_panel(panel, [&](int64_t lane, int32_t place, uint8_t code, bool is_kept) {
      codes.at(lane, place) = code;
      if (is_kept) mask[place / 4] |= uint64_t{1} << (lane * 4 + place % 4);
    });
    for (int64_t q = 0; q < quads; q += 2) append_quads(codes.quad(q), mask + q, panels.bits == 4, values.at(panel));
  });
  panels.masks = masks;
  panels.starts = builder.keep(values.starts(1));
  panels.bytes = mask_bytes + values.bytes();
  panels.values = values.move_to(builder);
  panels.groups = packing.store(builder);
  panels.bytes += panels_of(panels.rows) * (panels.groups.panel_bytes + panels.groups.outer_panel_bytes);
  return panels;
}

}  // namespace

KernelMatrix pack_integers(const IntegerSource& source) {
  return pack_integers(source, source.has_mask ? bitmap_limits(source.bits <= 4 ? 4 : 8) : BitmapLimits());
}

KernelMatrix pack_integers(const IntegerSource& source, const BitmapLimits& limits) {
  check_source(source);
  MatrixBuilder builder(source.rows, source.columns);
  Packing packing(source);
  if (!packing.plan.order.empty()) packing.form.order = builder.keep(packing.plan.order);
  std::string form;
  if (source.has_mask) {
    packing.count_kept();
    form = fmt::format(", {:.1f} % kept", 100 * packing.density);
    if (bitmap_pays(limits, source.bits, source.bits <= 4 ? 4 : 8, packing.density)) {
      const SparseIntegerPanels panels = pack_kept(packing, builder);
      builder.add_part(panels);
      return builder.finish(describe(source, panels.groups) + form + " in a bitmap");
    }
    form += " would not pay as bitmap";
  }
  const IntegerPanels panels = pack_all(packing, builder);
  builder.add_part(panels);
  return builder.finish(describe(source, panels.groups) + form);
}

}  // namespace ockham
