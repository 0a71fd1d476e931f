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
constexpr bool kScaledCodes = false, kSignedCodes = true;  // codes are used as bytes
constexpr bool kTakesTurned = true;
constexpr int kTokensAtOnce = 4;
// Each uses the names of those before it.
// clang-format off
#include "ockham/kernels/lanes_avx512.h"
#include "ockham/kernels/integer_kernel.h"
#include "ockham/kernels/sparse_kernel.h"
#include "ockham/kernels/tiles.h"
#include "ockham/kernels/code_block.h"
#include "ockham/kernels/panel_pair.h"
#include "ockham/kernels/tile_products.h"
#include "ockham/kernels/block_product.h"
#include "ockham/kernels/amx_bf16.h"
// clang-format on

OCKHAM_END_TARGET

// For few tokens tiles have nothing to offer.
KernelSet make_amx_kernels() {
  KernelSet set = with_prefill(avx512_kernels());
  set.target = Target::kAmx;
  set.fill = fill_amx;
  set.prefill_bf16 = prefill_bf16;
  return set;
}

}  // namespace

const KernelSet& amx_kernels() {
  static const KernelSet kKernels = make_amx_kernels();
  return kKernels;
}

}  // namespace ockham
#endif
