// Arithmetic of the engine beside matrix products: norms, activations, rotations, attention of one group of queries,
// each written once for several instruction sets (vector_kernel.h). Rows are independent of what stands beside them.
#pragma once

#include <cstdint>

#include "ockham/io/families/config.h"

namespace ockham {

constexpr int64_t kPageKeys = 32, kBlockPages = 4, kBlockKeys = kPageKeys * kBlockPages;
constexpr int64_t kMostRows = 64;  // of one task of attention

struct AttentionPage {
  const void *keys, *values;  // [D, 32] and [32, W]
  const int32_t* positions;   // [32]
  int64_t count;              // keys in use
  int32_t first, last;        // bounds of their positions
  // [32] each, where keys and values are int8: what the key and the value of a token are multiplied by.
  const float *key_scales = nullptr, *value_scales = nullptr;
};

// Queries of neighbouring tokens of one sequence that share a head of keys. A query sees the keys at its own position
// and before it, with a window only the last `window` of them.
struct AttentionTask {
  const float* q = nullptr;  // of the first token and head; a token's heads follow one another, D floats apart
  int64_t q_token = 0;       // floats from one token to the next
  float* out = nullptr;      // the same for the result
  int64_t out_token = 0;
  const int32_t* positions = nullptr;  // of the tokens, ascending
  int64_t tokens = 0, group = 1;       // tokens * heads that share keys <= kMostRows
  int64_t dim = 0, wide = 0;           // D, and W: D rounded up to 16
  const AttentionPage* pages = nullptr;
  int64_t page_count = 0;
  float scale = 1, softcap = 0;  // scores are scale q k, then softcap tanh(scores / softcap) where it is not 0
  int64_t window = 0;            // 0: none
  // Room: [rows, D], [rows, kBlockKeys], [rows, W].
  float *queries = nullptr, *scores = nullptr, *mixed = nullptr;
};

struct VectorKernels {
  void (*rms_norm)(const float* x, const float* gain, float eps, int64_t count, float* out);  // out may be x
  // bias: or null
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float eps, int64_t count, float* out);
  void (*activate)(Activation kind, float* x, const float* factor, int64_t count);  // times factor, or null
  void (*add_scaled)(float* x, const float* y, float factor, int64_t count);        // x += factor y
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half);       // halves of 2 * half floats
  void (*softcap)(float* x, float cap, int64_t count);
  double (*log_sum_exp)(const float* x, int64_t count);
  float (*maximum)(const float* x, int64_t count);
  void (*attend_f32)(const AttentionTask& task);
  void (*attend_bf16)(const AttentionTask& task);
  void (*attend_int8)(const AttentionTask& task);
};

// Those of current_target().
const VectorKernels& vector_kernels();

}  // namespace ockham
