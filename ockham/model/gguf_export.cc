// Writing of GGUF models.
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/io/families/gguf_settings.h"
#include "ockham/io/formats/gguf_tokenizer.h"
#include "ockham/model/checkpoint.h"
#include "ockham/model/families.h"
#include "ockham/model/gguf_model.h"
#include "ockham/model/interchange_writer.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

std::span<const uint8_t> raw_bytes(const Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

// Of what is not quantized: the model's own type, unless another plain one was asked for.
GgufType plain_type(DType dtype, const std::string& asked) {
  const GgufTypeInfo* info = find_gguf_type(asked);
  if (info != nullptr && info->elements == 1) return info->type;
  return dtype == DType::kF16 ? GgufType::kF16 : dtype == DType::kBF16 ? GgufType::kBF16 : GgufType::kF32;
}

// Codes in the middle of the grid of `type`, or false where they or the scales do not fit without rounding.
bool fit_grid(const Weight& weight, GgufType type, GroupIntWeight& result) {
  const auto group = as_group_int(weight);
  if (!group || group->group_index.defined()) return false;
  const int64_t columns = group->codes.size(1);
  if (columns % 32 != 0 || (group->group_size % 32 != 0 && group->group_size < columns)) return false;
  if (!refit_codes(*group, gguf_grid(type)->bits, false, result)) return false;
  result.scales = group->scales.to(at::kHalf)
                      .repeat_interleave(std::min(group->group_size, columns) / 32, 1)
                      .narrow(1, 0, columns / 32)
                      .contiguous();
  return result.scales.isfinite().all().item<bool>();
}

using Weights = std::vector<const Weight*>;  // one after another in one tensor

// The same for all that share a tensor.
bool fit_grids(const Weights& weights, GgufType type, Tensor& codes, Tensor& scales) {
  std::vector<Tensor> all_codes, all_scales;
  for (const Weight* weight : weights) {
    GroupIntWeight grid;
    if (!fit_grid(*weight, type, grid)) return false;
    all_codes.push_back(grid.codes);
    all_scales.push_back(grid.scales);
  }
  codes = at::cat(all_codes, 0);
  scales = at::cat(all_scales, 0);
  return true;
}

// The type of linears: what was asked for; where their rows are not whole blocks of it, the nearest larger type with
// short blocks. For "auto" the smallest that keeps the codes.
GgufType choose_type(const Weights& weights, const std::string& asked, DType dtype) {
  if (asked != "auto") {
    const GgufType type = find_gguf_type(asked)->type;
    const int64_t columns = weight_columns(*weights.front());
    if (columns % gguf_type_info(type).elements == 0) return type;
    if (columns % 32 != 0) return plain_type(dtype, asked);
    return type == GgufType::kQ4K ? GgufType::kQ5_0 : GgufType::kQ8_0;
  }
  Tensor codes, scales;
  for (const GgufType type : {GgufType::kQ4_0, GgufType::kQ5_0, GgufType::kQ8_0}) {
    if (fit_grids(weights, type, codes, scales)) return type;
  }
  return plain_type(dtype, asked);
}

std::vector<uint8_t> quantize_rows(const Tensor& values, GgufType type) {
  const GgufTypeInfo& info = gguf_type_info(type);
  const int64_t rows = values.size(0), columns = values.size(1), width = columns / info.elements * info.bytes;
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * width));
  const float* in = values.const_data_ptr<float>();
  parallel_for(rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      quantize_gguf(type, {in + row * columns, static_cast<size_t>(columns)},
                    std::span(bytes).subspan(static_cast<size_t>(row * width), static_cast<size_t>(width)));
    }
  });
  return bytes;
}

Tensor read_back(GgufType type, const std::vector<uint8_t>& bytes, at::IntArrayRef shape) {
  Tensor values = at::empty(shape, at::kFloat);
  dequantize_gguf(type, bytes, {values.mutable_data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

class Exporter {
 public:
  Exporter(const Checkpoint& checkpoint, GgufExport& options)
      : checkpoint_(checkpoint),
        config_(checkpoint.config()),
        options_(options),
        keys_(gguf_keys(config_, checkpoint.directory())),
        frame_entries_(gguf_frame(config_)) {
    if (!config_.tied_embeddings || !find_gguf_architecture(config_.family)->needs_head) return;
    // A head of its own for a loader that looks for one.
    for (const GgufEntry& entry : gguf_frame(config_)) {
      if (entry.frame != FrameTensorRole::kEmbedding) continue;
      frame_entries_.push_back(entry);
      frame_entries_.back().name = "output.weight";
    }
  }

  int64_t write(const std::string& path) {
    declare();
    if (replaced_ > 0) {
      log_warning(fmt::format("{}: {} linears have rows that are not whole blocks of {}; they are written as {}", path,
                              replaced_, options_.type, replacement_));
    }
    add_keys();
    GgufWriter writer(path, keys_, tensors_);
    const DType dtype = config_.dtype;
    {
      const auto frame = checkpoint_.read_frame(dtype);
      for (const GgufEntry& entry : frame_entries_) write_plain(writer, entry, (*frame).*frame_member(*entry.frame));
    }
    for (const auto& [name, values] : rope_)
      append(writer, {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
    for (int64_t index = 0; index < config_.blocks; ++index) {
      check_interrupt();
      report_progress({"convert " + path, index, config_.blocks, "blocks"});
      const Block block = checkpoint_.read_block(index, dtype);
      for (const GgufEntry& entry : gguf_block(config_, index)) {
        if (entry.linears.empty()) {
          write_plain(writer, entry, block.*block_member(*entry.role));
        } else if (entry.is_bias) {
          std::vector<Tensor> biases;
          for (const size_t place : entry.linears) biases.push_back(block.linears[place].bias);
          write_plain(writer, entry, at::cat(biases, 0));
        } else {
          write_linears(writer, entry, block);
        }
      }
    }
    writer.finish();
    return writer.bytes();
  }

 private:
  // Types follow from shapes and grids, which are the same in every block for a given recipe only by chance: each block
  // is looked at.
  void declare() {
    const GgufType plain = plain_type(config_.dtype, options_.type);
    const auto add = [&](const GgufEntry& entry, GgufType type) {
      tensors_.push_back({entry.name, type, entry.shape, 0, 0});
    };
    for (const GgufEntry& entry : frame_entries_)
      add(entry, entry.kind == GgufEntry::Kind::kPlain ? plain : GgufType::kF32);
    rope_ = gguf_rope_tensors(config_);
    for (const auto& [name, values] : rope_)
      tensors_.push_back({name, GgufType::kF32, {static_cast<int64_t>(values.size())}, 0, 0});
    for (int64_t index = 0; index < config_.blocks; ++index) {
      check_interrupt();
      const Block block = checkpoint_.read_block(index, config_.dtype);
      for (const GgufEntry& entry : gguf_block(config_, index)) {
        if (entry.kind != GgufEntry::Kind::kWeight) {
          add(entry, GgufType::kF32);
          continue;
        }
        const GgufType type = choose_type(weights_of(entry, block), options_.type, config_.dtype);
        if (options_.type != "auto" && type != find_gguf_type(options_.type)->type) {
          replaced_ += static_cast<int64_t>(entry.linears.size());
          replacement_ = gguf_type_info(type).name;
        }
        add(entry, type);
      }
    }
  }

  static Weights weights_of(const GgufEntry& entry, const Block& block) {
    Weights weights;
    for (const size_t place : entry.linears) weights.push_back(&block.linears[place].weight);
    return weights;
  }

  void add_keys() {
    uint32_t file_type = 0;
    for (const GgufTensor& tensor : tensors_) {
      if (tensor.name.find("ffn_up") != std::string::npos) file_type = gguf_type_info(tensor.type).file_type;
    }
    keys_["general.file_type"] = file_type;
    if (checkpoint_.gguf() != nullptr) {
      for (const auto& [key, value] : checkpoint_.gguf()->keys().items()) {
        if (!key.starts_with("tokenizer.")) continue;
        keys_[key] = key == "tokenizer.ggml.token_type" ? Json{{"i32", value}} : value;
      }
      return;
    }
    const Json tokenizer = make_gguf_tokenizer(checkpoint_.directory(), config_.vocabulary);
    for (const auto& [key, value] : tokenizer.items()) keys_[key] = value;
  }

  void append(GgufWriter& writer, std::span<const uint8_t> bytes) { writer.append(tensors_[next_++].name, bytes); }

  static Tensor order_of(const GgufEntry& entry) {
    return entry.heads == 0 ? Tensor() : gguf_rope_order(entry.heads, entry.shape.front() / entry.heads);
  }

  void write_plain(GgufWriter& writer, const GgufEntry& entry, const Tensor& value) {
    const GgufType type = tensors_[next_].type;
    const at::ScalarType scalar = type == GgufType::kF16    ? at::kHalf
                                  : type == GgufType::kBF16 ? at::kBFloat16
                                                            : at::kFloat;
    Tensor stored = value;
    if (entry.shift != 0) stored = stored.to(at::kFloat) + entry.shift;
    if (const Tensor order = order_of(entry); order.defined()) stored = stored.index_select(0, order);
    append(writer, raw_bytes(stored.to(scalar).contiguous()));
  }

  void write_linears(GgufWriter& writer, const GgufEntry& entry, const Block& block) {
    const GgufType type = tensors_[next_].type;
    const Tensor order = order_of(entry);
    const Weights weights = weights_of(entry, block);
    std::vector<Tensor> dense;
    dense.reserve(weights.size());
    for (const Weight* weight : weights) dense.push_back(weight_to_dense(*weight, at::kFloat));
    Tensor values = at::cat(dense, 0), codes, scales;
    if (order.defined()) values = values.index_select(0, order);
    values = values.contiguous();
    std::vector<uint8_t> bytes;
    const bool is_small = type == GgufType::kQ4_0 || type == GgufType::kQ5_0 || type == GgufType::kQ8_0;
    const bool keeps_codes = is_small && fit_grids(weights, type, codes, scales);
    if (keeps_codes) {
      if (order.defined()) {
        codes = codes.index_select(0, order);
        scales = scales.index_select(0, order);
      }
      codes = codes.contiguous();
      scales = scales.contiguous();
      bytes.resize(static_cast<size_t>(scales.numel() * gguf_type_info(type).bytes));
      write_gguf_grid(type, {codes.const_data_ptr<uint8_t>(), static_cast<size_t>(codes.numel())},
                      {static_cast<const uint16_t*>(scales.const_data_ptr()), static_cast<size_t>(scales.numel())},
                      bytes);
    } else {
      bytes = quantize_rows(values, type);
    }
    const Tensor written = read_back(type, bytes, values.sizes());
    int64_t row = 0;
    for (const size_t place : entry.linears) {
      const int64_t rows = weight_rows(block.linears[place].weight);
      options_.summary.account(block.linears[place].name, values.narrow(0, row, rows), written.narrow(0, row, rows),
                               keeps_codes);
      row += rows;
    }
    append(writer, bytes);
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  GgufExport& options_;
  Json keys_;
  std::vector<GgufEntry> frame_entries_;
  std::map<std::string, std::vector<float>> rope_;
  std::vector<GgufTensor> tensors_;
  size_t next_ = 0;
  int64_t replaced_ = 0;  // linears in another type than was asked for
  std::string_view replacement_;
};

}  // namespace

int64_t write_gguf(const Checkpoint& checkpoint, const std::string& path, GgufExport& options) {
  if (options.type != "auto") {
    const GgufTypeInfo* info = find_gguf_type(options.type);
    if (info == nullptr || !info->is_written) {
      throw_input("--type is '{}', expected auto, F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, Q5_K or Q6_K",
                  options.type);
    }
  }
  return Exporter(checkpoint, options).write(path);
}

}  // namespace ockham
