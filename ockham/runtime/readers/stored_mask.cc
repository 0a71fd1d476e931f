#include "ockham/runtime/readers/stored_mask.h"

#include <bit>

#include "ockham/core/error.h"

namespace ockham {

StoredMask::StoredMask(std::span<const std::byte> bytes, int64_t rows, int64_t columns)
    : bytes_(reinterpret_cast<const uint8_t*>(bytes.data())), columns_(columns), width_((columns + 7) / 8) {
  OCKHAM_CHECK(static_cast<int64_t>(bytes.size()) == rows * width_);
  const auto last = static_cast<uint8_t>(0xffU >> (width_ * 8 - columns));
  before_.reserve(static_cast<size_t>(rows + 1));
  before_.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* from = bytes_ + row * width_;
    int64_t count = 0;
    for (int64_t i = 0; i + 1 < width_; ++i) count += std::popcount(from[i]);
    count += std::popcount(static_cast<uint8_t>(from[width_ - 1] & last));
    before_.push_back(before_.back() + count);
  }
}

void StoredMask::read(int64_t row, uint8_t* is_stored) const {
  const uint8_t* from = bytes_ + row * width_;
  for (int64_t c = 0; c < columns_; ++c) is_stored[c] = from[c / 8] >> (c % 8) & 1;
}

MatrixRows masked_rows(const StoredTensor& values, const std::shared_ptr<const StoredMask>& mask, int64_t columns) {
  expect_finite(values);
  MatrixRows result;
  result.columns = columns;
  result.type = values.dtype;
  result.is_sparse = true;
  result.floats = [mask, values, columns](int64_t row, float* to) {
    std::vector<uint8_t> is_stored(static_cast<size_t>(columns));
    std::vector<float> found(static_cast<size_t>(mask->stored(row)));
    mask->read(row, is_stored.data());
    read_floats(values.dtype, values.bytes.data() + mask->before(row) * dtype_size(values.dtype), mask->stored(row),
                found.data());
    const float* next = found.data();
    for (int64_t c = 0; c < columns; ++c) to[c] = is_stored[static_cast<size_t>(c)] != 0 ? *next++ : 0;
  };
  return result;
}

}  // namespace ockham
