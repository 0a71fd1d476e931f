// Which tensor plays which role; how it is stored is the reader's matter.
#include "ockham/runtime/model_files.h"

#include <map>
#include <mutex>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/hub_cache.h"
#include "ockham/runtime/readers/model_reader.h"

namespace ockham {

struct ModelFiles::State {
  std::string path;  // a directory, or a .gguf file
  std::unique_ptr<ModelReader> reader;
  std::vector<TensorSpec<FrameTensorRole>> frame;
  std::string sha256;
  std::mutex mutex;
  std::map<FrameTensorRole, MatrixRows> by_row;  // matrices that rows were asked of

  std::string prefix(int64_t block) const { return block_prefix(*find_family(reader->config().family), block); }
  std::string frame_name(FrameTensorRole role) const;
  std::string block_name(int64_t block, BlockTensorRole role) const;
  const MatrixRows& matrix_by_row(FrameTensorRole role);
};

namespace {

template <typename Role>
std::string name_of(const std::vector<TensorSpec<Role>>& specs, Role role) {
  for (const TensorSpec<Role>& spec : specs)
    if (spec.role == role) return spec.name;
  return "";
}

}  // namespace

// "" where the model has none.
std::string ModelFiles::State::frame_name(FrameTensorRole role) const {
  const bool is_tied_head = role == FrameTensorRole::kHead && reader->config().tied_embeddings;
  return name_of(frame, is_tied_head ? FrameTensorRole::kEmbedding : role);
}

std::string ModelFiles::State::block_name(int64_t block, BlockTensorRole role) const {
  const std::string name = name_of(block_tensor_specs(reader->config(), block), role);
  return name.empty() ? "" : prefix(block) + name;
}

const MatrixRows& ModelFiles::State::matrix_by_row(FrameTensorRole role) {
  const std::lock_guard lock(mutex);
  const auto found = by_row.find(role);
  if (found != by_row.end()) return found->second;
  const std::string name = frame_name(role);
  OCKHAM_CHECK(!name.empty());
  return by_row.emplace(role, reader->matrix(name)).first->second;
}

ModelFiles::ModelFiles(const std::string& model) : state_(std::make_unique<State>()) {
  state_->path = find_model_directory(model);
  if (const std::string file = find_gguf(state_->path); !file.empty()) {
    state_->path = file;
    state_->reader = open_gguf_model(file);
  } else {
    state_->reader = open_directory(state_->path);
  }
  state_->frame = frame_tensor_specs(config());
}

ModelFiles::ModelFiles(std::unique_ptr<ModelReader> reader) : state_(std::make_unique<State>()) {
  state_->reader = std::move(reader);
  state_->frame = frame_tensor_specs(config());
}

ModelFiles::~ModelFiles() = default;

const ModelConfig& ModelFiles::config() const {
  return state_->reader->config();
}

int64_t ModelFiles::parameters() const {
  return parameter_count(config());
}

int64_t ModelFiles::bytes() const {
  return state_->reader->bytes();
}

std::string ModelFiles::sha256() const {
  if (state_->sha256.empty()) state_->sha256 = sha256_text(state_->reader->hash_lines());
  return state_->sha256;
}

std::string ModelFiles::layout() const {
  return state_->reader->layout();
}

std::string ModelFiles::tokenizer_directory() const {
  return state_->path;
}

KernelMatrix ModelFiles::read_linear(int64_t block, const LinearSpec& spec) const {
  return pack_rows(state_->reader->linear(state_->prefix(block), spec));
}

InputRule ModelFiles::read_input_rule(int64_t block, const LinearSpec& spec) const {
  return state_->reader->input_rule(state_->prefix(block), spec);
}

std::vector<float> ModelFiles::read_bias(int64_t block, const LinearSpec& spec) const {
  return spec.has_bias ? state_->reader->bias(state_->prefix(block), spec) : std::vector<float>();
}

KernelMatrix ModelFiles::read_matrix(FrameTensorRole role) const {
  const std::string name = state_->frame_name(role);
  return name.empty() ? KernelMatrix() : pack_rows(state_->reader->matrix(name));
}

KernelMatrix ModelFiles::read_matrix(int64_t block, BlockTensorRole role) const {
  const std::string name = state_->block_name(block, role);
  return name.empty() ? KernelMatrix() : pack_rows(state_->reader->matrix(name));
}

std::vector<float> ModelFiles::read_vector(FrameTensorRole role) const {
  const std::string name = state_->frame_name(role);
  return name.empty() ? std::vector<float>() : state_->reader->vector(name);
}

std::vector<float> ModelFiles::read_vector(int64_t block, BlockTensorRole role) const {
  const std::string name = state_->block_name(block, role);
  return name.empty() ? std::vector<float>() : state_->reader->vector(name);
}

void ModelFiles::read_row(FrameTensorRole role, int64_t row, float* values) const {
  ockham::read_row(state_->matrix_by_row(role), row, values);
}

void ModelFiles::forget() const {
  state_->reader->forget();
}

}  // namespace ockham
