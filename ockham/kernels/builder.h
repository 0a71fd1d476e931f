// What packers share; private to ockham/kernels.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ockham/core/integers.h"
#include "ockham/kernels/matrix.h"

namespace ockham {

class MatrixBuilder {
 public:
  MatrixBuilder(int64_t rows, int64_t columns);
  // Zeroed memory that the matrix owns.
  uint8_t* allocate(int64_t bytes);
  void add_part(const MatrixLayout& layout, std::vector<int32_t> outputs = {});
  KernelMatrix finish(std::string description);
  // A copy that the matrix owns.
  template <typename T>
  const T* keep(const std::vector<T>& values) {
    uint8_t* to = allocate(static_cast<int64_t>(values.size() * sizeof(T)));
    std::copy(values.begin(), values.end(), reinterpret_cast<T*>(to));
    return reinterpret_cast<const T*>(to);
  }
  // The matrix with its parts taken over, rows named anew.
  void take_parts(KernelMatrix matrix, const std::vector<int32_t>& rows);
  // Takes the matrix over as it is; each part gets its rows of a left factor, which `pack_left` makes.
  explicit MatrixBuilder(KernelMatrix matrix) : matrix_(std::move(matrix)) {}
  void set_right(KernelMatrix right);
  void set_left(const std::function<DenseRows(const MatrixPart& part, MatrixBuilder& builder)>& pack_left);
  const KernelMatrix& matrix() const { return matrix_; }

 private:
  KernelMatrix matrix_;
};

// The same matrix under another description.
KernelMatrix rename(KernelMatrix matrix, const std::string& description);

// Calls pack(panel) for every panel of so many rows, on several threads.
void for_each_panel(int64_t rows, const std::function<void(int64_t panel)>& pack);

// Bytes of each panel, one panel after another.
class PanelStreams {
 public:
  explicit PanelStreams(int64_t rows) : panels_(static_cast<size_t>(panels_of(rows))) {}
  std::vector<uint8_t>& at(int64_t panel) { return panels_[static_cast<size_t>(panel)]; }
  int64_t bytes() const {
    int64_t bytes = 0;
    for (const auto& panel : panels_) bytes += static_cast<int64_t>(panel.size());
    return bytes;
  }
  // Where each panel begins, in units of `unit` bytes, and the end of all.
  std::vector<int64_t> starts(int64_t unit) const {
    std::vector<int64_t> starts = {0};
    for (const auto& panel : panels_) starts.push_back(starts.back() + static_cast<int64_t>(panel.size()) / unit);
    return starts;
  }
  // All panels in memory of the matrix; frees its own.
  const uint8_t* move_to(MatrixBuilder& builder) {
    uint8_t* const to = builder.allocate(bytes());
    int64_t at = 0;
    for (auto& panel : panels_) {
      std::copy(panel.begin(), panel.end(), to + at);
      at += static_cast<int64_t>(panel.size());
      panel = {};
    }
    return to;
  }

 private:
  std::vector<std::vector<uint8_t>> panels_;
};

}  // namespace ockham
