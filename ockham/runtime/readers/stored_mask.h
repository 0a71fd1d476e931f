// Bitmaps of rows: U8 [R, ceil(C/8)], bit c % 8 of byte c / 8 set where a value is stored; what is stored follows row
// by row. Private to runtime.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ockham/runtime/readers/matrix_rows.h"

namespace ockham {

class StoredMask {
 public:
  // Bits beyond the columns are ignored. The bytes must outlive this.
  StoredMask(std::span<const std::byte> bytes, int64_t rows, int64_t columns);
  // Values stored before row `row`; of all rows for R.
  int64_t before(int64_t row) const { return before_[static_cast<size_t>(row)]; }
  int64_t stored(int64_t row) const { return before(row + 1) - before(row); }
  int64_t all_stored() const { return before_.back(); }
  // One byte for each column, 1 where a value is stored.
  void read(int64_t row, uint8_t* is_stored) const;

 private:
  const uint8_t* bytes_;
  int64_t columns_, width_;
  std::vector<int64_t> before_;
};

// Rows whose stored values are those of the tensor, checked to be finite; it has as many as the mask says. The number
// of rows is the caller's to set.
MatrixRows masked_rows(const StoredTensor& values, const std::shared_ptr<const StoredMask>& mask, int64_t columns);

}  // namespace ockham
