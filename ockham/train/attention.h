// Causal self-attention over packed documents, forward and backward, on the CPU. Every document attends only to itself:
// the cost grows with the documents' lengths, not with the length of the row they are packed in.
#pragma once

#include <cstdint>
#include <vector>

namespace ockham {

struct Segment {
  int64_t begin = 0, length = 0;  // rows [begin, begin + length)
};

// Rows of `stride` elements hold the heads of queries, then keys, then values; rotated already.
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0;
  int64_t head_dim = 0;  // a multiple of 16
  int64_t rows = 0;      // of all segments; the log-sum-exps are [heads, rows]
  float scale = 1;       // 1 / sqrt(head_dim)
  int64_t stride() const { return (heads + 2 * kv_heads) * head_dim; }
  int64_t width() const { return heads * head_dim; }
};

// Buffers of rows that these functions read must be followed by this many rows of finite values.
constexpr int64_t kAttentionSlack = 32;

// out [rows, width]; rows outside the segments are left alone.
void attention_forward(const AttentionShape& shape, const std::vector<Segment>& segments, const float* qkv, float* out,
                       float* log_sums);
void attention_forward(const AttentionShape& shape, const std::vector<Segment>& segments, const uint16_t* qkv,
                       uint16_t* out, float* log_sums);
// grad_qkv [rows, stride] is written, not added to.
void attention_backward(const AttentionShape& shape, const std::vector<Segment>& segments, const float* qkv,
                        const float* out, const float* log_sums, const float* grad_out, float* grad_qkv);
void attention_backward(const AttentionShape& shape, const std::vector<Segment>& segments, const uint16_t* qkv,
                        const uint16_t* out, const float* log_sums, const uint16_t* grad_out, uint16_t* grad_qkv);

// Whether the processor multiplies bf16 itself (AVX-512 BF16 or AMX); libtorch's loops for others are slower than
// float32 many times over.
bool has_fast_bf16();
// The same for bf16 and head_dim 32 with AMX tiles; false where the processor or the system has none.
bool amx_available();
// For tests: the portable loops even where there are tiles.
void set_amx_enabled(bool enabled);
void attention_forward_amx(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const uint16_t* qkv,
                           uint16_t* out, float* log_sums);
void attention_backward_amx(const AttentionShape& shape, const Segment& segment, int64_t kv_head, const uint16_t* qkv,
                            const uint16_t* out, const float* log_sums, const uint16_t* grad_out, uint16_t* grad_qkv);

}  // namespace ockham
