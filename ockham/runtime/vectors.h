// Arithmetic of the engine beside matrix products: norms, activations, rotations, attention of one group of queries,
// each written once for several instruction sets (vector_kernel.h). Rows are independent of what stands beside them.
#pragma once

#include <cstdint>

#include "ockham/io/families/config.h"

namespace ockham {

struct KvCodeLayout;

constexpr int64_t kPageKeys = 32, kBlockPages = 4, kBlockKeys = kPageKeys * kBlockPages;
constexpr int64_t kMostRows = 64, kMostTileRows = 128;  // of one task of attention, of one by tiles

struct AttentionPage {
  const void *keys = nullptr, *values = nullptr;  // [D, 32] and [32, W]
  const int32_t* positions = nullptr;             // [32]
  int64_t count = 0;                              // keys in use
  int32_t first = 0, last = 0;                    // bounds of their positions
  // [32] each, where keys and values are int8: what the key and the value of a token are multiplied by.
  const float *key_scales = nullptr, *value_scales = nullptr;
  const float* logs = nullptr;      // [32], or null: added to a key's scores, which are exponents of 2
  const int32_t* places = nullptr;  // [32], or null: keys are yet to be rotated by these (AttentionTask::turns)
  // Of a page in codes, in place of keys and values: where it begins, the head of keys, the half (kv_codes.h).
  const uint8_t* codes = nullptr;
  int32_t head = 0, half = 0;
};

// Cosines and sines of places 0, 1, ...: [half, stride] each, for keys [D, 32] of which the first 2 * half dimensions
// are rotated. Room for one page of keys, [D, 32].
struct KeyTurns {
  const float *cos = nullptr, *sin = nullptr;
  int64_t half = 0, stride = 0;
  float* room = nullptr;
};

// Queries of neighbouring tokens of one sequence that share a head of keys. A query sees the keys at its own position
// and before it, with a window only the last `window` of them.
struct AttentionTask {
  const float* q = nullptr;  // of the first token and head; a token's heads follow one another, D floats apart
  int64_t q_token = 0;       // floats from one token to the next
  float* out = nullptr;      // the same for the result
  int64_t out_token = 0;
  const int32_t* positions = nullptr;  // of the tokens, ascending
  int64_t tokens = 0, group = 1;       // tokens * heads that share keys, within kMostRows (kMostTileRows)
  int64_t dim = 0, wide = 0;           // D, and W: D rounded up to 16
  const AttentionPage* pages = nullptr;
  int64_t page_count = 0;
  float scale = 1, softcap = 0;  // scores are scale q k, then softcap tanh(scores / softcap) where it is not 0
  int64_t window = 0;            // 0: none
  KeyTurns turns;                // where pages have places
  // Room: [rows, D], [rows, kBlockKeys], [rows, W].
  float *queries = nullptr, *scores = nullptr, *mixed = nullptr;

  // What the attention that keys receive is computed from, where somebody asks: of each row and block of kBlockPages
  // pages the highest score so far, and of each row the highest of all and the inverse of the sum of its weights: these
  // two, then the blocks'. A row's are row_state floats behind those of the head before, token_state behind those of
  // the token before. Null: nobody asks.
  float* row_states = nullptr;
  int64_t row_state = 0, token_state = 0;
  // Of a single token: the probabilities of its heads are added to those of the keys, [page_count * 32]; `scores` is
  // room for all blocks then, [blocks, rows, kBlockKeys].
  float* column_sums = nullptr;
  // Where pages are in codes; room of expanded_floats().
  const KvCodeLayout* codes = nullptr;
  float* expanded = nullptr;
  // For tiles: room of tile_floats(), at a multiple of 64 bytes.
  float* tile_room = nullptr;
};
int64_t expanded_floats(const KvCodeLayout& layout);
int64_t tile_floats(int64_t dim, int64_t wide);

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
  // c [rows, columns] = a [rows, depth] b [depth, columns]; columns: a multiple of 16
  void (*multiply)(int64_t rows, int64_t depth, int64_t columns, const float* a, const float* b, float* c);
  void (*attend_f32)(const AttentionTask& task);
  void (*attend_bf16)(const AttentionTask& task);
  void (*attend_int8)(const AttentionTask& task);
  // The same with 16 of the 24 bits of queries, keys, weights and values, by tiles (page_tiles.h); for tasks
  // without codes and column_sums. Null: this processor has none.
  void (*tile_f32)(const AttentionTask& task);
  void (*tile_bf16)(const AttentionTask& task);
  void (*tile_int8)(const AttentionTask& task);
  // Once more over pages [first, end) of a task that has left row_states, first a multiple of kBlockPages, any number
  // of rows: adds to column_sums, a token after the other, the same bits as if each came alone.
  void (*add_columns_f32)(const AttentionTask& task, int64_t first, int64_t end);
  void (*add_columns_bf16)(const AttentionTask& task, int64_t first, int64_t end);
  void (*add_columns_int8)(const AttentionTask& task, int64_t first, int64_t end);
  // The index of the lowest score among those whose position is in [first, end), of equal ones that with the lowest
  // position; -1: there is none.
  int64_t (*lowest)(const float* scores, const int32_t* positions, int64_t count, int32_t first, int32_t end);
};

// Those of current_target().
const VectorKernels& vector_kernels();

}  // namespace ockham
