// One way to store a model: a directory of safetensors, or a GGUF file. Tensors by Hugging Face's names. For
// runtime, and for what makes a model up (ockham/bench).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/families/families.h"
#include "ockham/runtime/model_files.h"
#include "ockham/runtime/readers/matrix_rows.h"

namespace ockham {

class ModelReader {
 public:
  virtual ~ModelReader() = default;
  virtual const ModelConfig& config() const = 0;
  virtual int64_t bytes() const = 0;
  // What the model's hash is a hash of: lines with the hashes of the files.
  virtual std::string hash_lines() const = 0;
  virtual std::string layout() const = 0;

  virtual MatrixRows linear(const std::string& prefix, const LinearSpec& spec) const = 0;
  virtual InputRule input_rule(const std::string& prefix, const LinearSpec& spec) const = 0;
  virtual std::vector<float> bias(const std::string& prefix, const LinearSpec& spec) const = 0;
  // Of a tensor that the config's family has, with its suffix; of two dimensions.
  virtual MatrixRows matrix(const std::string& name) const = 0;
  virtual std::vector<float> vector(const std::string& name) const = 0;

  // See ModelFiles::forget().
  virtual void forget() const {}
};

std::unique_ptr<ModelReader> open_directory(const std::string& directory);
std::unique_ptr<ModelReader> open_gguf_model(const std::string& path);

}  // namespace ockham
