#include "ockham/kernels/matrix.h"

#include <algorithm>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/kernels/builder.h"
#include "ockham/kernels/kernel_table.h"

namespace ockham {
namespace {

constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

// The kernel of a layout in the table, called for one unit.
void call_kernel(const KernelSet& kernels, const DenseRows& dense, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  const auto kernel = dense.type == DType::kF32   ? kernels.dense_f32
                      : dense.type == DType::kF16 ? kernels.dense_f16
                                                  : kernels.dense_bf16;
  kernel(dense, input, unit, begin, end, out);
}
void call_kernel(const KernelSet& kernels, const IntegerPanels& panels, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  kernels.integer[panels.bits](panels, input, unit, begin, end, out);
}

void call_kernel(const KernelSet& kernels, const SparseIntegerPanels& panels, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  (panels.bits == 4 ? kernels.sparse_int4 : kernels.sparse_int8)(panels, input, unit, begin, end, out);
}
void call_kernel(const KernelSet& kernels, const SparseFloatPanels& panels, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  (panels.type == DType::kF32 ? kernels.sparse_f32 : kernels.sparse_bf16)(panels, input, unit, begin, end, out);
}
void call_kernel(const KernelSet& kernels, const StepPanels& panels, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  (panels.type == DType::kF32 ? kernels.steps_f32 : kernels.steps_bf16)(panels, input, unit, begin, end, out);
}
void call_kernel(const KernelSet& kernels, const GroupSparsePanels& panels, const PreparedInput& input, int64_t unit,
                 int64_t begin, int64_t end, const UnitOutput& out) {
  (panels.bits == 4 ? kernels.group_sparse_int4 : kernels.group_sparse_int8)(panels, input, unit, begin, end, out);
}

// The kernel for many tokens, where there is one that takes the layout.
template <typename Kernel, typename Layout>
bool call_prefill(Kernel kernel, const Layout& layout, const PreparedInput& input, const UnitRange& units,
                  int64_t begin, int64_t end, const UnitOutput& out) {
  return kernel != nullptr && kernel(layout, input, units, begin, end, out);
}
bool prefill(const KernelSet& kernels, const MatrixLayout& layout, const PreparedInput& input, const UnitRange& units,
             int64_t begin, int64_t end, const UnitOutput& out) {
  if (const auto* dense = std::get_if<DenseRows>(&layout))
    return call_prefill(kernels.prefill_bf16, *dense, input, units, begin, end, out);
  if (const auto* panels = std::get_if<IntegerPanels>(&layout))
    return call_prefill(kernels.prefill_integer, *panels, input, units, begin, end, out);
  if (const auto* panels = std::get_if<SparseIntegerPanels>(&layout))
    return call_prefill(kernels.prefill_sparse_integer, *panels, input, units, begin, end, out);
  if (const auto* panels = std::get_if<GroupSparsePanels>(&layout))
    return call_prefill(kernels.prefill_group_sparse, *panels, input, units, begin, end, out);
  return false;
}

constexpr int64_t kTokensOfChunk = 256;

// The sums of some units with some tokens, added up in a place of their own.
struct UnitSums {
  alignas(64) float at[kTokensOfChunk * kUnitsOfPrefill * kPanelRows];
  int64_t begin, width;

  // Kernels count tokens from the first of all; a number, since no pointer may leave its array.
  UnitOutput output() {
    const auto before = static_cast<uintptr_t>(begin * width) * sizeof(float);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): that is what is meant
    return {reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(at) - before), width};
  }
  float get(int64_t token, int64_t row) const { return at[(token - begin) * width + row]; }
};

struct UnitTask {
  const KernelSet& kernels;
  const MatrixPart& part;
  const PreparedInput& input;
  const PreparedInput& left_input;  // for the part's rows of the left low-rank factor
  UnitRange units;

  void multiply(const MatrixLayout& layout, const PreparedInput& of, int64_t begin, int64_t end,
                const UnitOutput& out) const {
    // Inputs that were made into words fit no other kernel.
    const bool is_prefill = end - begin > kFewTokens || of.words != nullptr;
    if (is_prefill && prefill(kernels, layout, of, units, begin, end, out)) return;
    for (int64_t u = 0; u < units.count; ++u) {
      const UnitOutput one{out.at + u * kPanelRows, out.stride};
      std::visit([&](const auto& found) { call_kernel(kernels, found, of, units.first + u, begin, end, one); }, layout);
    }
  }
  int64_t rows() const {
    return std::min(units.count * kPanelRows, shape_of(part.layout).rows - units.first * kPanelRows);
  }
  int64_t output_row(int64_t r) const {
    const int64_t row = units.first * kPanelRows + r;
    return part.outputs.empty() ? row : part.outputs[static_cast<size_t>(row)];
  }
};

// Puts the sums where the part's rows belong.
void multiply_scattered(const UnitTask& task, int64_t begin, int64_t end, const UnitOutput& y) {
  UnitSums sums;
  sums.begin = begin;
  sums.width = task.units.count * kPanelRows;
  const auto for_all = [&](const auto& put) {
    for (int64_t r = 0; r < task.rows(); ++r) {
      const int64_t row = task.output_row(r);
      for (int64_t t = begin; row >= 0 && t < end; ++t) put(y.at[t * y.stride + row], sums.get(t, r));
    }
  };
  task.multiply(task.part.layout, task.input, begin, end, sums.output());
  for_all([](float& to, float sum) { to = sum; });
  if (!task.part.left) return;
  task.multiply(MatrixLayout(*task.part.left), task.left_input, begin, end, sums.output());
  for_all([](float& to, float sum) { to += sum; });
}

void multiply_units(const UnitTask& task, int64_t begin, int64_t end, const UnitOutput& y) {
  if (task.part.outputs.empty() && !task.part.left && task.rows() == task.units.count * kPanelRows) {
    const UnitOutput out{y.at + task.units.first * kPanelRows, y.stride};
    return task.multiply(task.part.layout, task.input, begin, end, out);
  }
  for (int64_t t = begin; t < end; t += kTokensOfChunk)
    multiply_scattered(task, t, std::min(t + kTokensOfChunk, end), y);
}

// Tokens up to which inputs of column steps are gathered one token after another, above 16 tokens pass together.
constexpr int64_t kFewGathered = 5;

int64_t cache_line(int64_t bytes) {
  return round_up(bytes, 64);
}

// Carves the arrays of a prepared input out of one buffer; returns the bytes it takes. With null only counts. Kernels
// for many tokens read whole tiles, of 16 tokens, and put them in pairs.
int64_t lay_out(PreparedInput& input, int64_t asked, InputRounding rounding, uint8_t* at) {
  const InputForm& form = input.form;
  input.is_turned = form.is_turnable && asked > kFewGathered && current_kernels().takes_turned;
  const int64_t tokens = asked > kFewTokens || input.is_turned ? round_up(asked, kTokensOfProduct) : asked;
  int64_t used = 0;
  const auto take = [&](int64_t bytes) {
    uint8_t* taken = at == nullptr ? nullptr : at + used;
    used += cache_line(bytes) + 64;
    return taken;
  };
  const bool takes_words = form.is_paired && rounding != InputRounding::kFine && asked > kFewTokens;
  if (takes_words && current_kernels().prefill_bf16 != nullptr) {
    input.planes = rounding == InputRounding::kExact ? 3 : 1;
    input.plane_words = tokens * form.columns;
    input.words = reinterpret_cast<uint16_t*>(take(input.planes * input.plane_words * 2));
    return used;
  }
  // Tokens a page apart would share few places of the caches.
  input.stride = round_up(form.columns, 64) + 64;
  if (!form.is_rounded) {
    if (input.is_turned) input.stride = form.columns;
    input.values = reinterpret_cast<float*>(take(tokens * input.stride * 4));
    return used;
  }
  input.groups = (form.columns + form.group - 1) / form.group;
  input.high = reinterpret_cast<int8_t*>(take(tokens * input.stride));
  if (rounding == InputRounding::kFine || rounding == InputRounding::kExact)
    input.low = reinterpret_cast<int8_t*>(take(tokens * input.stride));
  input.scales = reinterpret_cast<float*>(take(tokens * input.groups * 4));
  input.sums = reinterpret_cast<float*>(take(tokens * input.groups * 4));
  input.code_sums = reinterpret_cast<int32_t*>(take(tokens * input.groups * 4));
  return used;
}

}  // namespace

MatrixBuilder::MatrixBuilder(int64_t rows, int64_t columns) {
  if (rows < 1 || columns < 1 || rows > kMostRows || columns > kMostRows) {
    throw_error(ErrorKind::kUnsupported, "a matrix of {} x {} weights; kernels take 1 to {} rows and columns", rows,
                columns, kMostRows);
  }
  matrix_.rows_ = rows;
  matrix_.columns_ = columns;
}

uint8_t* MatrixBuilder::allocate(int64_t bytes) {
  matrix_.memory_.push_back(std::make_unique<Buffer>(bytes));
  return matrix_.memory_.back()->data();
}

void MatrixBuilder::add_part(const MatrixLayout& layout, std::vector<int32_t> outputs) {
  matrix_.parts_.push_back({layout, std::move(outputs), {}});
}

KernelMatrix MatrixBuilder::finish(std::string description) {
  matrix_.description_ = std::move(description);
  return std::move(matrix_);
}

void MatrixBuilder::take_parts(KernelMatrix matrix, const std::vector<int32_t>& rows) {
  if (matrix.rank_ != 0) throw_error(ErrorKind::kUnsupported, "rows of a low-rank matrix cannot be joined with others");
  if (static_cast<int64_t>(rows.size()) != matrix.rows_ || matrix.columns_ != matrix_.columns_) {
    throw_input("a part of {} x {} weights for {} rows of {} columns; give every row of the part a place", matrix.rows_,
                matrix.columns_, rows.size(), matrix_.columns_);
  }
  for (MatrixPart& part : matrix.parts_) {
    std::vector<int32_t> outputs(static_cast<size_t>(shape_of(part.layout).rows));
    for (size_t i = 0; i < outputs.size(); ++i) {
      const int64_t row = part.outputs.empty() ? static_cast<int64_t>(i) : part.outputs[i];
      outputs[i] = row < 0 ? -1 : rows[static_cast<size_t>(row)];
    }
    matrix_.parts_.push_back({part.layout, std::move(outputs), {}});
  }
  for (auto& memory : matrix.memory_) matrix_.memory_.push_back(std::move(memory));
}

KernelMatrix rename(KernelMatrix matrix, const std::string& description) {
  return MatrixBuilder(std::move(matrix)).finish(description);
}

void MatrixBuilder::set_right(KernelMatrix right) {
  matrix_.rank_ = right.rows();
  matrix_.right_ = std::make_unique<KernelMatrix>(std::move(right));
}

void MatrixBuilder::set_left(
    const std::function<DenseRows(const MatrixPart& part, MatrixBuilder& builder)>& pack_left) {
  for (MatrixPart& part : matrix_.parts_) part.left = pack_left(part, *this);
}

void for_each_panel(int64_t rows, const std::function<void(int64_t panel)>& pack) {
  parallel_for(panels_of(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) pack(panel);
  });
}

int64_t KernelMatrix::units() const {
  int64_t units = 0;
  for (const MatrixPart& part : parts_) units += panels_of(shape_of(part.layout).rows);
  return units;
}

int64_t KernelMatrix::bytes() const {
  int64_t bytes = right_ == nullptr ? 0 : right_->bytes();
  for (const MatrixPart& part : parts_) bytes += shape_of(part.layout).bytes + (part.left ? part.left->bytes : 0);
  return bytes;
}

// Units [first, last) and tokens [begin, end).
struct ProductRange {
  int64_t first, last, begin, end;
};
// Bytes of inputs that stay in a core's second cache, of 2 MB where there are tiles, while weights pass.
constexpr int64_t kBytesOfPass = int64_t{1280} * 1024;

// Tokens that go through all units together: as many as stay in the cache, about the same number each time.
int64_t tokens_of_pass(const PreparedInput& input, int64_t tokens) {
  if (tokens <= kFewTokens) return tokens;
  const int64_t per_token = input.form.columns * (input.words != nullptr  ? 2 * input.planes
                                                  : input.low != nullptr  ? 2
                                                  : input.high != nullptr ? 1
                                                                          : 4);
  const int64_t passes = (tokens * per_token + kBytesOfPass - 1) / kBytesOfPass;
  return std::max<int64_t>(round_up((tokens + passes - 1) / passes, 32), 32);
}

// Units [begin, end) of a part.
void multiply_part(const MatrixPart& part, const PreparedInput& input, const PreparedInput& left_input,
                   const ProductRange& range, const UnitOutput& y) {
  const KernelSet& kernels = current_kernels();
  const int64_t step = range.end - range.begin > kFewTokens ? kUnitsOfPrefill : 1;
  const int64_t pass = tokens_of_pass(input, range.end - range.begin);
  for (int64_t t = range.begin; t < range.end; t += pass) {
    const int64_t last = std::min(t + pass, range.end);
    for (int64_t unit = range.first; unit < range.last; unit += step) {
      const UnitRange together{unit, std::min(step, range.last - unit)};
      multiply_units({kernels, part, input, left_input, together}, t, last, y);
    }
  }
}

void multiply_tokens(const KernelMatrix& matrix, const KernelInput& input, const ProductRange& range, float* y,
                     int64_t y_stride) {
  OCKHAM_CHECK(input.prepared().size() == matrix.parts().size() && 0 <= range.first && range.last <= matrix.units());
  int64_t before = 0;
  for (size_t p = 0; p < matrix.parts().size(); ++p) {
    const MatrixPart& part = matrix.parts()[p];
    const int64_t units = panels_of(shape_of(part.layout).rows);
    const ProductRange within{std::max<int64_t>(range.first - before, 0), std::min(range.last - before, units),
                              range.begin, range.end};
    multiply_part(part, input.prepared()[p], input.prepared_left(), within, {y, y_stride});
    before += units;
  }
}

KernelMatrix join_rows(std::vector<KernelMatrix> parts, const std::vector<std::vector<int32_t>>& rows_of) {
  OCKHAM_CHECK(!parts.empty() && parts.size() == rows_of.size());
  int64_t rows = 0;
  for (const KernelMatrix& part : parts) rows += part.rows();
  std::vector<char> is_named(static_cast<size_t>(rows));
  for (const std::vector<int32_t>& named : rows_of) {
    for (const int32_t row : named) {
      if (row < 0 || row >= rows || is_named[static_cast<size_t>(row)]++ != 0)
        throw_input("row {} of {} rows is named twice or is none; name each row of the whole once", row, rows);
    }
  }
  MatrixBuilder builder(rows, parts.front().columns());
  std::string description = "rows of";
  for (size_t p = 0; p < parts.size(); ++p) {
    description += (p == 0 ? " " : ", ") + parts[p].description();
    builder.take_parts(std::move(parts[p]), rows_of[p]);
  }
  return builder.finish(description);
}

void KernelInput::reserve(const KernelMatrix& matrix, int64_t tokens, InputRounding rounding) {
  OCKHAM_CHECK(tokens >= 0);
  tokens_ = tokens;
  rounding_ = rounding;
  const size_t count = matrix.parts().size();
  prepared_.assign(count, {});
  if (memory_.size() < count) memory_.resize(count);
  for (size_t p = 0; p < count; ++p) {
    PreparedInput& input = prepared_[p];
    input.form = shape_of(matrix.parts()[p].layout).form;
    for (size_t earlier = 0; earlier < p; ++earlier) {
      if (prepared_[earlier].form == input.form) input = prepared_[earlier];
    }
    if (input.values != nullptr || input.high != nullptr || input.words != nullptr) continue;
    memory_[p].reserve(lay_out(input, tokens, rounding, nullptr));
    lay_out(input, tokens, rounding, memory_[p].data());
  }
  if (matrix.right_ != nullptr) reserve_low_rank(matrix, tokens);
}

void KernelInput::reserve_low_rank(const KernelMatrix& matrix, int64_t tokens) {
  if (right_ == nullptr) right_ = std::make_unique<KernelInput>();
  right_->reserve(*matrix.right_, tokens, InputRounding::kFine);
  ranks_.reserve(tokens * matrix.rank_ * static_cast<int64_t>(sizeof(float)));
  left_ = {};
  left_.form = matrix.parts_.front().left->form;
  left_memory_.reserve(lay_out(left_, tokens, InputRounding::kFine, nullptr));
  lay_out(left_, tokens, InputRounding::kFine, left_memory_.data());
}

// Right x, as the input of the left factor.
void KernelInput::fill_low_rank(const KernelMatrix& matrix, const FillRange& range) {
  right_->fill(*matrix.right_, range.x, range.stride, range.begin, range.end);
  auto* ranks = reinterpret_cast<float*>(ranks_.data());
  multiply_tokens(*matrix.right_, *right_, {0, matrix.right_->units(), range.begin, range.end}, ranks, matrix.rank_);
  current_kernels().fill(left_, {ranks, matrix.rank_, matrix.rank_, range.begin, range.end}, false);
}

void KernelInput::fill(const KernelMatrix& matrix, const float* x, int64_t x_stride, int64_t begin, int64_t end) {
  OCKHAM_CHECK(prepared_.size() == matrix.parts().size() && 0 <= begin && begin <= end && end <= tokens_);
  const KernelSet& kernels = current_kernels();
  const FillRange range{x, x_stride, matrix.columns(), begin, end};
  for (size_t p = 0; p < prepared_.size(); ++p) {
    OCKHAM_CHECK(prepared_[p].form == shape_of(matrix.parts()[p].layout).form);
    bool is_shared = false;
    for (size_t earlier = 0; earlier < p; ++earlier) is_shared |= prepared_[earlier].form == prepared_[p].form;
    if (!is_shared) kernels.fill(prepared_[p], range, rounding_ == InputRounding::kToken);
  }
  if (matrix.right_ != nullptr) fill_low_rank(matrix, range);
}

int64_t KernelInput::bytes() const {
  int64_t bytes = left_memory_.bytes() + ranks_.bytes() + (right_ == nullptr ? 0 : right_->bytes());
  for (const Buffer& buffer : memory_) bytes += buffer.bytes();
  return bytes;
}

bool same_input(const KernelMatrix& a, const KernelMatrix& b) {
  if (a.columns() != b.columns() || a.rank() != 0 || b.rank() != 0 || a.parts().size() != b.parts().size())
    return false;
  for (size_t p = 0; p < a.parts().size(); ++p) {
    if (shape_of(a.parts()[p].layout).form != shape_of(b.parts()[p].layout).form) return false;
  }
  return true;
}

void multiply(const KernelMatrix& matrix, const KernelInput& input, int64_t first, int64_t last, float* y,
              int64_t y_stride) {
  multiply_tokens(matrix, input, {first, last, 0, input.tokens()}, y, y_stride);
}

}  // namespace ockham
