// How pages of the cache hold codes, of two kinds. Blocks: 64 tokens, keys with scales for each channel, values for
// each token, with outliers and corrections where the policy has them; written once. Tokens: 32 slots, keys and values
// with scales for each token, so that a slot can be written again.
//
// A page has a record for each head of keys, of halves of 32 tokens (pages of tokens: of one). A half holds
//   key codes    [D * bits / 32, 32] words: bits of word row r, lowest first, are the token's channels 32 / bits * r,
//   ... value codes  [32, U, 16] bytes, U = W / 16 * bits / 8 rounded up: bits of byte [t, u, i] are the channels
//                16 * (8 / bits * u + 0, 1, ...) + i
//   value scales steps, then minima: [groups of channels, 32] float16
//   key scales   the same for pages of tokens
// Behind the halves of a block: key scales [groups of tokens, D], steps and minima; corrections of keys and of values,
// each [2, rank, 32] and [rank, D or W] bytes and [rank] floats that their products are multiplied by. Behind all
// heads: outliers, whose places are those in the expanded half: channel * 32 + token, token * W + channel.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/core/kv_policy.h"
#include "ockham/runtime/kv_coder.h"

namespace ockham {

struct KvCodeLayout {
  int bits = 0;  // 0: no codes
  bool by_token = false;
  DType exact = DType::kF32;               // of outliers: kF32 or kBF16
  int64_t heads = 0, dim = 0, wide = 0;    // D, and W: D rounded up to 16
  int64_t key_group = 0, value_group = 0;  // numbers of a scale; of a page of tokens, channels both
  int64_t key_groups = 0, value_groups = 0;
  int64_t key_outliers = 0, value_outliers = 0, rank = 0;  // CodeShape
  // Bytes, from where what holds it begins.
  int64_t key_words = 0, value_units = 0;                                              // word rows; U
  int64_t value_codes = 0, value_scales = 0, token_key_scales = 0, half_bytes = 0;     // in a half
  int64_t key_scales = 0, key_correction = 0, value_correction = 0, head_bytes = 0;    // in a head
  int64_t outlier_starts = 0, outlier_places = 0, outlier_values = 0, page_bytes = 0;  // in a page
  int64_t tokens() const { return by_token ? 32 : 64; }
  int64_t all_outliers() const { return 2 * (key_outliers * heads * dim + value_outliers * tokens()); }
  int64_t element_bytes() const { return exact == DType::kF32 ? 4 : 2; }
};

// `type`: of keys and values without codes. Error(kInput) for heads of more than 256 channels.
KvCodeLayout code_layout(const KvPolicy& policy, int64_t heads, int64_t dim, DType type);

// What encodes blocks of 64 tokens for pages of a layout, with all the room that it needs: one for each thread.
class KvBlockWriter {
 public:
  explicit KvBlockWriter(const KvCodeLayout& layout);
  // Keys of one head and values of all: token t at x + t * stride. Different parts of a page may be written from
  // different threads.
  void write_keys(const float* x, int64_t stride, int64_t head, uint8_t* page);
  void write_values(const float* x, int64_t stride, uint8_t* page);
  // Room for values of all heads, [64, heads * D].
  float* room() { return room_.data(); }

 private:
  void write_outliers(const KvCoder& coder, int64_t first_head, uint8_t* page, bool is_keys);
  void write_correction(const KvCoder& coder, int64_t head, uint8_t* to, int64_t columns);
  KvCodeLayout layout_;
  KvCoder keys_, values_;
  std::vector<float> room_;
};

// Key and value [D] of one head into slot 0 to 31 of a page of tokens. Slots may be written from different threads.
void write_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const float* k, const float* v, uint8_t* page);

// What a slot stands for, to k and v [D], and a slot's bytes in another one's place.
void read_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const uint8_t* page, float* k, float* v);
void copy_token(const KvCodeLayout& layout, int64_t head, int64_t slot, const uint8_t* page, int64_t to_slot,
                uint8_t* to_page);

// ||x - what its codes stand for||, x [dim] quantized as pages of tokens do.
double code_error(const float* x, int64_t dim, int bits, int64_t group);

}  // namespace ockham
