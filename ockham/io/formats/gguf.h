// GGUF v3 files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): reading with every length checked before
// use, streaming writing. Layout, all little-endian:
//   "GGUF", version U32 = 3, tensor count U64, key count U64;
//   keys: string name, U32 type, value (0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array of U32
//   type and U64 count, 10 u64, 11 i64, 12 f64); a string is a U64 length and UTF-8 bytes; tensors: string name, U32
//   dimensions, U64 each with the innermost first, U32 type, U64 offset in the data section; zeros up to
//   `general.alignment` (32 by default), then the data, every tensor padded to the alignment.
// Version 2 has the same layout. Split files are name-00001-of-00003.gguf with the keys split.no and split.count.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ockham/io/file.h"
#include "ockham/io/formats/gguf_blocks.h"
#include "ockham/io/json.h"

namespace ockham {

struct GgufTensor {
  std::string name;
  GgufType type = GgufType::kF32;
  std::vector<int64_t> shape;    // outermost first; rows are whole blocks
  int64_t begin = 0, bytes = 0;  // relative to the data section
  int64_t elements() const;
};

// NOLINTNEXTLINE(bugprone-exception-escape): Json's move asserts its invariants.
struct GgufHeader {
  Json keys = Json::object();
  std::vector<GgufTensor> tensors;
  int64_t data_begin = 0;
};
// Checks a header against the size of its file; `bytes` holds at least the header. Error(kInput) for truncated,
// overlapping or oversized parts and for unknown tensor types, naming file and key or tensor.
GgufHeader parse_gguf_header(std::span<const std::byte> bytes, int64_t file_size, const std::string& where);

class GgufFile {
 public:
  explicit GgufFile(const std::string& path);
  const std::string& path() const { return path_; }
  const GgufHeader& header() const { return header_; }
  std::span<const uint8_t> data(const GgufTensor& tensor) const;
  // See MemoryMap::forget(); without an argument the whole file.
  void forget(const GgufTensor& tensor) const;
  void forget() const;

 private:
  std::string path_;
  MemoryMap map_;
  GgufHeader header_;
};
// The file, or all parts of a split one (any part may be named), in order.
std::vector<std::unique_ptr<GgufFile>> open_gguf(const std::string& path);

// Whether MODEL names a GGUF file, or a directory that holds GGUF files and no config.json; then the file to open.
std::string find_gguf(const std::string& model);

// Writes one file. Keys and tensors are declared first, then the bytes of each tensor are appended in the declared
// order. JSON types map to: true/false bool, negative integers i32, other integers u32 (64 bit where needed), reals
// f32, strings, arrays of one of these; {"i32": [...]} makes an array of that type.
class GgufWriter {
 public:
  GgufWriter(const std::string& path, const Json& keys,
             std::vector<GgufTensor> tensors);  // begin, bytes: filled in here
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;
  void append(const std::string& name, std::span<const uint8_t> bytes);
  void finish();  // syncs; Error(kResource) on a full disk
  int64_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ockham
