// A model on disk as the native engine reads it: settings, and each matrix in the form that the kernels multiply.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/families/families.h"
#include "ockham/kernels/matrix.h"

namespace ockham {

class ModelReader;

// What a format asks for before its inputs are multiplied (LLM.int8()). A token's inputs are split in two: `large`
// keeps the columns `kept`, and those in which any token of the call reaches the threshold; `small` keeps all others.
// Then
//   y = matrix * small (InputRounding::kToken) + matrix * large (kFine) + kept_weights * x[kept].
// The matrix itself is zero in the columns `kept`.
struct InputRule {
  bool rounds_tokens = false;                                  // otherwise nothing is asked for, and the rest is empty
  double threshold = std::numeric_limits<double>::infinity();  // infinite: only `kept` are left out
  std::vector<int32_t> kept;                                   // columns, ascending
  KernelMatrix kept_weights;                                   // [R, kept], where there are any
};

// Not thread-safe but for read_row(). Every read_...() may throw Error(kInput), naming file, tensor, what was found and
// what is expected, for contents that opening does not look at: values that are not finite, masks that do not fit.
class ModelFiles {
 public:
  // `model`: a directory, a .gguf file, or a Hub id "org/name" present in the local Hugging Face cache. Reads headers
  // only; the files stay mapped. Error(kInput): missing directory, config, shard or tensor; wrong shape or type.
  explicit ModelFiles(const std::string& model);
  // A model that is no file: what `reader` makes up. tokenizer_directory() is empty.
  explicit ModelFiles(std::unique_ptr<ModelReader> reader);
  ~ModelFiles();
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  const ModelConfig& config() const;
  int64_t parameters() const;
  int64_t bytes() const;       // of all tensors
  std::string sha256() const;  // of config.json and every weight file; cached after the first call
  // How the linears are stored: "dense bfloat16", "ockham, packed", "gptq_v2, 4 bit, ...".
  std::string layout() const;
  // What Tokenizer takes: the model's directory, or the .gguf file.
  std::string tokenizer_directory() const;

  // A linear of block_linears(config(), block), [R, C]. Dense ones are viewed in the mapping where their rows lie one
  // after another, and must not outlive this object; what is packed does not refer to it.
  KernelMatrix read_linear(int64_t block, const LinearSpec& spec) const;
  InputRule read_input_rule(int64_t block, const LinearSpec& spec) const;
  std::vector<float> read_bias(int64_t block, const LinearSpec& spec) const;  // [R], empty: none
  // The other tensors, as a matrix or as numbers in the order of the tensor; empty (no rows) where the model has none.
  // kHead is the embedding where the two are tied.
  KernelMatrix read_matrix(FrameTensorRole role) const;
  KernelMatrix read_matrix(int64_t block, BlockTensorRole role) const;
  std::vector<float> read_vector(FrameTensorRole role) const;
  std::vector<float> read_vector(int64_t block, BlockTensorRole role) const;
  // Row `row` of a matrix [.., C] into values [C]: embeddings, learned positions. Thread-safe.
  void read_row(FrameTensorRole role, int64_t row, float* values) const;

  // Pages of the files that were read so far leave this process's memory; what is viewed comes back when it is used.
  void forget() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ockham
