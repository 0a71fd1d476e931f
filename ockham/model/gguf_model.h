// GGUF files as models, both ways: weights as tensors. Names, config and places are in ockham/io/families.
#pragma once

#include <string>

#include "ockham/io/families/gguf_tensors.h"
#include "ockham/model/conversion_summary.h"
#include "ockham/model/decoder.h"

namespace ockham {

class GgufModel : public GgufTensors {
 public:
  using GgufTensors::GgufTensors;
  // As stored for F32, F16 and BF16, otherwise dequantized to float32; with the rows in Hugging Face's order.
  Tensor read_tensor(const std::string& name) const;
  // Group-int where the block's grid is one (Q4_0, Q5_0, Q8_0, Q3_K, Q6_K), else dense.
  Weight read_weight(const std::string& linear) const;
};

// Row order of q and k: result row i is row order[i] of Hugging Face's matrix of heads * dim rows. For one head of 8:
// 0 4 1 5 2 6 3 7.
Tensor gguf_rope_order(int64_t heads, int64_t dim);

struct GgufExport {
  std::string type;  // "auto", or a name of gguf_types(); auto: the smallest type that holds each grid exactly, else
                     // F16/BF16/F32
  ConversionSummary summary;
};
class Checkpoint;
// Writes the model as one GGUF file; weights one block at a time. Error(kUnsupported) for a family without
// architecture.
int64_t write_gguf(const Checkpoint& checkpoint, const std::string& path, GgufExport& options);

}  // namespace ockham
