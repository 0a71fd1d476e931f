// How the tensors of a family lie in memory: parts of fused linears, and the members of Block and Decoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/io/families/families.h"
#include "ockham/model/decoder.h"

namespace ockham {

// A part's rows of a fused weight [stored_rows, C] or bias [stored_rows], and the inverse.
Tensor take_part(const Tensor& fused, const LinearSpec& part);
Tensor join_parts(const std::vector<Tensor>& parts, const LinearSpec& first);
// The same for a fused weight in any format that another tool writes: dense, group-int, bitmap-sparse.
Weight take_part(const Weight& fused, const LinearSpec& part);
// The member of Block and Decoder that holds a tensor.
Tensor Block::*block_member(BlockTensorRole role);
Tensor Decoder::*frame_member(FrameTensorRole role);
// The tensors of a block beside its linears (names below the prefix) and those outside the blocks, with the member that
// holds each.
struct BlockTensor {
  std::string name;
  Tensor Block::*member;
  std::vector<int64_t> shape;
};
std::vector<BlockTensor> block_tensors(const ModelConfig& config, int64_t index);
struct FrameTensor {
  std::string name;
  Tensor Decoder::*member;
  std::vector<int64_t> shape;
};
std::vector<FrameTensor> frame_tensors(const ModelConfig& config);

}  // namespace ockham
