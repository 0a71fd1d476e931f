// Models in GGUF files: what is quantized keeps its codes, every type as scale * (code - zero) or scale * code +
// minimum; scales of sub-blocks are multiplied out, which float32 holds exactly.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/families/gguf_tensors.h"
#include "ockham/io/file.h"
#include "ockham/runtime/readers/model_reader.h"

namespace ockham {
namespace {

using Place = GgufTensors::Place;

class GgufReader final : public ModelReader {
 public:
  explicit GgufReader(const std::string& path) : tensors_(path), config_(ModelConfig::parse(tensors_.config(), path)) {
    if (const auto unused = tensors_.unused(); !unused.empty()) {
      log_warning(fmt::format("{}: {} tensor(s) are not part of a {} model and are ignored, such as '{}'", path,
                              unused.size(), config_.family, unused.front()));
    }
  }

  const ModelConfig& config() const override { return config_; }
  int64_t bytes() const override { return tensors_.bytes(); }
  std::string hash_lines() const override {
    std::string lines;
    for (const std::string& path : tensors_.paths()) lines += sha256_file(path) + "\n";
    return lines;
  }
  std::string layout() const override { return tensors_.description(); }

  MatrixRows linear(const std::string& prefix, const LinearSpec& spec) const override {
    return matrix(prefix + spec.name + ".weight");
  }
  InputRule input_rule(const std::string&, const LinearSpec&) const override { return {}; }
  std::vector<float> bias(const std::string& prefix, const LinearSpec& spec) const override {
    return vector(prefix + spec.name + ".bias");
  }

  MatrixRows matrix(const std::string& name) const override {
    const Place& place = tensors_.place(name);
    OCKHAM_CHECK(place.shape.size() == 2 && place.shift == 0);
    const bool is_float = gguf_type_info(place.from.tensor->type).elements == 1;
    MatrixRows rows = is_float ? dense_rows(stored(place)) : integer_rows(place);
    return place.heads > 0 ? in_order(std::move(rows), place.heads) : rows;
  }

  std::vector<float> vector(const std::string& name) const override {
    const Place& place = tensors_.place(name);
    const auto width = place.shape.empty() ? int64_t{1} : place.shape.back();
    std::vector<float> values;
    if (gguf_type_info(place.from.tensor->type).elements == 1) {
      values = read_floats(stored(place));
    } else {
      const MatrixRows rows = integer_rows(place);
      values.resize(static_cast<size_t>(rows.rows * width));
      for (int64_t row = 0; row < rows.rows; ++row) read_row(rows, row, values.data() + row * width);
    }
    for (float& value : values) value -= static_cast<float>(place.shift);
    if (place.heads == 0) return values;
    OCKHAM_CHECK(place.shape.size() == 1);  // biases of q and k
    std::vector<float> ordered(values.size());
    for (int64_t i = 0; i < width; ++i)
      ordered[static_cast<size_t>(i)] = values[static_cast<size_t>(gguf_rope_row(i, width, place.heads))];
    return ordered;
  }

  void forget() const override { tensors_.forget(); }

 private:
  static StoredTensor stored(const Place& place) {
    const GgufTensor& tensor = *place.from.tensor;
    return {tensor.name, place.from.file->path(), gguf_dtype(tensor.type), place.shape, std::as_bytes(place.bytes())};
  }

  // The rows of q and k in Hugging Face's order.
  static MatrixRows in_order(MatrixRows rows, int64_t heads) {
    const auto place_of = [heads, count = rows.rows](int64_t row) { return gguf_rope_row(row, count, heads); };
    MatrixRows result = rows;
    result.values = nullptr;
    if (rows.integers) {
      result.integers->read = [read = rows.integers->read, place_of](int64_t row, IntegerRow& to) {
        read(place_of(row), to);
      };
    } else {
      result.floats = [read = rows.floats, place_of](int64_t row, float* values) { read(place_of(row), values); };
    }
    return result;
  }

  static void expect_finite(const float* values, int64_t count, const StoredTensor& tensor) {
    if (std::all_of(values, values + count, [](float value) { return std::isfinite(value); })) return;
    throw_input("{}: tensor '{}' holds non-finite scales; download the model again", tensor.path, tensor.name);
  }

  static MatrixRows integer_rows(const Place& place) {
    const GgufType type = place.from.tensor->type;
    const auto grid = gguf_grid(type);
    const auto minimum_grid = gguf_minimum_grid(type);
    OCKHAM_CHECK(grid.has_value() != minimum_grid.has_value());
    IntegerSource source;
    source.columns = place.shape.back();
    source.rows = place.shape.size() == 2 ? place.shape.front() : 1;
    source.bits = grid ? grid->bits : minimum_grid->bits;
    source.group_size = grid ? grid->group : minimum_grid->group;
    source.has_minima = minimum_grid.has_value();
    OCKHAM_CHECK(!grid || grid->zero == int64_t{1} << (grid->bits - 1));  // the preset
    source.read = [tensor = stored(place), bytes = place.bytes(), type, columns = source.columns,
                   groups = source.columns / source.group_size,
                   has_minima = source.has_minima](int64_t row, IntegerRow& to) {
      const GgufTypeInfo& info = gguf_type_info(type);
      const auto width = static_cast<size_t>(columns / info.elements * info.bytes);
      const auto of_row = bytes.subspan(static_cast<size_t>(row) * width, width);
      const auto count = static_cast<size_t>(groups);
      const std::span<uint8_t> codes = {to.codes, static_cast<size_t>(columns)};
      if (has_minima) {
        read_gguf_minimum_grid(type, of_row, codes, {to.scales, count}, {to.minima, count});
        expect_finite(to.minima, groups, tensor);
      } else {
        read_gguf_grid(type, of_row, codes, {to.scales, count});
      }
      expect_finite(to.scales, groups, tensor);
    };
    MatrixRows rows;
    rows.rows = source.rows;
    rows.columns = source.columns;
    rows.integers = std::move(source);
    return rows;
  }

  GgufTensors tensors_;
  ModelConfig config_;
};

}  // namespace

std::unique_ptr<ModelReader> open_gguf_model(const std::string& path) {
  return std::make_unique<GgufReader>(path);
}

}  // namespace ockham
