// Small models for the tests of readers: tensors by name, written as a directory; matrices read back as numbers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "ockham/core/half.h"
#include "ockham/core/rng.h"
#include "ockham/io/families/families.h"
#include "ockham/io/safetensors.h"
#include "ockham/kernels/matrix.h"
#include "ockham/runtime/model_files.h"
#include "tests/io/scratch.h"

namespace ockham {

struct SmallTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::string bytes;
};

inline SmallTensor bytes_tensor(DType dtype, std::vector<int64_t> shape, const void* data, size_t bytes) {
  return {dtype, std::move(shape), std::string(static_cast<const char*>(data), bytes)};
}

// Rounded to the type.
inline SmallTensor float_tensor(DType dtype, std::vector<int64_t> shape, const std::vector<float>& values) {
  SmallTensor tensor = {dtype, std::move(shape), ""};
  for (const float value : values) {
    const uint16_t half = dtype == DType::kF16 ? float_to_half(value) : float_to_bfloat16(value);
    if (dtype == DType::kF32) {
      tensor.bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else {
      tensor.bytes.append(reinterpret_cast<const char*>(&half), sizeof half);
    }
  }
  return tensor;
}

inline int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

inline double number_at(const SmallTensor& tensor, int64_t index) {
  const char* at = tensor.bytes.data() + index * dtype_size(tensor.dtype);
  if (tensor.dtype == DType::kF32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return tensor.dtype == DType::kF16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

// A matrix in double, [R, C].
struct Numbers {
  int64_t rows = 0, columns = 0;
  std::vector<double> at;
  double operator()(int64_t row, int64_t column) const { return at[static_cast<size_t>(row * columns + column)]; }
};

inline Numbers numbers_of(const SmallTensor& tensor) {
  Numbers numbers = {tensor.shape[0], tensor.shape[1], {}};
  for (int64_t i = 0; i < count_of(tensor.shape); ++i) numbers.at.push_back(number_at(tensor, i));
  return numbers;
}

inline Numbers transposed(const Numbers& numbers) {
  Numbers result = {numbers.columns, numbers.rows, {}};
  for (int64_t c = 0; c < numbers.columns; ++c)
    for (int64_t r = 0; r < numbers.rows; ++r) result.at.push_back(numbers(r, c));
  return result;
}

// What the kernels multiply with: the product with each unit vector.
inline Numbers numbers_of(const KernelMatrix& matrix) {
  Numbers numbers = {matrix.rows(), matrix.columns(), {}};
  const auto columns = static_cast<size_t>(matrix.columns()), rows = static_cast<size_t>(matrix.rows());
  std::vector<float> x(columns * columns), y(columns * rows);
  for (size_t c = 0; c < columns; ++c) x[c * columns + c] = 1;
  KernelInput input;
  input.reserve(matrix, matrix.columns(), InputRounding::kFine);
  input.fill(matrix, x.data(), matrix.columns(), 0, matrix.columns());
  multiply(matrix, input, 0, matrix.units(), y.data(), matrix.rows());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c) numbers.at.push_back(y[c * rows + r]);
  return numbers;
}

// Equal but for the rounding of sums in float32.
inline void expect_equal(const Numbers& found, const Numbers& expected, const std::string& what) {
  ASSERT_EQ(found.rows, expected.rows) << what;
  ASSERT_EQ(found.columns, expected.columns) << what;
  double largest = 1e-30;
  for (const double value : expected.at) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.at.size(); ++i)
    ASSERT_NEAR(found.at[i], expected.at[i], 4e-6 * largest) << what << ", element " << i;
}

class SmallModel {
 public:
  // A model of this config, all tensors dense and filled with numbers that `seed` decides.
  explicit SmallModel(Json settings, DType dtype = DType::kF32, uint64_t seed = 1)
      : json(std::move(settings)), config(ModelConfig::parse(json, "config.json")) {
    Rng rng(seed);
    const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
      if (tensors.contains(name)) return;
      std::vector<float> values(static_cast<size_t>(count_of(shape)));
      for (float& value : values) value = static_cast<float>(rng.normal() * 0.1);
      tensors[name] = float_tensor(dtype, shape, values);
    };
    for (const auto& spec : frame_tensor_specs(config)) add(spec.name, spec.shape);
    for (int64_t block = 0; block < config.blocks; ++block) {
      for (const auto& spec : block_tensor_specs(config, block)) add(prefix(block) + spec.name, spec.shape);
      for (const LinearSpec& spec : block_linears(config, block)) {
        const std::string stored = prefix(block) + spec.stored;
        if (spec.is_transposed) add(stored + ".weight", {spec.columns, spec.stored_rows});
        if (!spec.is_transposed) add(stored + ".weight", {spec.stored_rows, spec.columns});
        if (spec.has_bias) add(stored + ".bias", {spec.stored_rows});
      }
    }
  }

  std::string prefix(int64_t block) const { return block_prefix(*find_family(config.family), block); }

  // Writes config.json and one file of weights.
  void write(const std::string& directory) const {
    write_config(directory);
    write_weights(directory + "/model.safetensors", tensors);
  }
  void write_config(const std::string& directory) const {
    std::ofstream(directory + "/config.json", std::ios::binary) << json.dump();
  }
  static void write_weights(const std::string& path, const std::map<std::string, SmallTensor>& tensors) {
    std::vector<TensorInfo> infos;
    for (const auto& [name, tensor] : tensors) infos.push_back({name, tensor.dtype, tensor.shape, 0, 0});
    SafetensorsWriter writer(path, infos, {});
    for (const auto& [name, tensor] : tensors) writer.append(name, std::as_bytes(std::span(tensor.bytes)));
    writer.finish();
  }

  Json json;
  ModelConfig config;
  std::map<std::string, SmallTensor> tensors;
};

inline Json llama_settings(int64_t hidden = 64, int64_t inner = 96) {
  return {{"model_type", "llama"},      {"hidden_size", hidden},
          {"intermediate_size", inner}, {"num_hidden_layers", 2},
          {"num_attention_heads", 4},   {"num_key_value_heads", 2},
          {"vocab_size", 40},           {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},       {"tie_word_embeddings", false},
          {"torch_dtype", "float32"}};
}

}  // namespace ockham
