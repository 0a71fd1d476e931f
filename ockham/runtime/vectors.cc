#include "ockham/runtime/vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "ockham/core/integers.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/prefetch.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/kv_codes.h"

OCKHAM_KERNEL_SOURCE

namespace ockham {
namespace {

constexpr float kLog2E = 1.44269504F;
constexpr float kUnseen = -std::numeric_limits<float>::infinity();  // the score of a key that is not seen
constexpr float kLowest = -1e30F;  // below every score, and finite: its difference to an unseen one is no NaN

namespace portable {
constexpr int64_t kLanes = 4, kHeight = 4;
#include "ockham/runtime/vector_kernel.h"
}  // namespace portable
#if defined(__x86_64__)
// Six by two sums leave room for the operands in sixteen registers, eight by two in thirty-two.
OCKHAM_BEGIN_AVX2
namespace avx2 {
constexpr int64_t kLanes = 8, kHeight = 6;
#include "ockham/runtime/vector_kernel.h"
}  // namespace avx2
OCKHAM_END_TARGET
OCKHAM_BEGIN_AVX512
namespace avx512 {
constexpr int64_t kLanes = 16, kHeight = 8;
#include "ockham/runtime/vector_kernel.h"
}  // namespace avx512
OCKHAM_END_TARGET
OCKHAM_BEGIN_AMX
namespace avx512 {
// clang-format off
#include "ockham/kernels/tiles.h"
#include "ockham/runtime/page_tiles.h"
// clang-format on
}  // namespace avx512
OCKHAM_END_TARGET

constexpr VectorKernels with_tiles(VectorKernels kernels) {
  kernels.tile_f32 = avx512::attend_with<avx512::PageTiles<float>>;
  kernels.tile_bf16 = avx512::attend_with<avx512::PageTiles<uint16_t>>;
  kernels.tile_int8 = avx512::attend_with<avx512::PageTiles<int8_t>>;
  return kernels;
}
#endif

}  // namespace

int64_t expanded_floats(const KvCodeLayout& layout) {
  const int64_t scales = std::max(layout.key_groups * (layout.dim + 16), layout.value_groups * kPageKeys);
  const int64_t rank = (layout.rank + 3) / 4 * 4;
  return (layout.wide + 15) * kPageKeys + 2 * scales + rank * (kPageKeys + layout.wide + 2 * kMostRows) + 32;
}

// Two bf16 numbers each: queries, keys of a page, weights, values of a block.
int64_t tile_floats(int64_t dim, int64_t wide) {
  const int64_t depth = round_up(dim, 32);
  return (kMostTileRows + kPageKeys) * depth + kMostTileRows * kBlockKeys + kBlockKeys * wide;
}

const VectorKernels& vector_kernels() {
#if defined(__x86_64__)
  static constexpr VectorKernels kAmx = with_tiles(avx512::kVectorKernels);
  if (current_target() == Target::kAmx) return kAmx;
  if (current_target() == Target::kAvx512) return avx512::kVectorKernels;
  if (current_target() == Target::kAvx2) return avx2::kVectorKernels;
#endif
  return portable::kVectorKernels;
}

}  // namespace ockham
