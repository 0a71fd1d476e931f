// Codes of integers in panels, unpacked to bytes that serve many tokens. kSignedCodes, a constant of the target: less
// their zeros (8 bits: less 128), in signed bytes; else as they are.

constexpr int64_t kBlockColumns = 4096, kTokensOfPass = 256, kShortestGroup = 16;
constexpr int64_t kPanelsOfPass = kUnitsOfPrefill, kLanesOfPass = kPanelsOfPass * kPanelRows;
constexpr int64_t kMostGroupsOfBlock = kBlockColumns / kShortestGroup;

OCKHAM_INLINE void store_codes(uint8_t* to, Bytes codes, Bytes base) {
  store_bytes(to, kSignedCodes ? subtract_bytes(codes, base) : codes);
}

template <int kBits>
class IntegerReader {
 public:
  static constexpr int64_t kStepColumns = 4 * Step<kBits, false>::kQuads;
  static constexpr int kBitsOfCode = kBits;
  static constexpr bool kWide = kBits == 8;
  IntegerReader(const IntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit), codes_(panels.codes + unit * panels.form.columns * 2 * kBits) {}
  const RecordReader& records() const { return records_; }
  // The next columns, of group g, less `base`.
  void read(int64_t, int64_t columns, Bytes base, uint8_t* to) {
    using S = Step<kBits, false>;
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += kStepColumns) {
      S::unpack(codes_, step);
      codes_ += 64 * S::kVectors;
#pragma GCC unroll 8
      for (int q = 0; q < S::kQuads; ++q, to += 64) store_codes(to, step[q], base);
    }
  }

 private:
  RecordReader records_;
  const uint8_t* codes_;
};

template <int kBits>
class SparseReader {
 public:
  static constexpr int64_t kStepColumns = 4 * SparseStep<kBits>::kQuads;
  static constexpr int kBitsOfCode = kBits;
  static constexpr bool kWide = kBits == 8;
  SparseReader(const SparseIntegerPanels& panels, int64_t unit)
      : records_(panels.groups, unit),
        masks_(panels.masks + unit * (panels.form.columns / 4)),
        values_(panels.values + panels.starts[unit]) {}
  const RecordReader& records() const { return records_; }
  void read(int64_t g, int64_t columns, Bytes base, uint8_t* to) {
    using S = SparseStep<kBits>;
    const Bytes fill = records_.zero_codes(g);
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += kStepColumns) {
      S::unpack(masks_, fill, values_, step);
      masks_ += S::kQuads;
#pragma GCC unroll 4
      for (int q = 0; q < S::kQuads; ++q, to += 64) store_codes(to, step[q], base);
    }
  }

 private:
  RecordReader records_;
  const uint64_t* masks_;
  const uint8_t* values_;
};

// Groups that rows keep or drop: codes of dropped ones are zeros, as their scales. Groups are read in order, each by
// zero_codes(), read() and load().
template <int kBits>
class GroupSparseReader {
 public:
  static constexpr int64_t kStepColumns = 16;
  static constexpr int kBitsOfCode = kBits;
  static constexpr bool kWide = kBits == 8;
  GroupSparseReader(const GroupSparsePanels& panels, int64_t unit)
      : panels_(panels),
        masks_(panels.masks + unit * ((panels.form.columns + panels.form.group - 1) / panels.form.group)),
        codes_(panels.codes + panels.starts[unit] * (panels.form.group * kBits / 8)),
        kept_(panels.starts[unit]) {}
  const GroupSparseReader& records() const { return *this; }
  bool has_minima() const { return false; }
  bool is_zero_same(float) const { return false; }
  Bytes zero_codes(int64_t g) const { return repeat_bytes(expand_group(panels_, kept_, masks_[g]).zero); }
  void read(int64_t g, int64_t columns, Bytes base, uint8_t* to) {
    using S = GroupStep<kBits, false>;
    const uint16_t mask = masks_[g];
    Bytes step[S::kQuads];
    for (int64_t c = 0; c < columns; c += kStepColumns) {
      S::unpack(mask, codes_, step);
#pragma GCC unroll 4
      for (int q = 0; q < S::kQuads; ++q, to += 64) store_codes(to, step[q], base);
    }
    loaded_ = expand_group(panels_, kept_, mask);
    kept_ += count_bits(mask);
  }
  GroupScales load(int64_t) const {
    return loaded_;
  }

 private:
  const GroupSparsePanels& panels_;
  const uint16_t* masks_;
  const uint8_t* codes_;
  int64_t kept_;  // groups of the panels before the one to be read
  GroupScales loaded_;
};

// Columns of one product of tiles: groups are whole numbers of them, but for the last.
inline int64_t tile_columns(int64_t group) {
  return group % 64 == 0 ? 64 : group % 32 == 0 ? 32 : 16;
}

// Codes and scales of some groups of the panels; panels that are missing are zeros.
struct CodeBlock {
  static constexpr int64_t kApart = 2048;  // so that panels do not share the same places of the first cache
  alignas(64) uint8_t codes[kPanelsOfPass][kBlockColumns * kPanelRows + kApart];
  alignas(64) float scales[kMostGroupsOfBlock][kLanesOfPass], minima[kMostGroupsOfBlock][kLanesOfPass];
  alignas(64) int32_t zeros[kMostGroupsOfBlock][kLanesOfPass];  // what is left of them
  int64_t first = 0, count = 0;                                 // groups
  bool has_minima = false, has_zeros = false;

  template <typename Reader>
  void read(Reader* readers, int64_t panels, const InputForm& form, int64_t group, int64_t groups) {
    first = group;
    count = std::min(kBlockColumns / form.group, groups - group);
    for (int64_t p = 0; p < kPanelsOfPass; ++p) {
      if (p < panels) {
        read_panel(readers[p], p, form);
      } else {
        clear_panel(p, form);
      }
    }
  }

 private:
  template <typename Reader>
  void read_panel(Reader& reader, int64_t p, const InputForm& form) {
    const auto& records = reader.records();
    const int64_t step = tile_columns(form.group);
    has_minima = records.has_minima();
    has_zeros = kSignedCodes ? Reader::kWide && (has_minima || !records.is_zero_same(128)) : !has_minima;
    for (int64_t g = 0; g < count; ++g) {
      uint8_t* to = codes[p] + g * form.group * kPanelRows;
      const int64_t columns = std::min(form.group, form.columns - (first + g) * form.group);
      reader.read(first + g, columns, base_of(reader, first + g), to);
      std::memset(to + columns * kPanelRows, 0, static_cast<size_t>((step - columns % step) % step * kPanelRows));
      const GroupScales loaded = records.load(first + g);
      store_floats(scales[g] + p * kPanelRows, loaded.scale);
      if (has_minima) store_floats(minima[g] + p * kPanelRows, loaded.minimum);
      Ints left = has_minima ? zero_ints() : loaded.zero;
      if constexpr (kSignedCodes && Reader::kWide) left = add_ints(left, fill_ints(-128));
      store_bytes(zeros[g] + p * kPanelRows, left);
    }
  }
  // What is subtracted from the codes. Those of 8 bits less 128 fit signed bytes whatever their zeros are.
  template <typename Reader>
  Bytes base_of(const Reader& reader, int64_t g) const {
    if (!kSignedCodes || (has_minima && !Reader::kWide)) return zero_ints();
    return Reader::kWide ? fill_bytes(128) : reader.records().zero_codes(g);
  }
  void clear_panel(int64_t p, const InputForm& form) {
    std::memset(codes[p], 0, static_cast<size_t>(std::min(count * form.group, kBlockColumns) * kPanelRows));
    for (int64_t g = 0; g < count; ++g) {
      std::memset(scales[g] + p * kPanelRows, 0, kPanelRows * sizeof(float));
      std::memset(minima[g] + p * kPanelRows, 0, kPanelRows * sizeof(float));
      std::memset(zeros[g] + p * kPanelRows, 0, kPanelRows * sizeof(int32_t));
    }
  }
};
