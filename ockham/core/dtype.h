// Element types as safetensors names them, with their size; shared by readers and by the tensor half.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ockham {

enum class DType { kF32, kF16, kBF16, kF64, kI8, kU8, kI16, kU16, kI32, kU32, kI64, kU64, kBool, kF8E4M3, kF8E5M2 };

// Bytes of one element.
int64_t dtype_size(DType dtype);
// The safetensors name ("F32", "BF16", ...).
std::string_view dtype_name(DType dtype);
// The type of a safetensors name; nothing for a name that Ockham does not read.
std::optional<DType> dtype_from_name(std::string_view name);
// The type of a config.json or --dtype value ("float32", "bfloat16", "float16"); nothing for another.
std::optional<DType> dtype_from_config(std::string_view name);
// The config.json spelling of a floating-point type ("bfloat16"); the safetensors name for others.
std::string_view dtype_config_name(DType dtype);

}  // namespace ockham
