// The table behind dtype.h.
#include "ockham/core/dtype.h"

#include <array>

namespace ockham {
namespace {

struct Row {
  DType dtype;
  int64_t size;
  std::string_view name;
  std::string_view config_name;
};
constexpr std::array<Row, 15> kRows = {{
    {DType::kF32, 4, "F32", "float32"},
    {DType::kF16, 2, "F16", "float16"},
    {DType::kBF16, 2, "BF16", "bfloat16"},
    {DType::kF64, 8, "F64", "float64"},
    {DType::kI8, 1, "I8", "int8"},
    {DType::kU8, 1, "U8", "uint8"},
    {DType::kI16, 2, "I16", "int16"},
    {DType::kU16, 2, "U16", "uint16"},
    {DType::kI32, 4, "I32", "int32"},
    {DType::kU32, 4, "U32", "uint32"},
    {DType::kI64, 8, "I64", "int64"},
    {DType::kU64, 8, "U64", "uint64"},
    {DType::kBool, 1, "BOOL", "bool"},
    {DType::kF8E4M3, 1, "F8_E4M3", "float8_e4m3fn"},
    {DType::kF8E5M2, 1, "F8_E5M2", "float8_e5m2"},
}};

const Row& row(DType dtype) {
  return kRows[static_cast<size_t>(dtype)];
}

}  // namespace

int64_t dtype_size(DType dtype) {
  return row(dtype).size;
}
std::string_view dtype_name(DType dtype) {
  return row(dtype).name;
}
std::string_view dtype_config_name(DType dtype) {
  return row(dtype).config_name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Row& r : kRows)
    if (r.name == name) return r.dtype;
  return std::nullopt;
}

std::optional<DType> dtype_from_config(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    if (row(dtype).config_name == name) return dtype;
  return std::nullopt;
}

}  // namespace ockham
