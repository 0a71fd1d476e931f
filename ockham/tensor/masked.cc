// Rows are counted first, so that every one of them knows its place and threads share them.
#include "ockham/tensor/masked.h"

#include <ATen/core/grad_mode.h>

#include <cstring>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

namespace ockham {
namespace {

constexpr int64_t kRowsPerPart = 32;

// Values of four, two or one bytes on the CPU, nothing for autograd to record.
bool can_copy(const Tensor& values, const Tensor& mask) {
  return mask.dim() == 2 && values.is_cpu() && mask.is_cpu() && values.element_size() <= 4 &&
         !(at::GradMode::is_enabled() && values.requires_grad());
}

// Where each row of the mask begins among the kept values; the last entry is their number.
std::vector<int64_t> row_starts(const Tensor& mask) {
  const int64_t rows = mask.size(0), columns = mask.size(1);
  std::vector<int64_t> starts(static_cast<size_t>(rows) + 1, 0);
  const auto* marks = reinterpret_cast<const uint8_t*>(mask.const_data_ptr<bool>());
  parallel_rows(0, rows, kRowsPerPart, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int32_t count = 0;
      for (int64_t i = 0; i < columns; ++i) count += marks[row * columns + i];
      starts[static_cast<size_t>(row) + 1] = count;
    }
  });
  for (size_t row = 1; row < starts.size(); ++row) starts[row] += starts[row - 1];
  return starts;
}

template <typename T>
void keep_rows(const Tensor& values, const Tensor& mask, const std::vector<int64_t>& starts, Tensor& kept) {
  const int64_t rows = mask.size(0), columns = mask.size(1);
  const auto* in = static_cast<const T*>(values.const_data_ptr());
  const auto* marks = reinterpret_cast<const uint8_t*>(mask.const_data_ptr<bool>());
  auto* out = static_cast<T*>(kept.mutable_data_ptr());
  parallel_rows(0, rows, kRowsPerPart, [&](int64_t begin, int64_t end) {
    // One place more than a row holds: every value is written, the mask says whether the next one overwrites it.
    std::vector<T> row_values(static_cast<size_t>(columns) + 1);
    for (int64_t row = begin; row < end; ++row) {
      size_t place = 0;
      for (int64_t i = row * columns; i < (row + 1) * columns; ++i) {
        row_values[place] = in[i];
        place += marks[i];
      }
      std::memcpy(out + starts[static_cast<size_t>(row)], row_values.data(), place * sizeof(T));
    }
  });
}

template <typename T>
void spread_rows(const Tensor& kept, const Tensor& mask, const std::vector<int64_t>& starts, Tensor& values) {
  const int64_t rows = mask.size(0), columns = mask.size(1), last = kept.size(0) - 1;
  const auto* in = static_cast<const T*>(kept.const_data_ptr());
  const auto* marks = reinterpret_cast<const uint8_t*>(mask.const_data_ptr<bool>());
  auto* out = static_cast<T*>(values.mutable_data_ptr());
  parallel_rows(0, rows, kRowsPerPart, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t place = starts[static_cast<size_t>(row)];
      for (int64_t i = row * columns; i < (row + 1) * columns; ++i) {
        // Read always and used where the mask says so: no branch that the processor would have to guess.
        out[i] = static_cast<T>(in[place <= last ? place : last] & static_cast<T>(-static_cast<T>(marks[i])));
        place += marks[i];
      }
    }
  });
}

// Calls `work` with a zero of the word that holds one value.
template <typename Work>
void with_word(int64_t bytes, const Work& work) {
  if (bytes == 4) return work(uint32_t{});
  if (bytes == 2) return work(uint16_t{});
  work(uint8_t{});
}

}  // namespace

Tensor keep_masked(const Tensor& values, const Tensor& mask) {
  OCKHAM_CHECK(mask.scalar_type() == at::kBool && values.sizes() == mask.sizes());
  if (!can_copy(values, mask)) return values.masked_select(mask);
  const Tensor source = values.contiguous(), marks = mask.contiguous();
  const std::vector<int64_t> starts = row_starts(marks);
  Tensor kept = at::empty({starts.back()}, values.options());
  with_word(values.element_size(), [&](auto zero) { keep_rows<decltype(zero)>(source, marks, starts, kept); });
  return kept;
}

Tensor spread_masked(const Tensor& kept, const Tensor& mask) {
  OCKHAM_CHECK(mask.scalar_type() == at::kBool && kept.dim() == 1);
  if (!can_copy(kept, mask) || kept.size(0) == 0)
    return at::zeros(mask.sizes(), kept.options()).masked_scatter(mask, kept);
  const Tensor source = kept.contiguous(), marks = mask.contiguous();
  const std::vector<int64_t> starts = row_starts(marks);
  OCKHAM_CHECK(starts.back() == kept.size(0));
  Tensor values = at::empty(mask.sizes(), kept.options());
  with_word(kept.element_size(), [&](auto zero) { spread_rows<decltype(zero)>(source, marks, starts, values); });
  return values;
}

}  // namespace ockham
