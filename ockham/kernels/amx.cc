#include <algorithm>
#include <bit>
#include <cstring>

#include "ockham/core/half.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/kernel_table.h"

OCKHAM_KERNEL_SOURCE

#if defined(__x86_64__)
namespace ockham {
namespace {

OCKHAM_BEGIN_AMX
constexpr bool kScaledCodes = false;  // codes are used as bytes
constexpr bool kTakesTurned = true;
constexpr int kTokensAtOnce = 4;
// Each uses the names of those before it.
// clang-format off
#include "ockham/kernels/lanes_avx512.h"
#include "ockham/kernels/integer_kernel.h"
#include "ockham/kernels/sparse_kernel.h"
#include "ockham/kernels/tiles.h"
#include "ockham/kernels/amx_codes.h"
#include "ockham/kernels/amx_integer.h"
#include "ockham/kernels/amx_bf16.h"
// clang-format on

bool prefill_any(const IntegerPanels& panels, const PreparedInput& input, const UnitRange& units, int64_t begin,
                 int64_t end, const UnitOutput& out) {
  switch (panels.bits) {
    case 2:
      return prefill_integers<IntegerReader<2>>(panels, input, units, begin, end, out);
    case 3:
      return prefill_integers<IntegerReader<3>>(panels, input, units, begin, end, out);
    case 4:
      return prefill_integers<IntegerReader<4>>(panels, input, units, begin, end, out);
    case 5:
      return prefill_integers<IntegerReader<5>>(panels, input, units, begin, end, out);
    case 6:
      return prefill_integers<IntegerReader<6>>(panels, input, units, begin, end, out);
    default:
      return prefill_integers<IntegerReader<8>>(panels, input, units, begin, end, out);
  }
}
bool prefill_sparse(const SparseIntegerPanels& panels, const PreparedInput& input, const UnitRange& units,
                    int64_t begin, int64_t end, const UnitOutput& out) {
  if (panels.bits == 4) return prefill_integers<SparseReader<4>>(panels, input, units, begin, end, out);
  return prefill_integers<SparseReader<8>>(panels, input, units, begin, end, out);
}
bool prefill_groups(const GroupSparsePanels& panels, const PreparedInput& input, const UnitRange& units, int64_t begin,
                    int64_t end, const UnitOutput& out) {
  if (panels.bits == 4) return prefill_integers<GroupSparseReader<4>>(panels, input, units, begin, end, out);
  return prefill_integers<GroupSparseReader<8>>(panels, input, units, begin, end, out);
}
OCKHAM_END_TARGET

// For few tokens tiles have nothing to offer.
KernelSet make_amx_kernels() {
  KernelSet set = avx512_kernels();
  set.target = Target::kAmx;
  set.fill = fill_amx;
  set.prefill_bf16 = prefill_bf16;
  set.prefill_integer = prefill_any;
  set.prefill_sparse_integer = prefill_sparse;
  set.prefill_group_sparse = prefill_groups;
  return set;
}

}  // namespace

const KernelSet& amx_kernels() {
  static const KernelSet kKernels = make_amx_kernels();
  return kKernels;
}

}  // namespace ockham
#endif
