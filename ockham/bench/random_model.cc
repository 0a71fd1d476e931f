#include "ockham/bench/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/half.h"
#include "ockham/core/rng.h"
#include "ockham/kernels/bitmap_limits.h"
#include "ockham/runtime/readers/model_reader.h"

namespace ockham {
namespace {

constexpr int64_t kPoolRows = 61, kKeptGroup = 16;
constexpr float kStandardDeviation = 0.02F;

// |z| of a standard normal z below which a share `sparsity` lies.
float cut(double sparsity) {
  if (sparsity <= 0) return -1;
  double low = 0, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle / std::sqrt(2.0)) < sparsity ? low : high) = middle;
  }
  return static_cast<float>(low);
}

// Standard normal rows that all matrices share.
class Pool {
 public:
  explicit Pool(int64_t columns) : columns_(columns), values_(static_cast<size_t>(kPoolRows * columns)) {
    Rng rng(1);
    for (float& value : values_) value = static_cast<float>(rng.normal());
  }
  const float* row(int64_t index) const { return values_.data() + index % kPoolRows * columns_; }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }
  const float* data() const { return values_.data(); }
  int64_t columns() const { return columns_; }

 private:
  int64_t columns_;
  std::vector<float> values_;
};

// The pool's rows as one format stores them.
class FormatRows {
 public:
  FormatRows(std::shared_ptr<const Pool> pool, const WeightFormat& format) : pool_(std::move(pool)), format_(format) {
    if (format_.kind == WeightFormat::Kind::kFloat) {
      values_.resize(static_cast<size_t>(pool_->size()));
      const float least = cut(format_.sparsity);
      for (size_t i = 0; i < values_.size(); ++i)
        values_[i] = std::fabs(pool_->data()[i]) > least ? kStandardDeviation * pool_->data()[i] : 0;
      return;
    }
    const float half = static_cast<float>(int64_t{1} << (format_.bits - 1));
    const float least = format_.kind == WeightFormat::Kind::kInteger ? cut(format_.sparsity) : -1;
    // Four standard deviations span all codes.
    for (int64_t i = 0; i < pool_->size(); ++i) {
      const float z = pool_->data()[i];
      codes_.push_back(static_cast<uint8_t>(std::clamp(std::nearbyint(z * half / 4) + half, 0.0F, 2 * half - 1)));
      kept_.push_back(std::fabs(z) > least ? 1 : 0);
    }
  }

  MatrixRows rows(int64_t rows, int64_t columns, int64_t salt) const;

 private:
  size_t place(int64_t row) const { return static_cast<size_t>(row % kPoolRows * pool_->columns()); }
  // About 4 standard deviations / 2^(bits - 1), different by group, exact in bfloat16.
  float scale(int64_t row, int64_t group) const {
    const float step = 4 * kStandardDeviation / static_cast<float>(int64_t{1} << (format_.bits - 1));
    const float factor = 0.75F + static_cast<float>((row + group) % 7) / 12;
    return bfloat16_to_float(float_to_bfloat16(step * factor));
  }
  uint8_t zero(int64_t row, int64_t group) const {
    return static_cast<uint8_t>((1 << (format_.bits - 1)) - (row + group) % 2);
  }
  IntegerSource integers(int64_t rows, int64_t columns, int64_t salt) const;
  GroupSparseSource groups(int64_t rows, int64_t columns, int64_t salt) const;

  std::shared_ptr<const Pool> pool_;
  WeightFormat format_;
  std::vector<float> values_;
  std::vector<uint8_t> codes_, kept_;
};

IntegerSource FormatRows::integers(int64_t rows, int64_t columns, int64_t salt) const {
  IntegerSource source;
  source.rows = rows;
  source.columns = columns;
  source.bits = format_.bits;
  source.group_size = format_.group_size;
  source.has_mask = format_.sparsity > 0;
  source.read = [this, columns, salt](int64_t row, IntegerRow& out) {
    const int64_t size = format_.group_size == 0 ? columns : format_.group_size, groups = (columns + size - 1) / size;
    const size_t from = place(row + salt);
    for (int64_t g = 0; g < groups; ++g) {
      out.scales[g] = scale(row, g);
      if (format_.group_size != 0) out.zeros[g] = zero(row, g);
    }
    std::memcpy(out.codes, codes_.data() + from, static_cast<size_t>(columns));
    if (format_.sparsity > 0) std::memcpy(out.is_kept, kept_.data() + from, static_cast<size_t>(columns));
  };
  return source;
}

GroupSparseSource FormatRows::groups(int64_t rows, int64_t columns, int64_t salt) const {
  GroupSparseSource source;
  source.rows = rows;
  source.columns = columns;
  source.bits = format_.bits;
  source.group_size = format_.group_size;
  const float least = cut(format_.sparsity);
  source.read = [this, columns, salt, least](int64_t row, GroupSparseRow& out) {
    const float* z = pool_->row(row + salt);
    for (int64_t g = 0; g < (columns + format_.group_size - 1) / format_.group_size; ++g) {
      out.is_kept[g] = std::fabs(z[g * format_.group_size]) > least;
      out.scales[g] = scale(row, g);
      out.zeros[g] = zero(row, g);
    }
    std::memcpy(out.codes, codes_.data() + place(row + salt), static_cast<size_t>(columns));
  };
  return source;
}

MatrixRows FormatRows::rows(int64_t rows, int64_t columns, int64_t salt) const {
  MatrixRows result;
  result.rows = rows;
  result.columns = columns;
  switch (format_.kind) {
    case WeightFormat::Kind::kFloat:
      result.type = format_.type;
      result.is_sparse = format_.sparsity > 0;
      result.floats = [this, columns, salt](int64_t row, float* to) {
        std::memcpy(to, values_.data() + place(row + salt), static_cast<size_t>(columns) * sizeof(float));
      };
      break;
    case WeightFormat::Kind::kInteger:
      result.integers = integers(rows, columns, salt);
      break;
    case WeightFormat::Kind::kGroupSparse:
      result.kept_groups = groups(rows, columns, salt);
      break;
  }
  return result;
}

int64_t widest(const ModelConfig& config) {
  int64_t result = std::max(config.hidden_size, config.embedding_size);
  for (int64_t block = 0; block < config.blocks; ++block)
    for (const LinearSpec& spec : block_linears(config, block)) result = std::max(result, spec.columns);
  return result;
}

class RandomReader final : public ModelReader {
 public:
  explicit RandomReader(const RandomModelSpec& spec)
      : spec_(spec),
        pool_(std::make_shared<const Pool>(widest(spec.config))),
        linears_(pool_, spec.linears),
        head_(pool_, spec.head),
        plain_(pool_, {}) {
    const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) { shapes_[name] = shape; };
    for (const auto& tensor : frame_tensor_specs(spec.config)) add(tensor.name, tensor.shape);
    const Family& family = *find_family(spec.config.family);
    for (int64_t block = 0; block < spec.config.blocks; ++block)
      for (const auto& tensor : block_tensor_specs(spec.config, block))
        add(block_prefix(family, block) + tensor.name, tensor.shape);
    head_name_ = std::string(spec.config.tied_embeddings ? family.embedding : family.head) + ".weight";
  }

  const ModelConfig& config() const override { return spec_.config; }
  int64_t bytes() const override { return 0; }  // nothing is stored
  std::string hash_lines() const override { return "random " + layout() + "\n"; }
  std::string layout() const override { return "random, " + spec_.linears.name(); }

  MatrixRows linear(const std::string& prefix, const LinearSpec& spec) const override {
    return linears_.rows(spec.rows, spec.columns, salt(prefix + spec.name));
  }
  InputRule input_rule(const std::string&, const LinearSpec&) const override { return {}; }
  std::vector<float> bias(const std::string&, const LinearSpec& spec) const override {
    return std::vector<float>(static_cast<size_t>(spec.rows), 0.0F);
  }
  MatrixRows matrix(const std::string& name) const override {
    const std::vector<int64_t>& shape = shapes_.at(name);
    return (name == head_name_ ? head_ : plain_).rows(shape.at(0), shape.at(1), salt(name));
  }
  // Gains that multiply by one, biases of zero.
  std::vector<float> vector(const std::string& name) const override {
    const float value = name.ends_with(".bias") ? 0 : 1 - static_cast<float>(spec_.config.norm_offset);
    return std::vector<float>(static_cast<size_t>(shapes_.at(name).at(0)), value);
  }

 private:
  static int64_t salt(const std::string& name) { return static_cast<int64_t>(hash_seed(name) % kPoolRows); }

  RandomModelSpec spec_;
  std::shared_ptr<const Pool> pool_;
  FormatRows linears_, head_, plain_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::string head_name_;
};

}  // namespace

std::string WeightFormat::name() const {
  const std::string zeros = sparsity > 0 ? fmt::format(" {:g} %", 100 * sparsity) : "";
  if (kind == Kind::kGroupSparse) return "gqsa" + zeros;
  if (kind == Kind::kFloat) return (type == DType::kF32 ? "f32" : type == DType::kF16 ? "f16" : "bf16") + zeros;
  return fmt::format("int{} {}{}", bits, group_size == 0 ? "rows" : fmt::format("g{}", group_size), zeros);
}

WeightFormat parse_weight_format(const std::string& name, int64_t group_size, double sparsity) {
  constexpr std::string_view kKnown = "f32, f16, bf16, int2 to int8, gqsa";
  WeightFormat format;
  if (!(sparsity >= 0 && sparsity < 1))
    throw_error(ErrorKind::kUsage, "--sparsity: {} is out of range; expected a share from 0 to below 1, as in 0.5",
                sparsity);
  if (group_size != 0 && (group_size < 16 || group_size % 16 != 0 || group_size > (1 << 20)))
    throw_error(ErrorKind::kUsage, "--group: {} columns; expected 0 (a whole row) or a multiple of 16", group_size);
  format.sparsity = sparsity;
  format.group_size = group_size;
  if (name == "f32" || name == "f16" || name == "bf16") {
    format.type = name == "f32" ? DType::kF32 : name == "f16" ? DType::kF16 : DType::kBF16;
    return format;
  }
  if (name == "gqsa") {
    format.kind = WeightFormat::Kind::kGroupSparse;
    format.group_size = kKeptGroup;
    if (sparsity == 0) format.sparsity = 0.5;
    return format;
  }
  format.kind = WeightFormat::Kind::kInteger;
  if (name.size() == 4 && name.starts_with("int") && name[3] >= '2' && name[3] <= '8') {
    format.bits = name[3] - '0';
    return format;
  }
  throw_error(ErrorKind::kUsage, "--format: '{}' is no format of weights; expected one of {}", name, kKnown);
}

double expected_bits(const WeightFormat& format) {
  const double density = 1 - format.sparsity;
  if (format.kind == WeightFormat::Kind::kGroupSparse) return 1.0 / 16 + density * 6;
  if (format.kind == WeightFormat::Kind::kFloat) {
    const double bits = 8.0 * static_cast<double>(dtype_size(format.type));
    return format.sparsity > 0 && format.type != DType::kF16 ? std::min(bits, 1 + density * bits) : bits;
  }
  const double record = format.group_size > 0 ? 24.0 / static_cast<double>(format.group_size) : 0;
  const double bits = format.bits == 7 ? 8 : static_cast<double>(format.bits);
  const bool may_have_bitmap = format.sparsity > 0 && (format.bits == 4 || format.bits == 8);
  const bool has_bitmap = may_have_bitmap && bitmap_pays(bitmap_limits(format.bits), format.bits, format.bits, density);
  return record + (has_bitmap ? 1 + density * bits : bits);
}

double expected_bytes(const RandomModelSpec& spec) {
  const ModelConfig& config = spec.config;
  double bits = 0;
  for (int64_t block = 0; block < config.blocks; ++block) {
    for (const LinearSpec& linear : block_linears(config, block))
      bits += static_cast<double>(linear.rows * linear.columns) * expected_bits(spec.linears);
    for (const auto& tensor : block_tensor_specs(config, block))
      bits += 16.0 * static_cast<double>(
                         std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>()));
  }
  const int64_t width = config.embedding_size > 0 ? config.embedding_size : config.hidden_size;
  bits += static_cast<double>(config.vocabulary * width) * expected_bits(spec.head);
  if (width != config.hidden_size) bits += 2 * 16.0 * static_cast<double>(width * config.hidden_size);
  return bits / 8;
}

std::shared_ptr<const ModelFiles> make_random_model(const RandomModelSpec& spec) {
  return std::make_shared<const ModelFiles>(std::make_unique<RandomReader>(spec));
}

}  // namespace ockham
