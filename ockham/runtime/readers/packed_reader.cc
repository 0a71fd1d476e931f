// The container's formats, one function each.
#include "ockham/runtime/readers/packed_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/io/formats/small_floats.h"
#include "ockham/runtime/readers/float8_rows.h"
#include "ockham/runtime/readers/stored_mask.h"

namespace ockham {
namespace {

using Floats = std::shared_ptr<const std::vector<float>>;

constexpr int64_t kMostKeptTogether = 512;

int64_t largest_divisor(int64_t number, int64_t most) {
  int64_t divisor = std::min(number, most);
  while (number % divisor != 0) --divisor;
  return divisor;
}

std::span<const uint8_t> bytes_of(const StoredTensor& tensor) {
  return {reinterpret_cast<const uint8_t*>(tensor.bytes.data()), tensor.bytes.size()};
}

int64_t elements(const StoredTensor& tensor) {
  return static_cast<int64_t>(tensor.bytes.size()) / dtype_size(tensor.dtype);
}

class PackedReader {
 public:
  PackedReader(const PackedRecord& record, const FindPart& find, DType float8_type)
      : record_(record), find_(find), float8_type_(float8_type), parts_(packed_parts(record)) {
    result_.rows = record.rows;
    result_.columns = record.columns;
  }

  MatrixRows read() {
    switch (record_.format) {
      case PackedFormat::kDense:
        return dense_rows(part(".weight"));
      case PackedFormat::kBitmapSparse:
        read_sparse();
        break;
      case PackedFormat::kGroupInt:
        read_group_int();
        break;
      case PackedFormat::kInt8:
        read_int8();
        break;
      case PackedFormat::kFloat8:
        return float8_rows({part(".codes"), floats(".scales"), record_.tile_rows, record_.tile_columns,
                            ceil_div(record_.columns, record_.tile_columns)},
                           float8_type_);
      case PackedFormat::kNestedInt:
        read_nested();
        break;
      case PackedFormat::kGroupSparse:
        read_group_sparse();
        break;
      case PackedFormat::kLowRank:
        read_low_rank();
        break;
    }
    return std::move(result_);
  }

  InputRule read_input_rule() const {
    InputRule rule;
    if (record_.format != PackedFormat::kInt8) return rule;
    rule.rounds_tokens = true;
    rule.threshold = record_.threshold;
    if (!record_.has_kept) return rule;
    rule.kept = kept_columns();
    const StoredTensor values = part(".kept_values");
    const auto count = static_cast<int64_t>(rule.kept.size());
    expect_count(".kept_values", values.shape[1], count);
    if (count > 0) rule.kept_weights = pack_rows(dense_rows(values));
    return rule;
  }

 private:
  StoredTensor part(const std::string& suffix) const {
    const auto found = std::find_if(parts_.begin(), parts_.end(),
                                    [&](const PackedPart& candidate) { return candidate.suffix == suffix; });
    OCKHAM_CHECK(found != parts_.end());
    return find_(*found);
  }
  Floats floats(const std::string& suffix) const {
    return std::make_shared<const std::vector<float>>(read_floats(part(suffix)));
  }
  std::shared_ptr<const StoredMask> mask(const std::string& suffix, int64_t columns) const {
    return std::make_shared<const StoredMask>(part(suffix).bytes, record_.rows, columns);
  }

  void expect_count(const char* suffix, int64_t found, int64_t expected) const {
    if (found != expected) {
      throw_input("{}: part '{}' has {} elements, expected {} as the rest of the weight says; write the model again",
                  record_.where, suffix, found, expected);
    }
  }

  IntegerSource integers() const {
    IntegerSource source;
    source.rows = record_.rows;
    source.columns = record_.columns;
    source.bits = record_.bits;
    source.group_size = record_.group_size;
    return source;
  }

  void read_sparse() {
    const StoredTensor values = part(".values");
    const auto stored = mask(".mask", record_.columns);
    expect_count(".values", elements(values), stored->all_stored());
    result_ = masked_rows(values, stored, record_.columns);
    result_.rows = record_.rows;
  }

  void read_group_int() {
    if (record_.is_indexed) read_group_index();
    IntegerSource source = integers();
    if (record_.is_indexed) source.group_index = *result_.group_index;
    const Floats scales = floats(".scales");
    const StoredTensor codes = part(".codes");
    const StoredTensor zeros = record_.is_symmetric ? StoredTensor() : part(".zeros");
    std::shared_ptr<const StoredMask> stored;
    if (record_.is_masked) {
      stored = mask(".mask", record_.columns);
      expect_count(".codes", elements(codes), ceil_div(stored->all_stored() * record_.bits, 8));
      source.has_mask = true;
    }
    const std::shared_ptr<const RowPlaces> places = row_places(codes);
    source.read = [=, groups = record_.groups, columns = record_.columns, bits = record_.bits](int64_t row,
                                                                                               IntegerRow& to) {
      std::copy_n(scales->data() + row * groups, groups, to.scales);
      if (!zeros.bytes.empty()) {
        const int64_t width = ceil_div(groups * bits, 8);
        unpack_codes(bytes_of(zeros).subspan(static_cast<size_t>(row * width)), 0, groups, bits, to.zeros);
      }
      if (stored == nullptr) {
        const auto [first, width] = places->at(static_cast<size_t>(row));
        unpack_codes(bytes_of(codes).subspan(static_cast<size_t>(first)), 0, columns, width, to.codes);
        return;
      }
      stored->read(row, to.is_kept);
      spread_codes(bytes_of(codes), stored->before(row), stored->stored(row), bits, columns, to);
    };
    result_.integers = std::move(source);
  }

  // First byte and bits of each row's codes; says which rows are narrow.
  using RowPlaces = std::vector<std::pair<int64_t, int64_t>>;
  std::shared_ptr<const RowPlaces> row_places(const StoredTensor& codes) {
    auto places = std::make_shared<RowPlaces>();
    if (record_.is_masked) return places;
    std::vector<uint8_t> is_narrow(static_cast<size_t>(record_.rows));
    if (record_.narrow_bits > 0) StoredMask(part(".narrow").bytes, 1, record_.rows).read(0, is_narrow.data());
    int64_t first = 0;
    for (const uint8_t flag : is_narrow) {
      places->emplace_back(first, flag != 0 ? record_.narrow_bits : record_.bits);
      first += ceil_div(record_.columns * places->back().second, 8);
    }
    expect_count(".codes", elements(codes), first);
    if (record_.narrow_bits > 0) {
      result_.narrow = std::make_shared<const std::vector<uint8_t>>(std::move(is_narrow));
      result_.narrow_bits = record_.narrow_bits;
    }
    return places;
  }

  // Codes of a stream, from number `first` on, put where the row is kept.
  static void spread_codes(std::span<const uint8_t> stream, int64_t first, int64_t count, int64_t bits, int64_t columns,
                           IntegerRow& to) {
    std::vector<uint8_t> codes(static_cast<size_t>(count));
    unpack_codes(stream, first, count, bits, codes.data());
    const uint8_t* next = codes.data();
    for (int64_t c = 0; c < columns; ++c) to.codes[c] = to.is_kept[c] != 0 ? *next++ : 0;
  }

  void read_group_index() {
    const StoredTensor bytes = part(".group_index");
    std::vector<int32_t> index(static_cast<size_t>(record_.columns));
    for (size_t c = 0; c < index.size(); ++c) {
      index[c] = bytes_of(bytes)[2 * c] | bytes_of(bytes)[2 * c + 1] << 8;
      if (index[c] >= record_.groups) {
        throw_input("{}: part '.group_index' names group {}, expected 0 to {}; write the model again", record_.where,
                    index[c], record_.groups - 1);
      }
    }
    result_.group_index = std::make_shared<const std::vector<int32_t>>(std::move(index));
  }

  std::vector<int32_t> kept_columns() const {
    std::vector<uint8_t> is_kept(static_cast<size_t>(record_.columns));
    StoredMask(part(".kept").bytes, 1, record_.columns).read(0, is_kept.data());
    std::vector<int32_t> columns;
    for (size_t c = 0; c < is_kept.size(); ++c)
      if (is_kept[c] != 0) columns.push_back(static_cast<int32_t>(c));
    return columns;
  }

  void read_int8() {
    constexpr uint8_t kZero = 128;
    IntegerSource source = integers();
    source.bits = 8;
    source.group_size = 0;
    const StoredTensor codes = part(".codes");
    const Floats scales = floats(".scales");
    const std::vector<int32_t> kept = record_.has_kept ? kept_columns() : std::vector<int32_t>();
    source.read = [=, columns = record_.columns](int64_t row, IntegerRow& to) {
      to.scales[0] = (*scales)[static_cast<size_t>(row)];
      const uint8_t* from = bytes_of(codes).data() + row * columns;
      for (int64_t c = 0; c < columns; ++c) to.codes[c] = static_cast<uint8_t>(from[c] + kZero);
      for (const int32_t c : kept) to.codes[c] = kZero;
    };
    result_.integers = std::move(source);
  }

  // w = low + scale (code 2^d + (2^d - 1) / 2), which is a minimum and a wider step.
  void read_nested() {
    const auto step = static_cast<float>(int64_t{1} << (8 - record_.bits));
    const StoredTensor codes = part(".codes");
    const Floats scales = floats(".scales"), lows = floats(".lows");
    IntegerSource source = integers();
    source.has_minima = true;
    source.read = [=, groups = record_.groups, columns = record_.columns, bits = record_.bits](int64_t row,
                                                                                               IntegerRow& to) {
      for (int64_t g = 0; g < groups; ++g) {
        const auto at = static_cast<size_t>(row * groups + g);
        to.scales[g] = (*scales)[at] * step;
        to.minima[g] = (*lows)[at] + (*scales)[at] * ((step - 1) / 2);
      }
      const int64_t width = ceil_div(columns * bits, 8);
      unpack_codes(bytes_of(codes).subspan(static_cast<size_t>(row * width)), 0, columns, bits, to.codes);
    };
    result_.integers = std::move(source);
    if (record_.is_masked) mask_nested();
  }

  // Kernels have no masks beside minima.
  void mask_nested() {
    const auto stored = mask(".mask", record_.columns);
    const MatrixRows whole = std::move(result_);
    result_ = {};
    result_.rows = record_.rows;
    result_.columns = record_.columns;
    result_.is_sparse = true;
    result_.floats = [stored, whole](int64_t row, float* to) {
      std::vector<uint8_t> is_stored(static_cast<size_t>(whole.columns));
      stored->read(row, is_stored.data());
      read_row(whole, row, to);
      for (int64_t c = 0; c < whole.columns; ++c)
        if (is_stored[static_cast<size_t>(c)] == 0) to[c] = 0;
    };
  }

  void read_group_sparse() {
    const auto stored = mask(".kept", record_.groups);
    const int64_t kept = stored->all_stored(), size = record_.group_size;
    const StoredTensor codes = part(".codes"), zeros = part(".zeros");
    const Floats scales = floats(".scales");
    expect_count(".codes", elements(codes), ceil_div(kept * size * record_.bits, 8));
    expect_count(".zeros", elements(zeros), ceil_div(kept * record_.bits, 8));
    expect_count(".scales", static_cast<int64_t>(scales->size()), kept);
    // Kernels take groups of so many columns; longer ones are cut.
    const int64_t piece = largest_divisor(size, kMostKeptTogether), pieces = size / piece;
    GroupSparseSource source;
    source.rows = record_.rows;
    source.columns = record_.columns;
    source.bits = record_.bits;
    source.group_size = piece;
    source.read = [=, groups = record_.groups, bits = record_.bits](int64_t row, GroupSparseRow& to) {
      std::vector<uint8_t> is_stored(static_cast<size_t>(groups));
      stored->read(row, is_stored.data());
      int64_t next = stored->before(row);
      for (int64_t g = 0; g < groups; ++g) {
        if (is_stored[static_cast<size_t>(g)] == 0) continue;
        uint8_t zero = 0;
        unpack_codes(bytes_of(zeros), next, 1, bits, &zero);
        unpack_codes(bytes_of(codes), next * size, size, bits, to.codes + g * size);
        std::fill_n(to.is_kept + g * pieces, pieces, uint8_t{1});
        std::fill_n(to.scales + g * pieces, pieces, (*scales)[static_cast<size_t>(next)]);
        std::fill_n(to.zeros + g * pieces, pieces, zero);
        ++next;
      }
    };
    result_.kept_groups = std::move(source);
  }

  void read_low_rank() {
    if (record_.base != nullptr) {
      const FindPart find = [this](const PackedPart& wanted) { return part(".base" + wanted.suffix); };
      result_ = packed_rows(*record_.base, find, float8_type_);
    }
    if (record_.rank == 0) return;
    const MatrixRows left = dense_rows(part(".left")), right = dense_rows(part(".right"));
    result_.rank = record_.rank;
    result_.factor_type = left.type == right.type ? left.type : DType::kF32;
    result_.left = left.floats;
    result_.right = right.floats;
  }

  const PackedRecord& record_;
  const FindPart& find_;
  DType float8_type_;
  std::vector<PackedPart> parts_;
  MatrixRows result_;
};

}  // namespace

MatrixRows packed_rows(const PackedRecord& record, const FindPart& find, DType float8_type) {
  return PackedReader(record, find, float8_type).read();
}

InputRule packed_input_rule(const PackedRecord& record, const FindPart& find) {
  if (record.format != PackedFormat::kLowRank) return PackedReader(record, find, DType::kF32).read_input_rule();
  if (record.base == nullptr) return {};
  const FindPart find_base = [&](const PackedPart& part) {
    return find({".base" + part.suffix, part.shape, part.is_bytes});
  };
  return packed_input_rule(*record.base, find_base);
}

}  // namespace ockham
