// Rows of floating-point tensors, and what all formats share.
#include "ockham/runtime/readers/matrix_rows.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/half.h"
#include "ockham/core/parallel.h"

namespace ockham {
namespace {

template <typename Word>
Word load_word(const std::byte* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// A number whose exponent has all bits set is infinite or none at all.
template <typename Word>
int64_t count_broken(const std::byte* from, int64_t count, Word exponent) {
  constexpr int64_t kBlock = 256;  // so many at a time, which the compiler turns into vectors
  int64_t broken = 0, i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    Word words[kBlock], found = 0;
    std::memcpy(words, from + i * static_cast<int64_t>(sizeof(Word)), sizeof words);
    for (const Word word : words) found = static_cast<Word>(found + ((word & exponent) == exponent));
    broken += found;
  }
  for (; i < count; ++i)
    broken += (load_word<Word>(from + i * static_cast<int64_t>(sizeof(Word))) & exponent) == exponent;
  return broken;
}

int64_t count_broken(DType type, const std::byte* from, int64_t count) {
  if (type == DType::kF32) return count_broken<uint32_t>(from, count, 0x7f800000U);
  return count_broken<uint16_t>(from, count, type == DType::kF16 ? 0x7c00 : 0x7f80);
}

[[noreturn]] void refuse_broken(const StoredTensor& tensor, int64_t count, int64_t broken) {
  const int64_t size = dtype_size(tensor.dtype);
  int64_t first = 0;
  while (first + 1 < count && count_broken(tensor.dtype, tensor.bytes.data() + first * size, 1) == 0) ++first;
  float value = 0;
  read_floats(tensor.dtype, tensor.bytes.data() + first * size, 1, &value);
  throw_input(
      "{}: tensor '{}' holds {} non-finite value(s), the first ({}) at element {}, expected finite numbers only; "
      "download the model again, or repair the training that wrote it",
      tensor.path, tensor.name, broken, value, first);
}

IntegerSource take_integer_rows(IntegerSource whole, const LinearSpec& part) {
  IntegerSource source = whole;
  source.rows = part.rows;
  source.read = [read = std::move(whole.read), part](int64_t row, IntegerRow& to) { read(fused_row(part, row), to); };
  return source;
}

// The rows of two widths as two matrices.
KernelMatrix pack_widths(const MatrixRows& rows) {
  std::vector<KernelMatrix> parts;
  std::vector<std::vector<int32_t>> rows_of;
  for (const uint8_t is_narrow : {uint8_t{0}, uint8_t{1}}) {
    std::vector<int32_t> own;
    for (int64_t row = 0; row < rows.rows; ++row)
      if ((*rows.narrow)[static_cast<size_t>(row)] == is_narrow) own.push_back(static_cast<int32_t>(row));
    if (own.empty()) continue;
    IntegerSource source = *rows.integers;
    source.rows = static_cast<int64_t>(own.size());
    if (is_narrow != 0) source.bits = rows.narrow_bits;
    source.read = [&, own](int64_t row, IntegerRow& to) { rows.integers->read(own[static_cast<size_t>(row)], to); };
    parts.push_back(pack_integers(source));
    rows_of.push_back(std::move(own));
  }
  return join_rows(std::move(parts), rows_of);
}

KernelMatrix pack_base(const MatrixRows& rows) {
  if (rows.narrow != nullptr) return pack_widths(rows);
  if (rows.integers) return pack_integers(*rows.integers);
  if (rows.kept_groups) return pack_group_sparse(*rows.kept_groups);
  if (rows.values != nullptr) return view_dense(rows.values, rows.type, rows.rows, rows.columns);
  if (rows.floats == nullptr) {  // low-rank factors are all there is
    const auto zeros = [&](int64_t, float* values) { std::fill_n(values, rows.columns, 0.0F); };
    return pack_sparse(zeros, DType::kBF16, rows.rows, rows.columns);
  }
  return rows.is_sparse ? pack_sparse(rows.floats, rows.type, rows.rows, rows.columns)
                        : pack_dense(rows.floats, rows.type, rows.rows, rows.columns);
}

}  // namespace

void read_floats(DType type, const std::byte* from, int64_t count, float* values) {
  if (type == DType::kF32) {
    if (count > 0) std::memcpy(values, from, static_cast<size_t>(count) * sizeof(float));
  } else if (type == DType::kF16) {
    for (int64_t i = 0; i < count; ++i) values[i] = half_to_float(load_word<uint16_t>(from + 2 * i));
  } else {
    OCKHAM_CHECK(type == DType::kBF16);
    for (int64_t i = 0; i < count; ++i) values[i] = bfloat16_to_float(load_word<uint16_t>(from + 2 * i));
  }
}

void expect_finite(const StoredTensor& tensor) {
  constexpr int64_t kGrain = int64_t{1} << 20;
  const int64_t size = dtype_size(tensor.dtype), count = static_cast<int64_t>(tensor.bytes.size()) / size;
  std::atomic<int64_t> broken = 0;
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    broken += count_broken(tensor.dtype, tensor.bytes.data() + begin * size, end - begin);
  });
  if (broken > 0) refuse_broken(tensor, count, broken);
}

std::vector<float> read_floats(const StoredTensor& tensor) {
  expect_finite(tensor);
  std::vector<float> values(tensor.bytes.size() / static_cast<size_t>(dtype_size(tensor.dtype)));
  read_floats(tensor.dtype, tensor.bytes.data(), static_cast<int64_t>(values.size()), values.data());
  return values;
}

MatrixRows dense_rows(const StoredTensor& tensor, bool is_transposed) {
  OCKHAM_CHECK(tensor.shape.size() == 2);
  expect_finite(tensor);
  MatrixRows result;
  result.type = tensor.dtype;
  result.rows = tensor.shape[is_transposed ? 1 : 0];
  result.columns = tensor.shape[is_transposed ? 0 : 1];
  const int64_t size = dtype_size(tensor.dtype), rows = result.rows, columns = result.columns;
  const std::byte* from = tensor.bytes.data();
  if (!is_transposed) {
    result.values = from;
    result.floats = [=, type = tensor.dtype](int64_t row, float* values) {
      read_floats(type, from + row * columns * size, columns, values);
    };
  } else {
    result.floats = [=, type = tensor.dtype](int64_t row, float* values) {
      for (int64_t c = 0; c < columns; ++c) read_floats(type, from + (c * rows + row) * size, 1, values + c);
    };
  }
  return result;
}

int64_t fused_row(const LinearSpec& part, int64_t row) {
  if (part.interleaved_heads == 0) return part.first_row + row;
  const int64_t of_head = part.rows / part.interleaved_heads, parts = part.stored_rows / part.rows,
                place = part.first_row / part.rows;
  return row / of_head * parts * of_head + place * of_head + row % of_head;
}

MatrixRows take_part(MatrixRows whole, const LinearSpec& part) {
  OCKHAM_CHECK(whole.rank == 0 && !whole.kept_groups && whole.narrow == nullptr && whole.rows == part.stored_rows);
  MatrixRows result = whole;
  result.rows = part.rows;
  if (whole.integers) result.integers = take_integer_rows(*whole.integers, part);
  if (whole.floats != nullptr) {
    result.floats = [read = std::move(whole.floats), part](int64_t row, float* values) {
      read(fused_row(part, row), values);
    };
  }
  if (part.interleaved_heads > 0) {
    result.values = nullptr;
  } else if (whole.values != nullptr) {
    result.values = whole.values + part.first_row * whole.columns * dtype_size(whole.type);
  }
  return result;
}

KernelMatrix pack_rows(const MatrixRows& rows) {
  KernelMatrix base = pack_base(rows);
  if (rows.rank == 0) return base;
  return add_low_rank(std::move(base), rows.rank, rows.left, rows.right, rows.factor_type);
}

void read_row(const MatrixRows& rows, int64_t row, float* values) {
  OCKHAM_CHECK(0 <= row && row < rows.rows && rows.rank == 0 && (rows.integers || rows.floats != nullptr));
  if (!rows.integers) return rows.floats(row, values);
  const IntegerSource& source = *rows.integers;
  const int64_t size = source.group_size == 0 ? source.columns : source.group_size;
  const auto groups = static_cast<size_t>((source.columns + size - 1) / size),
             columns = static_cast<size_t>(source.columns);
  std::vector<uint8_t> codes(columns), kept(columns, 1), zeros(groups, static_cast<uint8_t>(1U << (source.bits - 1)));
  std::vector<float> scales(groups), minima(groups);
  IntegerRow to = {codes.data(), scales.data(), zeros.data(), minima.data(), kept.data()};
  source.read(row, to);
  for (size_t c = 0; c < columns; ++c) {
    const size_t g =
        source.group_index.empty() ? c / static_cast<size_t>(size) : static_cast<size_t>(source.group_index[c]);
    const int step = source.has_minima ? codes[c] : codes[c] - zeros[g];
    values[c] = scales[g] * static_cast<float>(step) + (source.has_minima ? minima[g] : 0);
    if (source.has_mask && kept[c] == 0) values[c] = 0;
  }
}

}  // namespace ockham
