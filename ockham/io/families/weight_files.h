// The weight files of a Hugging Face directory: model.safetensors, or the shards that model.safetensors.index.json
// names. Tensors by the names of the model's family, whichever of its spellings the files have.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/safetensors.h"

namespace ockham {

// A tensor in a mapped file.
struct StoredTensor {
  std::string name, path;  // path: of its file
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // not necessarily aligned to the dtype
};

class WeightFiles {
 public:
  struct Place {
    const SafetensorsFile* file = nullptr;
    const TensorInfo* info = nullptr;
  };
  // Reads headers only. `config_path` is named in errors. Error(kInput) for a missing or damaged file or index,
  // Error(kUnsupported) for pickled weights, which are never opened.
  WeightFiles(const std::string& directory, const std::string& config_path);
  // Gives the tensors the names of the config's family: files of a model without its head lack the first part of every
  // name ("h.0.ln_1.weight" for gpt2), and experts may lie in one tensor for all.
  void rename(const ModelConfig& config);

  const std::map<std::string, Place>& places() const { return places_; }
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  const TensorInfo* find(const std::string& name) const;
  // The tensor of this shape (-1: any size); Error(kInput) names what is there instead.
  StoredTensor expect(const std::string& name, const std::vector<int64_t>& shape) const;
  // The same in F32, F16 or BF16; Error(kUnsupported) otherwise.
  StoredTensor expect_float(const std::string& name, const std::vector<int64_t>& shape) const;
  int64_t bytes() const;  // of all tensors
  void forget() const;    // MemoryMap::forget() for every file

 private:
  void open_files();
  void add_prefix(const ModelConfig& config);
  void split_experts(const ModelConfig& config);
  std::string directory_, config_path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> places_;
  std::deque<std::pair<const SafetensorsFile*, TensorInfo>> expert_infos_;  // parts of tensors for all experts
};

// F32, F16 or BF16.
bool is_float_dtype(DType dtype);
// "[128, 64]"
std::string shape_text(const std::vector<int64_t>& shape);

}  // namespace ockham
