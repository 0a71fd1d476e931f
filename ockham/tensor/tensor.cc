// Type names of ockham/tensor/tensor.h.
#include "ockham/tensor/tensor.h"

#include "ockham/core/error.h"

namespace ockham {

at::ScalarType to_scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return at::kFloat;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF64:
      return at::kDouble;
    case DType::kI8:
      return at::kChar;
    case DType::kU8:
      return at::kByte;
    case DType::kI16:
      return at::kShort;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kBool:
      return at::kBool;
    case DType::kF8E4M3:
      return at::kFloat8_e4m3fn;
    default:
      throw_error(ErrorKind::kUnsupported, "tensor type {} has no arithmetic here", dtype_name(dtype));
  }
}

DType to_dtype(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DType::kF32;
    case at::kHalf:
      return DType::kF16;
    case at::kBFloat16:
      return DType::kBF16;
    case at::kDouble:
      return DType::kF64;
    case at::kChar:
      return DType::kI8;
    case at::kByte:
      return DType::kU8;
    case at::kShort:
      return DType::kI16;
    case at::kInt:
      return DType::kI32;
    case at::kLong:
      return DType::kI64;
    case at::kBool:
      return DType::kBool;
    case at::kFloat8_e4m3fn:
      return DType::kF8E4M3;
    default:
      throw_error(ErrorKind::kUnsupported, "tensor type {} cannot be stored", static_cast<int>(type));
  }
}

}  // namespace ockham
