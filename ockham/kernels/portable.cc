#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "ockham/core/half.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/kernel_table.h"

OCKHAM_KERNEL_SOURCE

namespace ockham {
namespace {
constexpr bool kScaledCodes = true;
constexpr bool kTakesTurned = false;
constexpr int kTokensAtOnce = 2, kDenseRows = 4, kDenseTokens = 2;
// Each uses the names of those before it.
// clang-format off
#include "ockham/kernels/lanes_portable.h"
#include "ockham/kernels/kernel_set.h"
// clang-format on

}  // namespace

const KernelSet& portable_kernels() {
  static const KernelSet kKernels = make_kernels(Target::kPortable);
  return kKernels;
}

}  // namespace ockham
