// The table of kernels: one column for each target, one row for each layout.
#pragma once

#include "ockham/kernels/panels.h"
#include "ockham/kernels/target.h"

namespace ockham {

// Where the sums of one unit go: out[t * stride + r], 16 floats for each token.
struct UnitOutput {
  float* at;
  int64_t stride;
};

// Tokens [begin, end) of the input with the 16 rows of `unit`.
template <typename Layout>
using UnitKernel = void (*)(const Layout& layout, const PreparedInput& input, int64_t unit, int64_t begin, int64_t end,
                            const UnitOutput& out);

// Units [first, first + count), of which the outputs lie side by side; count is at most kUnitsOfPrefill.
struct UnitRange {
  int64_t first, count;
};
// The same for more than kFewTokens tokens; false where this kernel has nothing to offer for the layout.
template <typename Layout>
using PrefillKernel = bool (*)(const Layout& layout, const PreparedInput& input, const UnitRange& units, int64_t begin,
                               int64_t end, const UnitOutput& out);

struct FillRange {
  const float* x;
  int64_t stride, columns, begin, end;
};

struct KernelSet {
  Target target;
  // Rounds or copies tokens into `input`; one_step: one step size for a whole token.
  void (*fill)(const PreparedInput& input, const FillRange& range, bool one_step);
  UnitKernel<DenseRows> dense_f32, dense_f16, dense_bf16;
  UnitKernel<IntegerPanels> integer[9];  // by bits
  UnitKernel<SparseIntegerPanels> sparse_int4, sparse_int8;
  UnitKernel<SparseFloatPanels> sparse_f32, sparse_bf16;
  UnitKernel<StepPanels> steps_f32, steps_bf16;
  bool takes_turned;  // steps: inputs of many tokens, 16 tokens of a column side by side
  UnitKernel<GroupSparsePanels> group_sparse_int4, group_sparse_int8;
  // Null where the kernels above serve any number of tokens.
  PrefillKernel<DenseRows> prefill_bf16;  // takes inputs as words
  PrefillKernel<IntegerPanels> prefill_integer;
  PrefillKernel<SparseIntegerPanels> prefill_sparse_integer;
  PrefillKernel<GroupSparsePanels> prefill_group_sparse;
};

const KernelSet& portable_kernels();
#if defined(__x86_64__)
const KernelSet& avx2_kernels();
const KernelSet& avx512_kernels();
const KernelSet& amx_kernels();
#endif
// Those of current_target().
const KernelSet& current_kernels();

}  // namespace ockham
