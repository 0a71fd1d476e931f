// Weights as the kernels multiply them, kept in a file, so that a model starts without packing them again.
//
// The file knows the weight files it was made of: by name, size and time of change, or else by their SHA-256. One that
// is of other files, of another version of this program or damaged is made again. Weights that are used where they lie
// in the model's own files are not in it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/io/file.h"
#include "ockham/runtime/model_files.h"

namespace ockham {

class PackedWeights {
 public:
  // The file in `directory`, made first where it is missing or does not fit; "" for the model's own directory.
  // Error(kResource) where it cannot be written.
  static std::shared_ptr<const PackedWeights> open(const ModelFiles& files, const std::string& directory);

  // Matrices are numbered as stored_matrices() counts them. No value: not in the file.
  bool has(size_t number) const { return entries_[number].bytes > 0; }
  KernelMatrix view(size_t number) const;
  size_t matrices() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t offset, bytes, checksum;
  };
  explicit PackedWeights(const std::string& path) : path_(path), map_(path) {}
  // Why the file cannot be used, or "".
  std::string read(const ModelFiles& files);
  std::string check_entries() const;
  static void write(const ModelFiles& files, const std::string& path);

  std::string path_;
  MemoryMap map_;
  std::vector<Entry> entries_;
};

// The linears of all blocks in the order of block_linears(), then the head.
size_t stored_matrices(const ModelConfig& config);

}  // namespace ockham
