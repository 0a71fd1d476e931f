// Tiles of queries by two registers of keys, then of queries by two registers of a value's numbers. Scores of a block
// of keys stay in the first cache between the two.
#include "ockham/tensor/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/tensor/fused.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/parallel.h"

OCKHAM_KERNEL_SOURCE

namespace ockham {
namespace {

constexpr int64_t kKeys = 256;  // of a block
constexpr int64_t kLargestHead = 256;
constexpr int kTallest = 8;                                         // queries of a tile, at most
constexpr float kUnseen = -std::numeric_limits<float>::infinity();  // the score of a key that is not seen
constexpr float kLowest = -1e30F;  // below every score, and finite: its difference to a masked one is no NaN

struct Operands {
  const float *q, *k, *v;
  float* out;
  const bool* mask;  // or null
  bool is_causal;
  int64_t heads, kv_heads, queries, keys, dim;
  // Elements from one batch row, head and token to the next; the numbers of a head are dense.
  int64_t q_batch, q_head, q_token, k_batch, k_head, k_token, v_batch, v_head, v_token, mask_batch, mask_token;
  float scale;  // for powers of two: the factor on q k^T times log2(e)
};

// Queries [begin, end) of one batch row and one head of keys; query i is token i / (heads / kv_heads) of the head's
// query i % (heads / kv_heads).
struct Part {
  int64_t batch, kv_head, begin, end;
};

#if defined(__x86_64__)
// Six by two sums leave room for the operands in sixteen registers, eight by two in thirty-two.
OCKHAM_BEGIN_AVX2
namespace avx2 {
constexpr int kLanes = 8, kHeight = 6;
using Integers = int32_t __attribute__((vector_size(32)));
OCKHAM_INLINE Integers widened(const bool* from) {
  return reinterpret_cast<Integers>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
#include "ockham/tensor/attention_kernel.h"
}  // namespace avx2
OCKHAM_END_TARGET
OCKHAM_BEGIN_AVX512
namespace avx512 {
constexpr int kLanes = 16, kHeight = kTallest;
using Integers = int32_t __attribute__((vector_size(64)));
OCKHAM_INLINE Integers widened(const bool* from) {
  return reinterpret_cast<Integers>(
      _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
#include "ockham/tensor/attention_kernel.h"
}  // namespace avx512
OCKHAM_END_TARGET
#endif

void run([[maybe_unused]] Simd simd, [[maybe_unused]] const Operands& operands, [[maybe_unused]] const Part& part,
         [[maybe_unused]] float* scratch) {
#if defined(__x86_64__)
  simd == Simd::kAvx512 ? avx512::attend(operands, part, scratch) : avx2::attend(operands, part, scratch);
#endif
}

}  // namespace

bool suits_fused_attention(const Tensor& q, const Tensor& k, const Tensor& mask) {
  constexpr int64_t kFewest = 4;
  return best_simd() != Simd::kNone && can_fuse(q) && q.scalar_type() == at::kFloat &&
         (!mask.defined() || mask.scalar_type() == at::kBool) && q.size(3) % 16 == 0 && q.size(3) <= kLargestHead &&
         q.size(2) * (q.size(1) / k.size(1)) >= kFewest;
}

Tensor fused_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool is_causal,
                       double scale, Simd simd) {
  OCKHAM_CHECK(simd != Simd::kNone && simd <= best_simd());
  OCKHAM_CHECK(suits_fused_attention(q, k, mask) && k.scalar_type() == q.scalar_type() &&
               v.scalar_type() == q.scalar_type());
  const int64_t batch = q.size(0), heads = q.size(1), queries = q.size(2), dim = q.size(3);
  const int64_t kv_heads = k.size(1), keys = k.size(2), shared = heads / kv_heads;
  OCKHAM_CHECK(k.sizes() == v.sizes() && k.size(0) == batch && k.size(3) == dim && shared * kv_heads == heads);
  OCKHAM_CHECK(q.stride(3) == 1 && k.stride(3) == 1 && v.stride(3) == 1 &&
               (!is_causal || mask.defined() || keys == queries));
  Tensor result = at::empty({batch, queries, heads * dim}, q.options());
  const bool has_mask = mask.defined();
  if (has_mask) {
    OCKHAM_CHECK(mask.dim() == 4 && mask.size(1) == 1 && mask.size(2) == queries && mask.size(3) == keys &&
                 mask.stride(3) == 1 && (mask.size(0) == batch || mask.size(0) == 1));
  }
  constexpr double kLog2E = 1.4426950408889634;
  const Operands operands = {.q = q.const_data_ptr<float>(),
                             .k = k.const_data_ptr<float>(),
                             .v = v.const_data_ptr<float>(),
                             .out = result.mutable_data_ptr<float>(),
                             .mask = has_mask ? mask.const_data_ptr<bool>() : nullptr,
                             .is_causal = is_causal && !has_mask,
                             .heads = heads,
                             .kv_heads = kv_heads,
                             .queries = queries,
                             .keys = keys,
                             .dim = dim,
                             .q_batch = q.stride(0),
                             .q_head = q.stride(1),
                             .q_token = q.stride(2),
                             .k_batch = k.stride(0),
                             .k_head = k.stride(1),
                             .k_token = k.stride(2),
                             .v_batch = v.stride(0),
                             .v_head = v.stride(1),
                             .v_token = v.stride(2),
                             .mask_batch = has_mask && mask.size(0) > 1 ? mask.stride(0) : 0,
                             .mask_token = has_mask ? mask.stride(2) : 0,
                             .scale = static_cast<float>(scale * kLog2E)};
  // Each part lays the keys out for itself: a head is shared out where there are too few of them, and never by less
  // than what the layout costs.
  constexpr int64_t kFewestQueries = 64;
  const int64_t pairs = batch * kv_heads, rows = queries * shared, threads = at::get_num_threads();
  const int64_t parts =
      pairs >= 2 * threads ? 1 : std::clamp<int64_t>(rows / kFewestQueries, 1, (2 * threads + pairs - 1) / pairs);
  const int64_t part_rows = ((rows + parts - 1) / parts + kWholeTiles - 1) / kWholeTiles * kWholeTiles;
  const int64_t widest = 32, key_room = (keys + widest - 1) / widest * widest;
  const int64_t room = key_room * (dim + (dim + widest - 1) / widest * widest);
  parallel_rows(0, pairs * parts, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = at::empty({room}, at::kFloat);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t pair = i / parts, first = i % parts * part_rows;
      if (first < rows)
        run(simd, operands, {pair / kv_heads, pair % kv_heads, first, std::min(rows, first + part_rows)},
            scratch.mutable_data_ptr<float>());
    }
  });
  return result;
}

}  // namespace ockham
