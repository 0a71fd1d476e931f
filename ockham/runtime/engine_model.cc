#include "ockham/runtime/engine_model.h"

#include <cstring>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"

namespace ockham {
namespace {

// Matrices in the order in which PackedWeights numbers them.
class MatrixSource {
 public:
  MatrixSource(const ModelFiles& files, const PackedWeights* packed) : files_(files), packed_(packed) {}
  const ModelFiles& files() const { return files_; }
  EngineLinear linear(int64_t block, const LinearSpec& spec) {
    KernelMatrix weight = is_packed() ? packed_->view(number_) : files_.read_linear(block, spec);
    ++number_;
    EngineLinear read = {std::move(weight), files_.read_bias(block, spec), files_.read_input_rule(block, spec)};
    files_.forget();
    return read;
  }
  KernelMatrix head() { return is_packed() ? packed_->view(number_) : files_.read_matrix(FrameTensorRole::kHead); }

 private:
  bool is_packed() const { return packed_ != nullptr && packed_->has(number_); }
  const ModelFiles& files_;
  const PackedWeights* packed_;
  size_t number_ = 0;
};

EngineNorm make_norm(std::vector<float> gain, std::vector<float> bias, double offset) {
  for (float& value : gain) value = static_cast<float>(offset + value);
  return {std::move(gain), std::move(bias)};
}

void add_linear(EngineBlock& block, const ModelConfig& config, const LinearSpec& spec, EngineLinear linear) {
  switch (spec.role) {
    case kQuery:
      block.query = std::move(linear);
      return;
    case kKey:
      block.key = std::move(linear);
      return;
    case kValue:
      block.value = std::move(linear);
      return;
    case kOutput:
      block.output = std::move(linear);
      return;
    default:
      break;
  }
  OCKHAM_CHECK(spec.expert < std::max<int64_t>(config.experts, 1));
  const size_t place = spec.expert > 0 ? static_cast<size_t>(spec.expert) : 0;
  if (block.mlps.size() <= place) block.mlps.resize(place + 1);
  EngineMlp& mlp = spec.expert == kSharedExpert ? block.shared_expert : block.mlps[place];
  (spec.role == kGate ? mlp.gate : spec.role == kUp ? mlp.up : mlp.down) = std::move(linear);
}

EngineBlock read_block(MatrixSource& source, int64_t index) {
  using Role = BlockTensorRole;
  const ModelFiles& files = source.files();
  const ModelConfig& config = files.config();
  EngineBlock block;
  for (const LinearSpec& spec : block_linears(config, index))
    add_linear(block, config, spec, source.linear(index, spec));
  const auto norm = [&](Role gain) { return make_norm(files.read_vector(index, gain), {}, config.norm_offset); };
  const auto norm_with_bias = [&](Role gain, Role bias) {
    return make_norm(files.read_vector(index, gain), files.read_vector(index, bias), config.norm_offset);
  };
  block.input_norm = norm_with_bias(Role::kInputNorm, Role::kInputNormBias);
  block.post_attention_norm = norm_with_bias(Role::kPostAttentionNorm, Role::kPostAttentionNormBias);
  block.attention_output_norm = norm(Role::kAttentionOutputNorm);
  block.mlp_output_norm = norm(Role::kMlpOutputNorm);
  block.query_norm = norm(Role::kQueryNorm);
  block.key_norm = norm(Role::kKeyNorm);
  block.router = files.read_matrix(index, Role::kRouter);
  block.shared_gate = files.read_matrix(index, Role::kSharedGate);
  return block;
}

// The same matrix in `memory`, where it is one of dense rows.
void copy_dense(KernelMatrix& matrix, std::vector<Buffer>& memory) {
  if (matrix.parts().size() != 1 || matrix.rank() != 0) return;
  const auto* dense = std::get_if<DenseRows>(&matrix.parts()[0].layout);
  if (dense == nullptr || dense->rows != matrix.rows()) return;
  const int64_t size = dtype_size(dense->type), row_bytes = dense->columns * size;
  Buffer& copy = memory.emplace_back(dense->rows * row_bytes);
  parallel_for(dense->rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(copy.data() + row * row_bytes, dense->values + row * dense->row_stride * size,
                  static_cast<size_t>(row_bytes));
  });
  matrix = view_dense(copy.data(), dense->type, dense->rows, dense->columns);
}

void copy_block(EngineBlock& block, std::vector<Buffer>& memory) {
  for (EngineLinear* linear : {&block.query, &block.key, &block.value, &block.output})
    copy_dense(linear->weight, memory);
  for (EngineMlp& mlp : block.mlps)
    for (EngineLinear* linear : {&mlp.gate, &mlp.up, &mlp.down}) copy_dense(linear->weight, memory);
}

}  // namespace

EngineModel read_engine_model(std::shared_ptr<const ModelFiles> files, bool copies_dense,
                              std::shared_ptr<const PackedWeights> packed) {
  using Role = FrameTensorRole;
  EngineModel model;
  MatrixSource source(*files, packed.get());
  const ModelConfig& config = files->config();
  for (int64_t index = 0; index < config.blocks; ++index) {
    model.blocks.push_back(read_block(source, index));
    if (copies_dense) copy_block(model.blocks.back(), model.memory);
    files->forget();
  }
  model.final_norm =
      make_norm(files->read_vector(Role::kFinalNorm), files->read_vector(Role::kFinalNormBias), config.norm_offset);
  model.head = source.head();
  if (copies_dense) copy_dense(model.head, model.memory);
  model.project_in = files->read_matrix(Role::kProjectIn);
  model.project_out = files->read_matrix(Role::kProjectOut);
  files->forget();
  model.files = std::move(files);
  model.packed = std::move(packed);
  return model;
}

}  // namespace ockham
