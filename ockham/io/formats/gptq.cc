// Transposing and packing of GPTQ tensors.
#include "ockham/io/formats/gptq.h"

#include <algorithm>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// Row i of `codes` [lines, length], packed, becomes column i of the result [words of a line, lines].
std::vector<uint32_t> pack_to_columns(std::span<const uint8_t> codes, int64_t lines, int64_t bits, WordLayout layout) {
  const int64_t length = lines == 0 ? 0 : static_cast<int64_t>(codes.size()) / lines;
  const int64_t width = packed_words(length, bits, layout);
  std::vector<uint32_t> result(static_cast<size_t>(width * lines)), line(static_cast<size_t>(width));
  for (int64_t i = 0; i < lines; ++i) {
    pack_words(codes.subspan(static_cast<size_t>(i * length), static_cast<size_t>(length)), bits, layout, line);
    for (int64_t w = 0; w < width; ++w) result[static_cast<size_t>(w * lines + i)] = line[static_cast<size_t>(w)];
  }
  return result;
}

}  // namespace

std::vector<uint32_t> pack_gptq_codes(std::span<const uint8_t> codes, int64_t rows, int64_t bits, WordLayout layout) {
  return pack_to_columns(codes, rows, bits, layout);
}

std::vector<uint8_t> unpack_gptq_codes(std::span<const uint32_t> words, int64_t rows, int64_t columns, int64_t bits,
                                       WordLayout layout) {
  const int64_t width = packed_words(columns, bits, layout);
  OCKHAM_CHECK(static_cast<int64_t>(words.size()) == width * rows);
  std::vector<uint8_t> codes(static_cast<size_t>(rows * columns));
  std::vector<uint32_t> line(static_cast<size_t>(width));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t w = 0; w < width; ++w) line[static_cast<size_t>(w)] = words[static_cast<size_t>(w * rows + r)];
    unpack_words(line, bits, layout,
                 std::span(codes).subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)));
  }
  return codes;
}

std::vector<uint32_t> pack_gptq_zeros(std::span<const uint8_t> fields, int64_t rows, int64_t bits, WordLayout layout) {
  const int64_t groups = rows == 0 ? 0 : static_cast<int64_t>(fields.size()) / rows;
  const int64_t width = packed_words(rows, bits, layout);
  std::vector<uint32_t> result(static_cast<size_t>(groups * width));
  std::vector<uint8_t> line(static_cast<size_t>(rows));
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t r = 0; r < rows; ++r) line[static_cast<size_t>(r)] = fields[static_cast<size_t>(r * groups + g)];
    pack_words(line, bits, layout,
               std::span(result).subspan(static_cast<size_t>(g * width), static_cast<size_t>(width)));
  }
  return result;
}

std::vector<uint8_t> unpack_gptq_zeros(std::span<const uint32_t> words, int64_t rows, int64_t groups, int64_t bits,
                                       WordLayout layout) {
  const int64_t width = packed_words(rows, bits, layout);
  OCKHAM_CHECK(static_cast<int64_t>(words.size()) == groups * width);
  std::vector<uint8_t> fields(static_cast<size_t>(rows * groups)), line(static_cast<size_t>(rows));
  for (int64_t g = 0; g < groups; ++g) {
    unpack_words(words.subspan(static_cast<size_t>(g * width), static_cast<size_t>(width)), bits, layout, line);
    for (int64_t r = 0; r < rows; ++r) fields[static_cast<size_t>(r * groups + g)] = line[static_cast<size_t>(r)];
  }
  return fields;
}

GptqZeros detect_gptq_zeros(std::span<const uint8_t> fields, int64_t bits, bool is_symmetric, GptqZeros label) {
  if (!is_symmetric || fields.empty()) return label;
  const int middle = 1 << (bits - 1);
  const auto all = [&](int value) {
    return std::all_of(fields.begin(), fields.end(), [value](uint8_t field) { return field == value; });
  };
  if (all(middle)) return GptqZeros::kStored;
  return all(middle - 1) ? GptqZeros::kStoredMinusOne : label;
}

}  // namespace ockham
