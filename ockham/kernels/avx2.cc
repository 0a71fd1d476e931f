#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "ockham/core/half.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/kernel_table.h"

OCKHAM_KERNEL_SOURCE

#if defined(__x86_64__)
namespace ockham {
namespace {

OCKHAM_BEGIN_AVX2
constexpr bool kScaledCodes = false;  // sums of two products of 8 bits with 8 bits saturate
constexpr bool kSignedCodes = false;
constexpr bool kTakesTurned = false;
constexpr int kTokensAtOnce = 2, kDenseRows = 2, kDenseTokens = 3;
// Each uses the names of those before it.
// clang-format off
#include "ockham/kernels/lanes_avx2.h"
#include "ockham/kernels/expand_avx2.h"
#include "ockham/kernels/kernel_set.h"
#include "ockham/kernels/code_block.h"
#include "ockham/kernels/panel_pair.h"
#include "ockham/kernels/vector_products.h"
#include "ockham/kernels/block_product.h"
// clang-format on
OCKHAM_END_TARGET

}  // namespace

const KernelSet& avx2_kernels() {
  static const KernelSet kKernels = with_prefill(make_kernels(Target::kAvx2));
  return kKernels;
}

}  // namespace ockham
#endif
