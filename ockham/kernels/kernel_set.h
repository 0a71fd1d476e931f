// The column of the table for one target; included after the lanes, inside their namespace and target.
#include "ockham/kernels/dense_kernel.h"
#include "ockham/kernels/fill_kernel.h"
#include "ockham/kernels/integer_kernel.h"
#include "ockham/kernels/sparse_kernel.h"

inline KernelSet make_kernels(Target target) {
  KernelSet set = {};
  set.target = target;
  set.fill = fill_input;
  set.dense_f32 = dense_unit<ReadF32>;
  set.dense_f16 = dense_unit<ReadF16>;
  set.dense_bf16 = dense_unit<ReadBF16>;
  set.integer[2] = integer_unit<2>;
  set.integer[3] = integer_unit<3>;
  set.integer[4] = integer_unit<4>;
  set.integer[5] = integer_unit<5>;
  set.integer[6] = integer_unit<6>;
  set.integer[8] = integer_unit<8>;
  set.sparse_int4 = sparse_integer_unit<4>;
  set.sparse_int8 = sparse_integer_unit<8>;
  set.sparse_f32 = sparse_float_unit<SparseF32>;
  set.sparse_bf16 = sparse_float_unit<SparseBF16>;
  set.steps_f32 = step_unit<DType::kF32>;
  set.steps_bf16 = step_unit<DType::kBF16>;
  set.takes_turned = kTakesTurned;
  set.group_sparse_int4 = group_sparse_unit<4>;
  set.group_sparse_int8 = group_sparse_unit<8>;
  return set;
}
