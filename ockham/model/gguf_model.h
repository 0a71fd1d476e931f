// GGUF files as models: names, config and weights, both ways. Linears that share a tensor (q, k, v of some
// architectures, all experts of a block) are told apart on reading.
// Architecture `llama` (mistral and mixtral too) rotates adjacent pairs, so the rows of q and k are reordered: view
// [heads, 2, D/2] as [heads, D/2, 2].
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/formats/gguf.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/config.h"
#include "ockham/model/conversion_summary.h"
#include "ockham/model/decoder.h"
#include "ockham/model/gguf_layout.h"

namespace ockham {

class GgufModel {
 public:
  // Error(kUnsupported) for an architecture that is not read.
  explicit GgufModel(const std::string& path);
  // config.json in Hugging Face's spelling.
  const Json& config() const { return config_; }
  // Tensors under Hugging Face's names, parts of fused ones under their own; quantized ones appear as F32.
  const std::vector<TensorInfo>& tensors() const { return infos_; }
  // As stored for F32, F16 and BF16, otherwise dequantized to float32; with the rows in Hugging Face's order.
  Tensor read_tensor(const std::string& name) const;
  // Group-int where the block's grid is one (Q4_0, Q5_0, Q8_0, Q3_K, Q6_K), else dense.
  Weight read_weight(const std::string& linear) const;
  std::string description() const;
  int64_t bytes() const;
  std::vector<std::string> paths() const;
  const Json& keys() const;

 private:
  struct Stored {
    const GgufFile* file = nullptr;
    const GgufTensor* tensor = nullptr;
    bool is_used = false;
  };
  struct Place {
    Stored from;
    std::vector<int64_t> shape;
    int64_t first = 0;  // element of the tensor where this part begins
    int64_t heads = 0;  // above 0: rows are permuted
    double shift = 0;
    GgufEntry::Kind kind = GgufEntry::Kind::kPlain;
    std::span<const uint8_t> bytes() const;
  };
  Stored& stored(const std::string& name);
  std::vector<float> read_vector(const std::string& name);
  void add_entry(const GgufEntry& entry);
  DType common_dtype() const;
  const Place& place(const std::string& name) const;
  std::vector<std::unique_ptr<GgufFile>> files_;
  std::string path_, architecture_;
  Json config_;
  std::vector<TensorInfo> infos_;
  std::map<std::string, Stored> stored_;  // by name in the file
  std::map<std::string, Place> places_;   // by name in Hugging Face
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
