// Writing of model directories. The header of a safetensors file comes before its data, so the bytes of a shard are
// spooled to a file beside it first: memory stays flat however large a shard is.
#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/formats/gguf_tokenizer.h"
#include "ockham/model/checkpoint.h"
#include "ockham/model/families.h"
#include "ockham/model/interchange_writer.h"
#include "ockham/model/packed.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCompanions[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "tokenizer.model",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "generation_config.json"};

}  // namespace

struct CheckpointWriter::State {
  // A part of a fused tensor, for the layouts of other tools: these are written when the last part is there.
  struct Part {
    std::string whole;
    LinearSpec spec;
  };
  std::map<std::string, Part> fused;  // by the part's name
  std::vector<std::pair<std::string, Weight>> waiting;
  std::vector<Tensor> waiting_biases;
  std::string directory;
  ModelConfig config;
  Options options;
  Json modules = Json::object();
  std::vector<std::vector<TensorInfo>> shards;  // the last one is being spooled
  int64_t shard_bytes = 0, total_bytes = 0;
  std::FILE* spool = nullptr;
  std::vector<std::string> obsolete;  // spools of closed shards that the last record still names

  ~State() {
    if (spool != nullptr) std::fclose(spool);
  }
  bool is_resumable() const { return !options.spool_directory.empty(); }
  std::string spool_path() const {
    return (fs::path(is_resumable() ? options.spool_directory : directory) / fmt::format("spool-{}.tmp", shards.size()))
        .string();
  }
  std::string part_path(size_t shard) const {
    return (fs::path(directory) / fmt::format("part-{}.tmp", shard)).string();
  }
  [[noreturn]] void fail(const std::string& path) const {
    throw_error(ErrorKind::kResource, "{}: cannot write ({}); free some space or choose another output directory", path,
                std::strerror(errno));
  }
  [[noreturn]] void refuse(const std::string& path) const {
    throw_input("{}: is not what the record of the interrupted run says; start over", path);
  }
  void find_part(size_t shard) const;
  void open_shard();
  void close_shard();
  void append(const std::string& name, const Tensor& value);
  void reserve(int64_t bytes);
  // The tensors of one weight.
  void append_all(const std::string& linear, const std::vector<std::pair<std::string, Tensor>>& parts);
  void write_part(const std::string& linear, const Part& part, const Weight& weight, DType dtype);
};

void CheckpointWriter::State::open_shard() {
  shards.emplace_back();
  shard_bytes = 0;
  spool = std::fopen(spool_path().c_str(), "wb");
  if (spool == nullptr) fail(spool_path());
}

void CheckpointWriter::State::close_shard() {
  const bool is_written = std::fclose(spool) == 0;
  spool = nullptr;
  if (!is_written) fail(spool_path());
  {
    SafetensorsWriter writer(part_path(shards.size() - 1), shards.back(), {{"format", "pt"}});
    std::ifstream data(spool_path(), std::ios::binary);
    std::vector<std::byte> piece(size_t{4} << 20);
    for (const TensorInfo& info : shards.back()) {
      size_t left = static_cast<size_t>(info.elements() * dtype_size(info.dtype));
      do {
        const size_t length = std::min(piece.size(), left);
        if (!data.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(length))) fail(spool_path());
        writer.append(info.name, {piece.data(), length});
        left -= length;
      } while (left > 0);
    }
    writer.finish();
  }
  if (is_resumable()) {
    obsolete.push_back(spool_path());
  } else {
    fs::remove(spool_path());
  }
}

void CheckpointWriter::State::find_part(size_t shard) const {
  // A finish() that was broken off may have given the part its final name.
  const std::string prefix = fmt::format("model-{:05}-of-", shard + 1);
  fs::path renamed;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (entry.path().filename().string().starts_with(prefix)) renamed = entry.path();
  if (!fs::exists(part_path(shard)) && !renamed.empty()) fs::rename(renamed, part_path(shard));
  const SafetensorsFile file(part_path(shard));
  for (const TensorInfo& info : shards[shard]) {
    const TensorInfo* found = file.find(info.name);
    if (found == nullptr || found->dtype != info.dtype || found->shape != info.shape) refuse(part_path(shard));
  }
}

// Tensors of one weight stay in one shard.
void CheckpointWriter::State::reserve(int64_t bytes) {
  if (spool != nullptr && shard_bytes > 0 && shard_bytes + bytes > options.shard_bytes) close_shard();
  if (spool == nullptr) open_shard();
}

void CheckpointWriter::State::append(const std::string& name, const Tensor& value) {
  const Tensor flat = value.detach().to(at::kCPU).contiguous();
  TensorInfo info;
  info.name = name;
  info.dtype = to_dtype(flat.scalar_type());
  info.shape = flat.sizes().vec();
  shards.back().push_back(info);
  const size_t length = flat.nbytes();
  if (length > 0 && std::fwrite(flat.const_data_ptr(), 1, length, spool) != length) fail(spool_path());
  shard_bytes += static_cast<int64_t>(length);
  total_bytes += static_cast<int64_t>(length);
}

void CheckpointWriter::State::append_all(const std::string& linear,
                                         const std::vector<std::pair<std::string, Tensor>>& parts) {
  int64_t bytes = 0;
  for (const auto& [suffix, part] : parts) bytes += static_cast<int64_t>(part.nbytes());
  reserve(bytes);
  for (const auto& [suffix, part] : parts) append(linear + suffix, part);
}

void CheckpointWriter::State::write_part(const std::string& linear, const Part& part, const Weight& weight,
                                         DType dtype) {
  waiting.emplace_back(linear, weight);
  if (part.spec.first_row + part.spec.rows < part.spec.stored_rows) return;
  InterchangeWriter::Parts parts{
      part.whole, {}, [&](const std::vector<Tensor>& tensors) { return join_parts(tensors, part.spec); }};
  for (const auto& [name, value] : waiting) parts.linears.emplace_back(name, &value);
  append_all(part.whole, options.interchange->pack(parts, dtype));
  waiting.clear();
}

CheckpointWriter::CheckpointWriter(const std::string& directory, const ModelConfig& config, const Options& options)
    : state_(std::make_unique<State>()) {
  state_->directory = directory;
  state_->config = config;
  state_->options = options;
  if (options.interchange == nullptr) return;
  for (int64_t index = 0; index < config.blocks; ++index) {
    const std::string prefix = block_prefix(*find_family(config.family), index);
    for (const LinearSpec& spec : block_linears(config, index)) {
      if (spec.is_transposed)
        throw_error(ErrorKind::kUnsupported,
                    "{}: models of type '{}' keep '{}' transposed (Conv1D), which loaders of compressed-tensors, GPTQ, "
                    "AWQ and fp8 do not take; write dense, gguf, or Ockham's packed form",
                    directory, config.family, spec.name);
      if (spec.is_fused()) state_->fused[prefix + spec.name] = {prefix + spec.stored, spec};
    }
  }
}

CheckpointWriter::~CheckpointWriter() = default;

void CheckpointWriter::write_tensor(const std::string& name, const Tensor& value) {
  if (!state_->fused.empty() && name.ends_with(".bias")) {
    const auto found = state_->fused.find(name.substr(0, name.size() - 5));
    if (found != state_->fused.end()) {
      const auto& [whole, spec] = found->second;
      state_->waiting_biases.push_back(value);
      if (spec.first_row + spec.rows < spec.stored_rows) return;
      const Tensor joined = join_parts(state_->waiting_biases, spec);
      state_->waiting_biases.clear();
      write_tensor(whole + ".bias", joined);
      return;
    }
  }
  state_->reserve(static_cast<int64_t>(value.nbytes()));
  state_->append(name, value);
}

bool CheckpointWriter::is_written_dense(const Weight& weight) const {
  return state_->options.interchange == nullptr &&
         (!state_->options.is_packed || std::holds_alternative<DenseWeight>(weight));
}

void CheckpointWriter::write_weight(const std::string& linear, const Weight& weight, DType dtype) {
  const at::ScalarType type = to_scalar_type(dtype);
  if (is_written_dense(weight)) {
    write_tensor(linear + ".weight", weight_to_dense(weight, type));
    return;
  }
  if (state_->options.interchange != nullptr) {
    const auto part = state_->fused.find(linear);
    if (part != state_->fused.end()) return state_->write_part(linear, part->second, weight, dtype);
    return state_->append_all(linear, state_->options.interchange->pack(linear, weight, dtype));
  }
  const PackedWeight packed = pack_weight(weight_to(weight, type));
  state_->modules[linear] = packed.record;
  state_->append_all(linear, packed.parts);
}

void CheckpointWriter::finish(const std::string& source_directory) {
  State& state = *state_;
  OCKHAM_CHECK(state.spool != nullptr);
  state.close_shard();
  const fs::path directory(state.directory);
  Json weight_map = Json::object();
  const size_t count = state.shards.size();
  for (size_t shard = 0; shard < count; ++shard) {
    const std::string name =
        count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, count);
    fs::rename(state.part_path(shard), directory / name);
    for (const TensorInfo& info : state.shards[shard]) weight_map[info.name] = name;
  }
  const std::string gguf = source_directory.empty() ? "" : find_gguf(source_directory);
  if (!gguf.empty()) {
    for (const auto& [name, content] : read_gguf_companions(gguf))
      write_file_atomically((directory / name).string(), content);
  }
  for (const char* name : kCompanions) {
    const fs::path source = fs::path(source_directory) / name;
    if (!source_directory.empty() && fs::is_regular_file(source)) {
      write_file_atomically((directory / name).string(), read_file(source.string()));
    }
  }
  Json config = state.config.to_json();
  config.erase("quantization_config");
  if (state.options.is_packed && !state.modules.empty()) {
    config["quantization_config"] = {
        {"quant_method", "ockham"}, {"format", "packed"}, {"version", kPackedVersion}, {"modules", state.modules}};
  }
  if (state.options.interchange != nullptr) {
    for (const auto& [name, content] : state.options.interchange->finish(config, plain_modules(state.config)))
      write_file_atomically((directory / name).string(), content);
  }
  write_file_atomically((directory / "config.json").string(), config.dump(2) + "\n");
  if (count > 1) {
    const Json index = {{"metadata", {{"total_size", state.total_bytes}}}, {"weight_map", weight_map}};
    write_file_atomically((directory / "model.safetensors.index.json").string(), index.dump(2) + "\n");
  }
}

int64_t CheckpointWriter::bytes() const {
  return state_->total_bytes;
}

Json CheckpointWriter::record() {
  State& state = *state_;
  OCKHAM_CHECK(state.is_resumable() && state.spool != nullptr && state.options.interchange == nullptr);
  if (std::fflush(state.spool) != 0 || ::fdatasync(::fileno(state.spool)) != 0) state.fail(state.spool_path());
  Json shards = Json::array();
  for (const std::vector<TensorInfo>& shard : state.shards) {
    Json list = Json::array();
    for (const TensorInfo& info : shard) list.push_back({info.name, dtype_name(info.dtype), info.shape});
    shards.push_back(std::move(list));
  }
  return {{"shards", std::move(shards)},
          {"spooled_bytes", state.shard_bytes},
          {"bytes", state.total_bytes},
          {"modules", state.modules}};
}

void CheckpointWriter::release() {
  for (const std::string& path : std::exchange(state_->obsolete, {})) fs::remove(path);
}

void CheckpointWriter::restore(const Json& record) {
  State& state = *state_;
  OCKHAM_CHECK(state.is_resumable() && state.spool == nullptr);
  state.shards.clear();
  int64_t spooled = 0;
  for (const Json& list : record.at("shards")) {
    state.shards.emplace_back();
    spooled = 0;
    for (const Json& entry : list) {
      const std::optional<DType> dtype = dtype_from_name(entry.at(1).get<std::string>());
      if (!dtype.has_value()) state.refuse(state.directory);
      state.shards.back().push_back({entry.at(0), *dtype, entry.at(2), 0, 0});
      spooled += state.shards.back().back().elements() * dtype_size(*dtype);
    }
  }
  state.shard_bytes = record.at("spooled_bytes");
  state.total_bytes = record.at("bytes");
  state.modules = record.at("modules");
  const std::string spool = state.spool_path();
  if (state.shards.empty() || spooled != state.shard_bytes || !fs::exists(spool) ||
      fs::file_size(spool) < static_cast<uintmax_t>(spooled))
    state.refuse(spool);
  std::set<std::string> wanted;
  for (size_t shard = 0; shard + 1 < state.shards.size(); ++shard) {
    state.find_part(shard);
    wanted.insert(state.part_path(shard));
  }
  // What a killed process was about to write.
  std::vector<fs::path> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(state.directory))
    if (!wanted.contains(entry.path().string())) others.push_back(entry.path());
  for (const fs::path& path : others) fs::remove_all(path);
  for (const fs::directory_entry& entry : fs::directory_iterator(state.options.spool_directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("spool-") && entry.path() != fs::path(spool)) state.obsolete.push_back(entry.path().string());
  }
  release();
  fs::resize_file(spool, static_cast<uintmax_t>(spooled));
  state.spool = std::fopen(spool.c_str(), "ab");
  if (state.spool == nullptr) state.fail(spool);
}

void write_frame(CheckpointWriter& writer, const Decoder& decoder, DType dtype) {
  const at::ScalarType type = to_scalar_type(dtype);
  for (const FrameTensor& tensor : frame_tensors(decoder.config)) {
    const Tensor& value = decoder.*tensor.member;
    if (value.defined()) writer.write_tensor(tensor.name, value.to(type));
  }
}

void write_frame(CheckpointWriter& writer, const Checkpoint& checkpoint, DType dtype) {
  for (const FrameTensor& tensor : frame_tensors(checkpoint.config()))
    writer.write_tensor(tensor.name, checkpoint.read_tensor(tensor.name, dtype));
}

namespace {

void write_linear(CheckpointWriter& writer, const Linear& linear, const LinearSpec& spec, DType dtype) {
  if (spec.is_transposed && !spec.is_fused() && writer.is_written_dense(linear.weight)) {
    writer.write_tensor(linear.name + ".weight", weight_to_dense(linear.weight, to_scalar_type(dtype)).t());
  } else {
    writer.write_weight(linear.name, linear.weight, dtype);
  }
  if (linear.bias.defined()) writer.write_tensor(linear.name + ".bias", linear.bias.to(to_scalar_type(dtype)));
}

// The linears [begin, end) are the parts of one tensor.
void write_fused(CheckpointWriter& writer, const Block& block, const std::vector<LinearSpec>& specs, size_t begin,
                 size_t end, const std::string& prefix, DType dtype) {
  const at::ScalarType type = to_scalar_type(dtype);
  std::vector<Tensor> weights, biases;
  for (size_t i = begin; i < end; ++i) {
    weights.push_back(weight_to_dense(block.linears[i].weight, type));
    if (block.linears[i].bias.defined()) biases.push_back(block.linears[i].bias.to(type));
  }
  const LinearSpec& first = specs[begin];
  const Tensor whole = join_parts(weights, first);
  writer.write_tensor(prefix + first.stored + ".weight", first.is_transposed ? whole.t() : whole);
  if (first.has_bias) writer.write_tensor(prefix + first.stored + ".bias", join_parts(biases, first));
}

}  // namespace

void write_block(CheckpointWriter& writer, const Block& block, int64_t index, DType dtype) {
  const at::ScalarType type = to_scalar_type(dtype);
  const std::string prefix = block_prefix(*find_family(block.config->family), index);
  for (const BlockTensor& tensor : block_tensors(*block.config, index))
    writer.write_tensor(prefix + tensor.name, (block.*tensor.member).to(type));
  const std::vector<LinearSpec> specs = block_linears(*block.config, index);
  OCKHAM_CHECK(specs.size() == block.linears.size());
  for (size_t begin = 0, end = 0; begin < specs.size(); begin = end) {
    bool is_dense = true;
    for (end = begin; end < specs.size() && specs[end].stored == specs[begin].stored; ++end)
      is_dense = is_dense && writer.is_written_dense(block.linears[end].weight);
    if (specs[begin].is_fused() && is_dense) {
      write_fused(writer, block, specs, begin, end, prefix, dtype);
      continue;
    }
    for (size_t i = begin; i < end; ++i) write_linear(writer, block.linears[i], specs[i], dtype);
  }
}

void save_decoder(const Decoder& decoder, const std::string& directory, DType dtype,
                  const std::string& tokenizer_directory) {
  const at::NoGradGuard no_grad;
  ModelConfig config = decoder.config;
  config.dtype = dtype;
  CheckpointWriter writer(directory, config, {});
  write_frame(writer, decoder, dtype);
  for (size_t i = 0; i < decoder.blocks.size(); ++i)
    write_block(writer, decoder.blocks[i], static_cast<int64_t>(i), dtype);
  writer.finish(tokenizer_directory);
}

}  // namespace ockham
