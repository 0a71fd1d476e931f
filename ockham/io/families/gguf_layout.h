// Which tensors a GGUF file has for a model, under which names, and what of the model lies in each.
// Sources: llama.cpp's conversion scripts and loaders of autumn 2026, the tensor names of the gguf package.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/families/families.h"

namespace ockham {

// What llama.cpp computes for an architecture, as far as that is fixed by its name.
struct GgufArchitecture {
  std::string_view model_type, name;         // "qwen2_moe", "qwen2moe"
  std::vector<std::string_view> rope_types;  // those that it computes
  bool is_permuted = false;                  // rotates adjacent pairs, so the rows of q and k are reordered
  bool needs_head = false;                   // no file without output.weight
  bool is_always_tied = false;               // never reads output.weight
  bool is_square = false;                    // heads * head_dim is the hidden size
  bool rotates_whole_heads = true;
  int64_t window_period = 0;  // every n-th block sees all tokens where the file names no other n; 0:
                              // sliding windows are not computed
  int64_t wide_blocks = 0;    // with so many blocks attention is scaled by (hidden / heads)^-0.5
};
std::span<const GgufArchitecture> gguf_architectures();
// Null for a family without architecture.
const GgufArchitecture* find_gguf_architecture(std::string_view model_type);

// One tensor of a file and what lies in it.
struct GgufEntry {
  enum class Kind { kPlain, kFloat, kWeight };  // the model's type, always F32, the weight of linears
  struct Part {
    std::string name;            // Hugging Face's, with ".weight" or ".bias"; of fused tensors the parts' own
    std::vector<int64_t> shape;  // one after another along the first dimension; experts are stacked
  };
  std::string name;            // "blk.0.attn_qkv.weight"
  std::vector<int64_t> shape;  // outermost first
  std::vector<Part> parts;
  Kind kind = Kind::kPlain;
  int64_t heads = 0;  // above 0: rows lie in gguf_rope_order
  double shift = 0;   // added to what is stored: norms that multiply by 1 + weight
  // What it is: one of these, or the weights or biases of linears of a block.
  std::optional<FrameTensorRole> frame;
  std::optional<BlockTensorRole> role;
  std::vector<size_t> linears;
  bool is_bias = false;
};
std::vector<GgufEntry> gguf_frame(const ModelConfig& config);
std::vector<GgufEntry> gguf_block(const ModelConfig& config, int64_t index);
// The row of a file's tensor of `heads` heads in which Hugging Face's row lies: view [heads, 2, D/2] as [heads, D/2,
// 2].
int64_t gguf_rope_row(int64_t row, int64_t rows, int64_t heads);

}  // namespace ockham
