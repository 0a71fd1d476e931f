// Models in GGUF files: every tensor type against its formula, rows of q and k in Hugging Face's order, tensors that
// hold several linears, norms stored as 1 + weight; damaged files are refused.
#include "ockham/io/formats/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "ockham/io/families/gguf_layout.h"
#include "ockham/io/families/gguf_settings.h"
#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

double half_at(const uint8_t* at) {
  return half_to_float(static_cast<uint16_t>(at[0] | at[1] << 8));
}

// Types of 32 elements; `low` is where the nibbles begin.
double small_element(GgufType type, const uint8_t* b, int i) {
  if (type == GgufType::kQ8_0) return half_at(b) * static_cast<int8_t>(b[2 + i]);
  const bool has_high = type == GgufType::kQ5_0 || type == GgufType::kQ5_1;
  const bool has_minimum = type == GgufType::kQ4_1 || type == GgufType::kQ5_1;
  const uint8_t *high = b + (has_minimum ? 4 : 2), *low = high + (has_high ? 4 : 0);
  int code = low[i % 16] >> (i < 16 ? 0 : 4) & 15;
  if (has_high) code |= (high[i / 8] >> i % 8 & 1) << 4;
  if (has_minimum) return half_at(b) * code + half_at(b + 2);
  return half_at(b) * (code - (has_high ? 16 : 8));
}

int two_bits(const uint8_t* codes, int i) {
  return codes[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
}

double q3_element(const uint8_t* b, int i) {
  const uint8_t *hmask = b, *codes = b + 32, *scales = b + 96;
  const int code = two_bits(codes, i) | (hmask[i % 32] >> (4 * (i / 128) + i % 128 / 32) & 1) << 2, s = i / 16;
  const int scale = (s < 8 ? scales[s] & 15 : scales[s - 8] >> 4) | (scales[8 + s % 4] >> 2 * (s / 4) & 3) << 4;
  return half_at(b + 108) * (scale - 32) * (code - 4);
}

double q45_element(const uint8_t* b, bool has_high, int i) {
  const uint8_t *scales = b + 4, *high = b + 16, *low = b + (has_high ? 48 : 16);
  const int s = i / 32;
  const int scale = s < 4 ? scales[s] & 63 : (scales[s + 4] & 15) | scales[s - 4] >> 6 << 4;
  const int minimum = s < 4 ? scales[s + 4] & 63 : scales[s + 4] >> 4 | scales[s] >> 6 << 4;
  int code = low[i / 64 * 32 + i % 32] >> 4 * (s % 2) & 15;
  if (has_high) code |= (high[i % 32] >> s & 1) << 4;
  return half_at(b) * scale * code - half_at(b + 2) * minimum;
}

double q6_element(const uint8_t* b, int i) {
  const int half = i / 128, part = i % 128 / 32, l = i % 32;
  const int low = b[64 * half + l + 32 * (part % 2)] >> 4 * (part / 2) & 15,
            high = b[128 + 32 * half + l] >> 2 * part & 3;
  return half_at(b + 208) * static_cast<int8_t>(b[192 + i / 16]) * ((low | high << 4) - 32);
}

double element_of(GgufType type, const uint8_t* b, int i) {
  switch (type) {
    case GgufType::kQ2K:
      return half_at(b + 80) * (b[i / 16] & 15) * two_bits(b + 16, i) - half_at(b + 82) * (b[i / 16] >> 4);
    case GgufType::kQ3K:
      return q3_element(b, i);
    case GgufType::kQ4K:
    case GgufType::kQ5K:
      return q45_element(b, type == GgufType::kQ5K, i);
    case GgufType::kQ6K:
      return q6_element(b, i);
    default:
      return small_element(type, b, i);
  }
}

// Where the F16 numbers of a block are.
std::vector<int64_t> halves_of(GgufType type) {
  switch (type) {
    case GgufType::kQ2K:
      return {80, 82};
    case GgufType::kQ3K:
      return {108};
    case GgufType::kQ6K:
      return {208};
    case GgufType::kQ4_1:
    case GgufType::kQ5_1:
    case GgufType::kQ4K:
    case GgufType::kQ5K:
      return {0, 2};
    default:
      return {0};
  }
}

// A file under construction; what each of Hugging Face's tensors means.
class SmallGguf {
 public:
  SmallGguf(const SmallModel& model, GgufType type) : model_(model), type_(type), keys(gguf_keys(model.config, "x")) {
    for (const GgufEntry& entry : gguf_frame(model.config)) add(entry);
    for (int64_t block = 0; block < model.config.blocks; ++block)
      for (const GgufEntry& entry : gguf_block(model.config, block)) add(entry);
  }
  std::string write(const Scratch& scratch) const {
    std::vector<GgufTensor> infos;
    for (const auto& [tensor, bytes] : tensors) infos.push_back(tensor);
    GgufWriter writer(scratch.file("model.gguf"), keys, infos);
    for (const auto& [tensor, bytes] : tensors)
      writer.append(tensor.name, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    writer.finish();
    return scratch.file("model.gguf");
  }

 private:
  void add(const GgufEntry& entry) {
    const bool is_quantized = entry.kind == GgufEntry::Kind::kWeight && gguf_type_info(type_).elements > 1;
    std::string bytes = is_quantized ? random_blocks(entry) : "";
    GgufType type = is_quantized ? type_ : GgufType::kF32;
    if (!is_quantized) {
      if (entry.kind != GgufEntry::Kind::kFloat && type_ == GgufType::kBF16) type = type_;
      for (const GgufEntry::Part& part : entry.parts) bytes += floats_of(entry, part, type);
    }
    tensors.push_back({{entry.name, type, entry.shape, 0, 0}, bytes});
  }
  // One of Hugging Face's tensors as the file has it.
  std::string floats_of(const GgufEntry& entry, const GgufEntry::Part& part, GgufType type) {
    Numbers numbers = stored(part);
    meant[part.name] = numbers;
    std::vector<float> values(numbers.at.size());
    for (int64_t r = 0; r < numbers.rows; ++r) {
      for (int64_t c = 0; c < numbers.columns; ++c) {
        const int64_t to = file_row(entry, r, numbers.rows) * numbers.columns + c;
        values[static_cast<size_t>(to)] = static_cast<float>(numbers(r, c) + entry.shift);
      }
    }
    return float_tensor(type == GgufType::kBF16 ? DType::kBF16 : DType::kF32, part.shape, values).bytes;
  }
  // Vectors as one column. Parts that share a tensor in the directory are cut out of it, gpt2's are transposed.
  Numbers stored(const GgufEntry::Part& part) const {
    const auto found = model_.tensors.find(part.name);
    if (found == model_.tensors.end()) return part_of_fused(part);
    SmallTensor tensor = found->second;
    if (tensor.shape.size() == 1) tensor.shape.push_back(1);
    const Numbers numbers = numbers_of(tensor);
    const bool is_transposed =
        find_family(model_.config.family)->is_transposed && part.name.find("h.") != std::string::npos;
    return is_transposed && part.shape.size() == 2 ? transposed(numbers) : numbers;
  }
  Numbers part_of_fused(const GgufEntry::Part& part) const {
    for (int64_t block = 0; block < model_.config.blocks; ++block) {
      for (const LinearSpec& spec : block_linears(model_.config, block)) {
        for (const char* suffix : {".weight", ".bias"}) {
          if (model_.prefix(block) + spec.name + suffix != part.name) continue;
          SmallTensor tensor = model_.tensors.at(model_.prefix(block) + spec.stored + suffix);
          if (tensor.shape.size() == 1) tensor.shape.push_back(1);
          Numbers whole = numbers_of(tensor), cut = {spec.rows, whole.columns, {}};
          if (spec.is_transposed && whole.columns > 1) {
            whole = transposed(whole);
            cut.columns = whole.columns;
          }
          for (int64_t r = 0; r < spec.rows; ++r)
            for (int64_t c = 0; c < cut.columns; ++c) cut.at.push_back(whole(spec.first_row + r, c));
          return cut;
        }
      }
    }
    ADD_FAILURE() << part.name;
    return {};
  }
  // Row (head, half, i) of q and k lies at (head, i, half).
  static int64_t file_row(const GgufEntry& entry, int64_t row, int64_t rows) {
    if (entry.heads == 0) return row;
    const int64_t dim = rows / entry.heads, head = row / dim, half = row % dim / (dim / 2), i = row % (dim / 2);
    return head * dim + 2 * i + half;
  }
  std::string random_blocks(const GgufEntry& entry) {
    const GgufTypeInfo& info = gguf_type_info(type_);
    std::string bytes;
    for (const GgufEntry::Part& part : entry.parts) {
      const int64_t rows = part.shape[0], columns = part.shape[1], width = columns / info.elements * info.bytes;
      std::string of_part;
      for (int64_t b = 0; b < rows * columns / info.elements; ++b) {
        std::string block;
        for (int64_t i = 0; i < info.bytes; ++i) block += static_cast<char>(rng_.below(256));
        for (const int64_t at : halves_of(type_)) {
          const uint16_t half = float_to_half(static_cast<float>(0.01 + rng_.uniform() * 0.05));
          std::memcpy(block.data() + at, &half, sizeof half);
        }
        of_part += block;
      }
      Numbers numbers = {rows, columns, {}};
      const auto* data = reinterpret_cast<const uint8_t*>(of_part.data());
      for (int64_t r = 0; r < rows; ++r) {
        const uint8_t* row = data + file_row(entry, r, rows) * width;
        for (int64_t c = 0; c < columns; ++c)
          numbers.at.push_back(
              element_of(type_, row + c / info.elements * info.bytes, static_cast<int>(c % info.elements)));
      }
      meant[part.name] = numbers;
      bytes += of_part;
    }
    return bytes;
  }

  const SmallModel& model_;
  GgufType type_;
  Rng rng_{5};

 public:
  Json keys;
  std::vector<std::pair<GgufTensor, std::string>> tensors;
  std::map<std::string, Numbers> meant;
};

Json settings_of(const std::string& family, int64_t hidden = 64, int64_t inner = 96) {
  Json settings = llama_settings(hidden, inner);
  settings["model_type"] = family;
  if (family == "gpt2") {
    settings = {
        {"model_type", "gpt2"}, {"n_embd", hidden},         {"n_layer", 2},    {"n_head", 4}, {"vocab_size", 40},
        {"n_positions", 32},    {"torch_dtype", "float32"}, {"n_inner", inner}};
  }
  if (family == "mixtral") settings.update({{"num_local_experts", 3}, {"num_experts_per_tok", 2}});
  if (family == "qwen2_moe") {
    settings.update({{"num_experts", 3},
                     {"num_experts_per_tok", 2},
                     {"moe_intermediate_size", 32},
                     {"norm_topk_prob", false},
                     {"shared_expert_intermediate_size", 64}});
  }
  if (family == "gpt_neox") settings.update({{"num_key_value_heads", 4}, {"rotary_pct", 0.5}});
  if (family == "gemma2") {
    settings.update({{"tie_word_embeddings", true},
                     {"head_dim", hidden / 4},
                     {"query_pre_attn_scalar", hidden / 4},
                     {"attn_logit_softcapping", 50.0},
                     {"final_logit_softcapping", 30.0}});
  }
  return settings;
}

void expect_same_model(const SmallGguf& gguf, const ModelConfig& config, const ModelFiles& files) {
  const Family& family = *find_family(config.family);
  EXPECT_EQ(files.config().family, config.family);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const std::string prefix = block_prefix(family, block);
    for (const LinearSpec& spec : block_linears(files.config(), block)) {
      expect_equal(numbers_of(files.read_linear(block, spec)), gguf.meant.at(prefix + spec.name + ".weight"),
                   spec.name);
      const std::vector<float> bias = files.read_bias(block, spec);
      ASSERT_EQ(bias.empty(), !spec.has_bias) << spec.name;
      if (spec.has_bias) {
        EXPECT_EQ(std::vector<double>(bias.begin(), bias.end()), gguf.meant.at(prefix + spec.name + ".bias").at);
      }
    }
    for (const auto& spec : block_tensor_specs(config, block)) {
      const Numbers& meant = gguf.meant.at(prefix + spec.name);
      const std::vector<float> values = files.read_vector(block, spec.role);
      ASSERT_EQ(values.size(), meant.at.size()) << spec.name;
      for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], meant.at[i], 2e-7) << spec.name;
      if (spec.shape.size() == 2) expect_equal(numbers_of(files.read_matrix(block, spec.role)), meant, spec.name);
    }
  }
  for (const auto& spec : frame_tensor_specs(config)) {
    if (spec.shape.size() == 2)
      expect_equal(numbers_of(files.read_matrix(spec.role)), gguf.meant.at(spec.name), spec.name);
  }
  std::vector<float> row(static_cast<size_t>(config.hidden_size));
  files.read_row(FrameTensorRole::kEmbedding, 7, row.data());
  const Numbers& embedding = gguf.meant.at(std::string(family.embedding) + ".weight");
  for (int64_t c = 0; c < config.hidden_size; ++c) EXPECT_EQ(row[static_cast<size_t>(c)], embedding(7, c));
}

TEST(GgufFiles, ReadsEveryArchitecture) {
  for (const char* family :
       {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "phi3", "gemma2", "gpt2", "gpt_neox"}) {
    for (const GgufType type : {GgufType::kF32, GgufType::kBF16, GgufType::kQ8_0}) {
      SCOPED_TRACE(fmt::format("{} {}", family, gguf_type_info(type).name));
      // Numbers that BF16 holds.
      const SmallModel model(settings_of(family), DType::kBF16);
      const SmallGguf gguf(model, type);
      const Scratch scratch;
      const ModelFiles files(gguf.write(scratch));
      expect_same_model(gguf, model.config, files);
      EXPECT_TRUE(files.tokenizer_directory().ends_with("model.gguf"));
      EXPECT_EQ(files.parameters(), parameter_count(model.config));
    }
  }
}

TEST(GgufFiles, ReadsEveryTypeByItsFormula) {
  const SmallModel model(settings_of("llama", 256, 512), DType::kBF16);
  for (const GgufTypeInfo& info : gguf_types()) {
    if (info.elements == 1) continue;
    SCOPED_TRACE(info.name);
    const SmallGguf gguf(model, info.type);
    const Scratch scratch;
    const ModelFiles files(gguf.write(scratch));
    EXPECT_EQ(files.layout(), fmt::format("gguf, llama: 14 {}", info.name));
    for (const LinearSpec& spec : block_linears(files.config(), 1)) {
      const KernelMatrix matrix = files.read_linear(1, spec);
      EXPECT_TRUE(matrix.description().starts_with("int")) << matrix.description();
      expect_equal(numbers_of(matrix), gguf.meant.at("model.layers.1." + spec.name + ".weight"), spec.name);
    }
  }
}

// Embedding and head are quantized, too, in files of others.
TEST(GgufFiles, ReadsRowsOfQuantizedEmbeddings) {
  const SmallModel model(settings_of("llama", 256, 256), DType::kBF16);
  for (const GgufType type : {GgufType::kQ6K, GgufType::kQ4K, GgufType::kQ8_0}) {
    SmallGguf gguf(model, GgufType::kF32);
    std::string bytes;
    const GgufTypeInfo& info = gguf_type_info(type);
    for (int64_t i = 0; i < 40 * 256 / info.elements * info.bytes; ++i) bytes += static_cast<char>(i * 37 % 101 % 60);
    for (auto& [tensor, content] : gguf.tensors) {
      if (tensor.name != "token_embd.weight" && tensor.name != "output.weight") continue;
      tensor.type = type;
      content = bytes;
    }
    const Scratch scratch;
    const ModelFiles files(gguf.write(scratch));
    std::vector<float> row(256);
    files.read_row(FrameTensorRole::kEmbedding, 39, row.data());
    const Numbers head = numbers_of(files.read_matrix(FrameTensorRole::kHead));
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    double largest = 0;
    for (int64_t c = 0; c < 256; ++c)
      largest = std::max(largest, std::abs(static_cast<double>(row[static_cast<size_t>(c)])));
    for (int64_t c = 0; c < 256; ++c) {
      const uint8_t* block = data + (39 * 256 + c) / info.elements * info.bytes;
      const double meant = element_of(type, block, static_cast<int>(c % info.elements));
      EXPECT_NEAR(row[static_cast<size_t>(c)], meant, 1e-6 * largest);
      EXPECT_NEAR(head(39, c), meant, 1e-4 * largest);
    }
  }
}

std::string refusal(const std::function<void(SmallGguf&)>& change, bool is_content = false,
                    ErrorKind kind = ErrorKind::kInput) {
  const SmallModel model(settings_of("llama"), DType::kBF16);
  SmallGguf gguf(model, GgufType::kQ8_0);
  change(gguf);
  const Scratch scratch;
  const std::string path = gguf.write(scratch);
  if (!is_content) return error_text([&] { ModelFiles files(path); }, kind);
  const ModelFiles files(path);
  return error_text([&] {
    for (const LinearSpec& spec : block_linears(files.config(), 0)) files.read_linear(0, spec);
    files.read_vector(FrameTensorRole::kFinalNorm);
  });
}

TEST(GgufFiles, RefusesWhatDoesNotFit) {
  const auto tensor = [](SmallGguf& gguf, const std::string& name) -> std::pair<GgufTensor, std::string>& {
    return *std::find_if(gguf.tensors.begin(), gguf.tensors.end(),
                         [&](const auto& candidate) { return candidate.first.name == name; });
  };
  EXPECT_TRUE(has(refusal([&](SmallGguf& g) { tensor(g, "blk.1.ffn_up.weight").first.name = "blk.1.other.weight"; }),
                  {"model.gguf", "blk.1.ffn_up.weight", "missing"}));
  EXPECT_TRUE(has(refusal([&](SmallGguf& g) {
                    tensor(g, "blk.0.attn_q.weight").first.shape = {32, 128};
                  }),
                  {"model.gguf", "blk.0.attn_q.weight", "[32,128]", "[64,64]"}));
  EXPECT_TRUE(
      has(refusal([&](SmallGguf& g) { g.keys["general.architecture"] = "mamba"; }, false, ErrorKind::kUnsupported),
          {"model.gguf", "'mamba'", "llama"}));
  const auto break_scale = [&](SmallGguf& g) {
    const uint16_t infinite = 0x7c00;
    std::memcpy(tensor(g, "blk.0.ffn_down.weight").second.data() + 34, &infinite, 2);
  };
  EXPECT_TRUE(has(refusal(break_scale, true), {"model.gguf", "blk.0.ffn_down.weight", "non-finite"}));
  const auto break_norm = [&](SmallGguf& g) {
    const float broken = std::nanf("");
    std::memcpy(tensor(g, "output_norm.weight").second.data() + 8, &broken, 4);
  };
  EXPECT_TRUE(has(refusal(break_norm, true), {"model.gguf", "output_norm.weight", "nan", "element 2"}));
}

}  // namespace
}  // namespace ockham
