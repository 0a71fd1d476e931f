// GGUF files as models: names, config, and which bytes are which tensor. Linears that share a tensor (q, k, v of some
// architectures, all experts of a block) are told apart.
// Architecture `llama` (mistral and mixtral too) rotates adjacent pairs, so the rows of q and k are reordered: view
// [heads, 2, D/2] as [heads, D/2, 2].
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/families/gguf_layout.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"

namespace ockham {

class GgufTensors {
 public:
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
    std::span<const uint8_t> bytes() const;  // of this part
  };
  // Error(kUnsupported) for an architecture that is not read.
  explicit GgufTensors(const std::string& path);
  // config.json in Hugging Face's spelling.
  const Json& config() const { return config_; }
  // Tensors under Hugging Face's names, parts of fused ones under their own; quantized ones appear as F32.
  const std::vector<TensorInfo>& tensors() const { return infos_; }
  std::vector<std::string> unused() const;  // by their names in the file
  std::string description() const;
  int64_t bytes() const;
  std::vector<std::string> paths() const;
  const Json& keys() const;
  // By Hugging Face's name, with its suffix; Error(kInput) for a tensor that is not there.
  const Place& place(const std::string& name) const;
  const std::string& path() const { return path_; }
  void forget() const;  // MemoryMap::forget() for every file

 private:
  Stored& stored(const std::string& name);
  std::vector<float> read_vector(const std::string& name);
  void add_entry(const GgufEntry& entry);
  DType common_dtype() const;
  std::vector<std::unique_ptr<GgufFile>> files_;
  std::string path_, architecture_;
  Json config_;
  std::vector<TensorInfo> infos_;
  std::map<std::string, Stored> stored_;  // by name in the file
  std::map<std::string, Place> places_;   // by name in Hugging Face
};

// F32, F16 and BF16 as they are; what is quantized appears as F32.
DType gguf_dtype(GgufType type);

}  // namespace ockham
