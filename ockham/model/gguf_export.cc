// Writing of GGUF models.
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/io/formats/gguf_tokenizer.h"
#include "ockham/model/checkpoint.h"
#include "ockham/model/families.h"
#include "ockham/model/gguf_model.h"
#include "ockham/model/gguf_names.h"
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
  const auto* group = std::get_if<GroupIntWeight>(&weight);
  if (group == nullptr || group->group_index.defined()) return false;
  const int64_t columns = group->codes.size(1);
  if (columns % 32 != 0 || (group->group_size % 32 != 0 && group->group_size < columns)) return false;
  if (!refit_codes(*group, gguf_grid(type)->bits, false, result)) return false;
  result.scales = group->scales.to(at::kHalf)
                      .repeat_interleave(std::min(group->group_size, columns) / 32, 1)
                      .narrow(1, 0, columns / 32)
                      .contiguous();
  return result.scales.isfinite().all().item<bool>();
}

// The type of a linear: what was asked for; where its rows are not whole blocks of it, the nearest larger type with
// short blocks. For "auto" the smallest that keeps the codes.
GgufType choose_type(const Weight& weight, const std::string& asked, DType dtype) {
  if (asked != "auto") {
    const GgufType type = find_gguf_type(asked)->type;
    const int64_t columns = weight_columns(weight);
    if (columns % gguf_type_info(type).elements == 0) return type;
    if (columns % 32 != 0) return plain_type(dtype, asked);
    return type == GgufType::kQ4K ? GgufType::kQ5_0 : GgufType::kQ8_0;
  }
  GroupIntWeight unused;
  for (const GgufType type : {GgufType::kQ4_0, GgufType::kQ5_0, GgufType::kQ8_0}) {
    if (fit_grid(weight, type, unused)) return type;
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
  Exporter(const Checkpoint& checkpoint, GgufExport& options) : checkpoint_(checkpoint), options_(options) {
    const ModelConfig& config = checkpoint.config();
    for (const auto& [type, name] : kGgufArchitectures) {
      if (config.family == type) architecture_ = name;
    }
    if (architecture_.empty()) {
      throw_error(ErrorKind::kUnsupported,
                  "{}: key 'model_type' is '{}', which is not written to GGUF here, expected llama or mistral; write "
                  "safetensors",
                  checkpoint.directory(), config.family);
    }
    if (config.rope.type != "default" && config.rope.type != "linear") {
      throw_error(
          ErrorKind::kUnsupported,
          "{}: rope_type is '{}', which is not written to GGUF here, expected default or linear; write safetensors",
          checkpoint.directory(), config.rope.type);
    }
  }

  int64_t write(const std::string& path) {
    declare();
    if (replaced_ > 0) {
      log_warning(fmt::format("{}: {} linears have rows that are not whole blocks of {}; they are written as {}", path,
                              replaced_, options_.type, replacement_));
    }
    GgufWriter writer(path, keys(), tensors_);
    const DType dtype = checkpoint_.config().dtype;
    write_frame(writer, *checkpoint_.read_frame(dtype));
    const int64_t blocks = checkpoint_.config().blocks;
    for (int64_t index = 0; index < blocks; ++index) {
      check_interrupt();
      report_progress({"convert " + path, index, blocks, "blocks"});
      write_block(writer, checkpoint_.read_block(index, dtype));
    }
    writer.finish();
    return writer.bytes();
  }

 private:
  void declare_tensor(const std::string& name, GgufType type, const at::IntArrayRef& shape) {
    const auto translated = to_gguf_name(name);
    OCKHAM_CHECK(translated.has_value());
    tensors_.push_back({*translated, type, shape.vec(), 0, 0});
  }
  // Types follow from shapes and grids, which are the same in every block for a given recipe only by chance: each block
  // is looked at.
  void declare() {
    const DType dtype = checkpoint_.config().dtype;
    const auto frame = checkpoint_.read_frame(dtype);
    const GgufType plain = plain_type(dtype, options_.type);
    declare_tensor("model.embed_tokens.weight", plain, frame->embedding.sizes());
    declare_tensor("model.norm.weight", GgufType::kF32, frame->final_norm.sizes());
    if (frame->head.defined()) declare_tensor("lm_head.weight", plain, frame->head.sizes());
    const Family& family = *find_family(checkpoint_.config().family);
    for (int64_t index = 0; index < checkpoint_.config().blocks; ++index) {
      check_interrupt();
      const Block block = checkpoint_.read_block(index, dtype);
      const std::string prefix = block_prefix(family, index);
      declare_tensor(prefix + "input_layernorm.weight", GgufType::kF32, block.input_norm.sizes());
      declare_tensor(prefix + "post_attention_layernorm.weight", GgufType::kF32, block.post_attention_norm.sizes());
      for (const Linear& linear : block.linears) {
        const GgufType type = choose_type(linear.weight, options_.type, dtype);
        if (options_.type != "auto" && type != find_gguf_type(options_.type)->type) {
          ++replaced_;
          replacement_ = gguf_type_info(type).name;
        }
        declare_tensor(linear.name + ".weight", type, {weight_rows(linear.weight), weight_columns(linear.weight)});
        if (linear.bias.defined()) declare_tensor(linear.name + ".bias", GgufType::kF32, linear.bias.sizes());
      }
    }
  }

  Json keys() const {
    const ModelConfig& config = checkpoint_.config();
    const std::string name = architecture_ + ".";
    uint32_t file_type = 0;
    for (const GgufTensor& tensor : tensors_) {
      if (tensor.name.find("ffn_up") != std::string::npos) file_type = gguf_type_info(tensor.type).file_type;
    }
    Json keys = {{"general.architecture", architecture_},
                 {"general.name", config.family},
                 {"general.file_type", file_type},
                 {"general.quantization_version", 2},
                 {name + "vocab_size", config.vocabulary},
                 {name + "context_length", config.context_length},
                 {name + "embedding_length", config.hidden_size},
                 {name + "block_count", config.blocks},
                 {name + "feed_forward_length", config.intermediate_size},
                 {name + "attention.head_count", config.heads},
                 {name + "attention.head_count_kv", config.kv_heads},
                 {name + "attention.key_length", config.head_dim},
                 {name + "attention.value_length", config.head_dim},
                 {name + "attention.layer_norm_rms_epsilon", config.norm_eps},
                 {name + "rope.dimension_count", config.head_dim},
                 {name + "rope.freq_base", config.rope.theta}};
    if (config.rope.type == "linear") {
      keys[name + "rope.scaling.type"] = "linear";
      keys[name + "rope.scaling.factor"] = config.rope.factor;
    }
    if (checkpoint_.gguf() != nullptr) {
      for (const auto& [key, value] : checkpoint_.gguf()->keys().items()) {
        if (!key.starts_with("tokenizer.")) continue;
        keys[key] = key == "tokenizer.ggml.token_type" ? Json{{"i32", value}} : value;
      }
      return keys;
    }
    const Json tokenizer = make_gguf_tokenizer(checkpoint_.directory(), config.vocabulary);
    for (const auto& [key, value] : tokenizer.items()) keys[key] = value;
    return keys;
  }

  void write_frame(GgufWriter& writer, const Decoder& frame) {
    const GgufType type = plain_type(checkpoint_.config().dtype, options_.type);
    const at::ScalarType scalar = type == GgufType::kF16    ? at::kHalf
                                  : type == GgufType::kBF16 ? at::kBFloat16
                                                            : at::kFloat;
    writer.append("token_embd.weight", raw_bytes(frame.embedding.to(scalar).contiguous()));
    writer.append("output_norm.weight", raw_bytes(frame.final_norm.to(at::kFloat).contiguous()));
    if (frame.head.defined()) writer.append("output.weight", raw_bytes(frame.head.to(scalar).contiguous()));
    next_ = frame.head.defined() ? 3 : 2;
  }

  void append(GgufWriter& writer, std::span<const uint8_t> bytes) { writer.append(tensors_[next_++].name, bytes); }

  void write_block(GgufWriter& writer, const Block& block) {
    append(writer, raw_bytes(block.input_norm.to(at::kFloat).contiguous()));
    append(writer, raw_bytes(block.post_attention_norm.to(at::kFloat).contiguous()));
    for (const Linear& linear : block.linears) {
      const int64_t heads = architecture_ != "llama"                    ? 0
                            : linear.name.ends_with("self_attn.q_proj") ? checkpoint_.config().heads
                            : linear.name.ends_with("self_attn.k_proj") ? checkpoint_.config().kv_heads
                                                                        : 0;
      Tensor order;
      if (heads > 0) order = gguf_rope_order(heads, checkpoint_.config().head_dim);
      write_linear(writer, linear, order);
      if (!linear.bias.defined()) continue;
      const Tensor bias = linear.bias.to(at::kFloat);
      append(writer, raw_bytes((order.defined() ? bias.index_select(0, order) : bias).contiguous()));
    }
  }

  void write_linear(GgufWriter& writer, const Linear& linear, const Tensor& order) {
    const GgufType type = tensors_[next_].type;
    Tensor values = weight_to_dense(linear.weight, at::kFloat);
    if (order.defined()) values = values.index_select(0, order);
    values = values.contiguous();
    GroupIntWeight grid;
    std::vector<uint8_t> bytes;
    const bool is_small = type == GgufType::kQ4_0 || type == GgufType::kQ5_0 || type == GgufType::kQ8_0;
    const bool keeps_codes = is_small && fit_grid(linear.weight, type, grid);
    if (keeps_codes) {
      if (order.defined()) {
        grid.codes = grid.codes.index_select(0, order);
        grid.scales = grid.scales.index_select(0, order);
      }
      const Tensor codes = grid.codes.contiguous(), scales = grid.scales.contiguous();
      bytes.resize(static_cast<size_t>(scales.numel() * gguf_type_info(type).bytes));
      write_gguf_grid(type, {codes.const_data_ptr<uint8_t>(), static_cast<size_t>(codes.numel())},
                      {static_cast<const uint16_t*>(scales.const_data_ptr()), static_cast<size_t>(scales.numel())},
                      bytes);
    } else {
      bytes = quantize_rows(values, type);
    }
    options_.summary.account(linear.name, values, read_back(type, bytes, values.sizes()), keeps_codes);
    append(writer, bytes);
  }

  const Checkpoint& checkpoint_;
  GgufExport& options_;
  std::string architecture_;
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
