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

OCKHAM_BEGIN_AVX512
constexpr bool kScaledCodes = true;
constexpr bool kSignedCodes = false;
constexpr bool kTakesTurned = true;
constexpr int kTokensAtOnce = 4, kDenseRows = 4, kDenseTokens = 6;
// Each uses the names of those before it.
// clang-format off
#include "ockham/kernels/lanes_avx512.h"
#include "ockham/kernels/kernel_set.h"
#include "ockham/kernels/code_block.h"
#include "ockham/kernels/panel_pair.h"
#include "ockham/kernels/vector_products.h"
#include "ockham/kernels/block_product.h"
// clang-format on
OCKHAM_END_TARGET

}  // namespace

const KernelSet& avx512_kernels() {
  static const KernelSet kKernels = with_prefill(make_kernels(Target::kAvx512));
  return kKernels;
}

}  // namespace ockham
#endif
