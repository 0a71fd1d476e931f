// Where columns and codes of an integer matrix go in its panels; private to ockham/kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/kernels/matrix.h"

namespace ockham {

// Columns as they are stored, and the groups of inputs that go with them.
struct ColumnPlan {
  int64_t source_groups = 0;  // G
  int64_t columns = 0;        // stored, with padding: a multiple of 32
  int64_t group = 0;          // columns of one step size of the inputs
  int64_t groups = 0;
  int64_t inputs_per_record = 1, records = 0;
  std::vector<int32_t> order;      // [columns], empty where columns are stored as they are
  std::vector<int32_t> record_of;  // [C]: record of each source column
};
ColumnPlan plan_columns(const IntegerSource& source);
// Every group in a place of its own, a multiple of 16 columns wide; at most 512.
ColumnPlan plan_whole_groups(int64_t columns, int64_t group_size);

// Codes of one panel, in quads (panels.h) and not packed yet: columns * 16 bytes.
class QuadCodes {
 public:
  explicit QuadCodes(int64_t columns) : bytes_(static_cast<size_t>(columns * kPanelRows)) {}
  uint8_t& at(int64_t lane, int64_t column) {
    return bytes_[static_cast<size_t>(column / 4 * 64 + lane * 4 + column % 4)];
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  // The 64 places of a quad.
  const uint8_t* quad(int64_t index) const { return bytes_.data() + index * 64; }

 private:
  std::vector<uint8_t> bytes_;
};
// Codes in quads packed to `bits`, as panels.h describes.
void pack_steps(const std::vector<uint8_t>& quads, int bits, uint8_t* to);

// Places of source columns among the stored ones: [C].
std::vector<int32_t> stored_places(const ColumnPlan& plan, int64_t columns);

}  // namespace ockham
