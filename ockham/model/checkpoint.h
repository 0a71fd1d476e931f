// A model directory on disk: opened without reading weights, read block by block, written block by block.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ockham/io/families/config.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/decoder.h"

namespace ockham {

class GgufModel;
class InterchangeWriter;

class Checkpoint {
 public:
  // `model`: a directory, a .gguf file, or a Hub id "org/name" present in the local Hugging Face cache (HF_HUB_CACHE,
  // HF_HOME,
  // ~/.cache). Reads headers only. Error(kInput): missing directory, config, shard or tensor; wrong shape; tensors that
  // the config does not explain are listed in unused_tensors().
  explicit Checkpoint(const std::string& model);

  const std::string& directory() const { return directory_; }
  const ModelConfig& config() const { return config_; }
  int64_t parameters() const;
  int64_t bytes() const;       // of all tensors
  std::string sha256() const;  // of config.json and every weight file; cached after the first call
  const std::vector<std::string>& unused_tensors() const { return unused_; }

  // Dense or packed tensors as they are stored, by name ("model.layers.0.mlp.up_proj" + ".weight"). Error(kInput) for
  // non-finite values.
  Tensor read_tensor(const std::string& name, DType dtype) const;
  Weight read_weight(const std::string& linear, DType dtype) const;
  bool has_tensor(const std::string& name) const;
  // How the linears are stored: "dense", "ockham, packed", or what another tool wrote ("gptq_v2, 4 bit, ...").
  std::string layout() const;
  const GgufModel* gguf() const;  // null unless the model is a GGUF file
  Block read_block(int64_t index, DType dtype) const;
  // Everything but the blocks, with or without an untied head.
  std::unique_ptr<Decoder> read_frame(DType dtype, bool has_head = true) const;
  // All of it, resident.
  std::unique_ptr<Decoder> read_all(DType dtype) const;

 private:
  struct State;
  std::string directory_;
  ModelConfig config_;
  std::vector<std::string> unused_;
  std::shared_ptr<State> state_;
};

// Writes a model directory tensor by tensor into shards of at most `shard_bytes`; config.json, tokenizer files and the
// index come last. `directory` is a temporary one of OutputDirectory.
class CheckpointWriter {
 public:
  struct Options {
    bool is_packed = false;                    // Ockham's container instead of dense
    InterchangeWriter* interchange = nullptr;  // another tool's layout; outlives the writer
    int64_t shard_bytes = int64_t{4} << 30;
    // Where unfinished shards are collected; empty: in `directory`. Named where writing may go on in another process:
    // this directory is then the caller's, who also removes it.
    std::string spool_directory = {};
  };
  CheckpointWriter(const std::string& directory, const ModelConfig& config, const Options& options);
  ~CheckpointWriter();
  void write_tensor(const std::string& name, const Tensor& value);
  void write_weight(const std::string& linear, const Weight& weight, DType dtype);  // dtype of the dense form
  // True where write_weight writes this weight as one dense matrix.
  bool is_written_dense(const Weight& weight) const;
  // Copies tokenizer and generation files from `source_directory` ("" for none), writes config.json and the index.
  void finish(const std::string& source_directory);
  int64_t bytes() const;  // of the tensors written so far
  // With a spool directory: what is written so far, on disk when this returns. A writer that is made with the same
  // arguments goes on from there after restore(), also when this one has written on since; release() says that no
  // earlier record will be restored any more, and removes what only those need.
  Json record();
  void release();
  // Error(kInput) where the files are not as the record says.
  void restore(const Json& record);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The tensors outside the blocks, and those of one block. Parts of a fused tensor are written as the family stores them
// where all are dense, otherwise each under its own name.
void write_frame(CheckpointWriter& writer, const Decoder& decoder, DType dtype);
// The same from a checkpoint, one tensor in memory at a time.
void write_frame(CheckpointWriter& writer, const Checkpoint& checkpoint, DType dtype);
void write_block(CheckpointWriter& writer, const Block& block, int64_t index, DType dtype);
// A whole resident model into a fresh directory; tokenizer files are copied from `tokenizer_directory`.
void save_decoder(const Decoder& decoder, const std::string& directory, DType dtype,
                  const std::string& tokenizer_directory);

}  // namespace ockham
