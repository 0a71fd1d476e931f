// The readers behind ForeignReader::detect, and their shared helpers; private to model.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ockham/model/foreign_reader.h"

namespace ockham {

std::unique_ptr<ForeignReader> make_compressed_tensors_reader(const Json& settings, const std::string& where);
std::unique_ptr<ForeignReader> make_gptq_reader(const Json& settings, const std::string& where);
std::unique_ptr<ForeignReader> make_awq_reader(const Json& settings, const std::string& where);
std::unique_ptr<ForeignReader> make_bitsandbytes_reader(const Json& settings, const std::string& where);
std::unique_ptr<ForeignReader> make_fp8_reader(const Json& settings, const std::string& where);

struct ForeignTensor {
  std::string name;
  std::vector<int64_t> shape;  // -1: any size
  std::optional<DType> dtype;  // nothing: floating point
};
// The tensor, or Error(kInput) that names it.
const TensorInfo* expect_foreign(const FindTensor& find, const ForeignTensor& wanted);
// Whether the pattern matches from the start of the text. Error(kInput) for a broken one.
bool matches_pattern(const std::string& pattern, const std::string& text, const std::string& where);
std::span<const uint32_t> words_of(const Tensor& tensor);  // int32, contiguous
Tensor bytes_tensor(const std::vector<uint8_t>& bytes, int64_t rows, int64_t columns);

}  // namespace ockham
