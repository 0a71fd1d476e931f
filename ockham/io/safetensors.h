// safetensors: reading with every length checked before use, streaming writing.
// Layout: u64 N, N bytes of JSON, data; offsets tile the data exactly. Duplicate names, holes, overlaps, trailing bytes
// and sizes that do not match dtype and shape are Error(kInput) naming file and tensor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ockham/core/dtype.h"
#include "ockham/io/file.h"

namespace ockham {

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  int64_t begin = 0, end = 0;  // bytes, relative to the data section
  int64_t elements() const;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
  int64_t data_begin = 0;  // offset of the data section in the file
};
// Checks a header against the size of its file; `bytes` holds at least the header.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes, int64_t file_size,
                                           const std::string& where);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::string& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const TensorInfo* find(const std::string& name) const;
  // Not necessarily aligned to the dtype: copy, do not cast.
  std::span<const std::byte> data(const TensorInfo& tensor) const;
  // The same bytes, copied to `target` of their size piece by piece: little of the mapping is resident at any time.
  void copy(const TensorInfo& tensor, void* target) const;
  // See MemoryMap::forget(); without an argument the whole file.
  void forget(const TensorInfo& tensor) const;
  void forget() const;

 private:
  std::string path_;
  MemoryMap map_;
  SafetensorsHeader header_;
  std::map<std::string, size_t> index_;
};

// Writes one file. The header is known first, so tensors are declared, then their bytes appended in the declared order.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,  // begin and end are filled in here
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  // The next declared tensor, or the next piece of it.
  void append(const std::string& name, std::span<const std::byte> bytes);
  void finish();  // syncs; Error(kResource) on a full disk

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ockham
