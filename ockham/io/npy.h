// NumPy .npy files (format 1.0 and 2.0, C order, little endian) of int32, int64, float32, float64 and texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ockham {

struct NpyArray {
  std::string dtype;  // "<i4", "<i8", "<f4", "<f8", "<U6"
  std::vector<int64_t> shape;
  std::vector<char> bytes;
};
// The bytes of a whole file; `where` names it in errors.
NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& where);
NpyArray read_npy(const std::string& path);
// Labels [n] as texts: whole numbers or texts ("<U6") on disk. Error(kInput) for another type or shape.
std::vector<std::string> read_labels_npy(const std::string& path);
// Token ids [sequences, tokens]; int32 or int64 on disk. Error(kInput) for another type or shape, or negative ids.
std::vector<std::vector<int32_t>> read_token_ids_npy(const std::string& path);
void write_token_ids_npy(const std::string& path, const std::vector<std::vector<int32_t>>& ids);

}  // namespace ockham
