// The layouts of other tools, one function each.
#include "ockham/runtime/readers/foreign_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"
#include "ockham/io/formats/awq.h"
#include "ockham/runtime/readers/float8_rows.h"
#include "ockham/runtime/readers/stored_mask.h"

namespace ockham {
namespace {

using Floats = std::shared_ptr<const std::vector<float>>;
using Bytes = std::shared_ptr<const std::vector<uint8_t>>;

constexpr uint8_t kMiddle = 128;  // the code of zero where 8 bits are signed

// Words wherever they lie, `stride` words from one to the next.
std::vector<uint32_t> read_words(const std::byte* from, int64_t count, int64_t stride = 1) {
  std::vector<uint32_t> words(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(&words[static_cast<size_t>(i)], from + i * stride * 4, sizeof(uint32_t));
  return words;
}

// [N, M] to [M, N].
template <typename T>
std::vector<T> transposed(const std::vector<T>& values, int64_t lines) {
  const int64_t length = static_cast<int64_t>(values.size()) / lines;
  std::vector<T> result(values.size());
  for (int64_t i = 0; i < lines; ++i)
    for (int64_t j = 0; j < length; ++j)
      result[static_cast<size_t>(j * lines + i)] = values[static_cast<size_t>(i * length + j)];
  return result;
}

// One value for all rows becomes one for each.
template <typename T>
std::vector<T> spread_rows(std::vector<T> values, int64_t rows) {
  if (values.size() == 1) values.resize(static_cast<size_t>(rows), values.front());
  return values;
}

class ForeignRows {
 public:
  ForeignRows(const ForeignSource& source, GptqZeros& used_zeros)
      : source_(source), linear_(source.linear), used_zeros_(used_zeros) {
    result_.rows = linear_.rows;
    result_.columns = linear_.columns;
  }

  MatrixRows read() {
    switch (linear_.kind) {
      case ForeignKind::kWords:
        read_packed();
        break;
      case ForeignKind::kInteger:
      case ForeignKind::kBitsandbytes:
        read_integers();
        break;
      case ForeignKind::kFloat8:
        return read_floats8(".weight_scale");
      case ForeignKind::kBlockFloat8:
        return read_floats8(".weight_scale_inv");
      case ForeignKind::kBitmask:
      case ForeignKind::kBitmask24:
        read_bitmask();
        break;
      case ForeignKind::kGptq:
        read_gptq();
        break;
      case ForeignKind::kAwq:
        read_awq();
        break;
    }
    return std::move(result_);
  }

 private:
  StoredTensor tensor(const std::string& suffix) const { return source_.load(source_.name + suffix); }
  std::vector<float> floats(const std::string& suffix) const { return read_floats(tensor(suffix)); }
  std::vector<uint32_t> words(const std::string& suffix) const {
    const StoredTensor stored = tensor(suffix);
    return read_words(stored.bytes.data(), static_cast<int64_t>(stored.bytes.size()) / 4);
  }

  // Scales [R, G] and zeros [R, G] (empty: none), each group's, and codes that `codes` writes.
  void set_integers(std::vector<float> scales, std::vector<uint8_t> zeros,
                    const std::function<void(int64_t row, uint8_t* codes)>& codes) {
    IntegerSource source;
    source.rows = linear_.rows;
    source.columns = linear_.columns;
    source.bits = linear_.bits;
    source.group_size = linear_.group_size;
    OCKHAM_CHECK(static_cast<int64_t>(scales.size()) == linear_.rows * linear_.groups);
    if (result_.group_index != nullptr) source.group_index = *result_.group_index;
    const Floats all_scales = std::make_shared<const std::vector<float>>(std::move(scales));
    const Bytes all_zeros = std::make_shared<const std::vector<uint8_t>>(std::move(zeros));
    source.read = [=, groups = linear_.groups](int64_t row, IntegerRow& to) {
      std::copy_n(all_scales->data() + row * groups, groups, to.scales);
      if (!all_zeros->empty()) std::copy_n(all_zeros->data() + row * groups, groups, to.zeros);
      codes(row, to.codes);
    };
    result_.integers = std::move(source);
  }

  // The group of each column, where they are not one after another.
  void read_index(const std::string& suffix) {
    std::vector<int32_t> index;
    for (const uint32_t word : words(suffix)) index.push_back(static_cast<int32_t>(word));
    const auto [low, high] = std::minmax_element(index.begin(), index.end());
    if (*low < 0 || *high >= linear_.groups) {
      throw_input("{}{}: names groups {} to {}, expected 0 to {}; download the model again", source_.name, suffix, *low,
                  *high, linear_.groups - 1);
    }
    bool is_plain = true;
    for (size_t c = 0; is_plain && c < index.size(); ++c)
      is_plain = index[c] == static_cast<int64_t>(c) / linear_.group_size;
    if (!is_plain) result_.group_index = std::make_shared<const std::vector<int32_t>>(std::move(index));
  }

  void read_packed() {
    const int64_t bits = linear_.bits;
    const StoredTensor packed = tensor(".weight_packed");
    std::vector<uint8_t> zeros;
    if (linear_.has_zeros) {
      zeros.resize(static_cast<size_t>(linear_.groups * linear_.rows));  // [G, R]
      const std::vector<uint32_t> lines = words(".weight_zero_point");   // [words, G]
      const int64_t count = static_cast<int64_t>(lines.size()) / linear_.groups;
      for (int64_t g = 0; g < linear_.groups; ++g) {
        const auto line = read_words(reinterpret_cast<const std::byte*>(lines.data() + g), count, linear_.groups);
        unpack_words(
            line, bits, linear_.layout,
            std::span(zeros).subspan(static_cast<size_t>(g * linear_.rows), static_cast<size_t>(linear_.rows)));
      }
      zeros = transposed(zeros, linear_.groups);
    }
    if (linear_.has_index) read_index(".weight_g_idx");
    set_integers(spread_rows(floats(".weight_scale"), linear_.rows), std::move(zeros),
                 [packed, bits, layout = linear_.layout, columns = linear_.columns](int64_t row, uint8_t* codes) {
                   const int64_t width = packed.shape[1];
                   const auto words = read_words(packed.bytes.data() + row * width * 4, width);
                   unpack_words(words, bits, layout, {codes, static_cast<size_t>(columns)});
                 });
  }

  // Signed bytes, with the scales of compressed-tensors or the magnitudes of bitsandbytes.
  void read_integers() {
    const StoredTensor bytes = tensor(".weight");
    std::vector<float> scales;
    std::vector<uint8_t> zeros;
    if (linear_.kind == ForeignKind::kBitsandbytes) {
      constexpr float kReciprocal = 7.874015718698502e-3F;  // the library's own, of 127
      scales = floats(".SCB");
      for (float& scale : scales) scale *= kReciprocal;
    } else {
      scales = spread_rows(floats(".weight_scale"), linear_.rows);
    }
    if (linear_.has_zeros) {
      for (const std::byte zero : tensor(".weight_zero_point").bytes)
        zeros.push_back(static_cast<uint8_t>(static_cast<uint8_t>(zero) + kMiddle));
      zeros = spread_rows(std::move(zeros), linear_.rows);
    }
    set_integers(std::move(scales), std::move(zeros), [bytes, columns = linear_.columns](int64_t row, uint8_t* codes) {
      const std::byte* from = bytes.bytes.data() + row * columns;
      for (int64_t c = 0; c < columns; ++c) codes[c] = static_cast<uint8_t>(static_cast<uint8_t>(from[c]) + kMiddle);
    });
  }

  MatrixRows read_floats8(const char* suffix) const {
    const StoredTensor scales = tensor(suffix);
    const bool is_one = scales.shape.size() != 2;
    Float8Matrix matrix;
    matrix.codes = tensor(".weight");
    matrix.scales = std::make_shared<const std::vector<float>>(read_floats(scales));
    matrix.tile_rows = is_one ? linear_.rows : ceil_div(linear_.rows, scales.shape[0]);
    matrix.tile_columns = is_one ? linear_.columns : ceil_div(linear_.columns, scales.shape[1]);
    matrix.scale_columns = is_one ? 1 : scales.shape[1];
    return float8_rows(matrix, source_.float8_type);
  }

  void read_bitmask() {
    const std::string base = linear_.kind == ForeignKind::kBitmask24 ? "" : ".weight";
    const StoredTensor values = tensor(base + ".compressed");
    const auto stored =
        std::make_shared<const StoredMask>(tensor(base + ".bitmask").bytes, linear_.rows, linear_.columns);
    const int64_t count = static_cast<int64_t>(values.bytes.size()) / dtype_size(values.dtype);
    if (count != stored->all_stored()) {
      throw_input("{}{}.compressed: has {} values, expected {} as its bitmask says; download the model again",
                  source_.name, base, count, stored->all_stored());
    }
    result_ = masked_rows(values, stored, linear_.columns);
    result_.rows = linear_.rows;
  }

  // Zero points as their fields say, one row of fields [G] after another.
  std::vector<uint8_t> gptq_zeros() const {
    const auto fields = unpack_gptq_zeros(words(".qzeros"), linear_.rows, linear_.groups, linear_.bits, linear_.layout);
    used_zeros_ = detect_gptq_zeros(fields, linear_.bits, linear_.is_symmetric, linear_.zeros);
    std::vector<uint8_t> zeros = fields;
    if (used_zeros_ == GptqZeros::kStored) return zeros;
    for (uint8_t& zero : zeros) {
      if (zero == 255) throw_input("{}.qzeros: a zero point is 256, expected at most 255", source_.name);
      ++zero;
    }
    return zeros;
  }

  void read_gptq() {
    if (linear_.has_index) read_index(".g_idx");
    const StoredTensor packed = tensor(".qweight");  // [words, R]
    set_integers(transposed(floats(".scales"), linear_.groups), gptq_zeros(),
                 [packed, linear = linear_](int64_t row, uint8_t* codes) {
                   const auto words = read_words(packed.bytes.data() + row * 4, packed.shape[0], linear.rows);
                   unpack_words(words, linear.bits, linear.layout, {codes, static_cast<size_t>(linear.columns)});
                 });
  }

  void read_awq() {
    const StoredTensor packed = tensor(".qweight");  // [C, R / 8]
    set_integers(transposed(floats(".scales"), linear_.groups), unpack_awq(words(".qzeros"), linear_.rows),
                 [packed, linear = linear_](int64_t row, uint8_t* codes) {
                   const auto words = read_words(packed.bytes.data() + row / 8 * 4, linear.columns, linear.rows / 8);
                   for (int64_t c = 0; c < linear.columns; ++c)
                     codes[c] = awq_code(words[static_cast<size_t>(c)], row % 8);
                 });
  }

  const ForeignSource& source_;
  const ForeignLinear& linear_;
  GptqZeros& used_zeros_;
  MatrixRows result_;
};

}  // namespace

MatrixRows foreign_rows(const ForeignSource& source, GptqZeros& used_zeros) {
  return ForeignRows(source, used_zeros).read();
}

}  // namespace ockham
