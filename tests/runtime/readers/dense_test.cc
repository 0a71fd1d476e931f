// Dense models of all families: every tensor comes out as it was written, fused, transposed or tied; damaged
// directories are refused with a reason.
#include <gtest/gtest.h>

#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

Json settings_of(const std::string& family) {
  Json settings = llama_settings();
  settings["model_type"] = family;
  if (family == "gpt2")
    settings = {{"model_type", "gpt2"},
                {"n_embd", 64},
                {"n_layer", 2},
                {"n_head", 4},
                {"vocab_size", 40},
                {"n_positions", 32},
                {"torch_dtype", "float32"}};
  if (family == "gpt_neox" || family == "opt") settings.erase("num_key_value_heads");
  if (family == "opt") {
    settings["ffn_dim"] = 96;
    settings["word_embed_proj_dim"] = 32;
  }
  if (family == "mixtral") settings.update({{"num_local_experts", 3}, {"num_experts_per_tok", 2}});
  if (family == "qwen2_moe") {
    settings.update({{"num_experts", 3},
                     {"num_experts_per_tok", 2},
                     {"moe_intermediate_size", 32},
                     {"shared_expert_intermediate_size", 48}});
  }
  return settings;
}

// The rows of a part, by the definition in the families' table: part by part, or head by head.
Numbers part_of(const Numbers& whole, const LinearSpec& spec) {
  Numbers part = {spec.rows, spec.columns, {}};
  const auto add_row = [&](int64_t row) {
    for (int64_t c = 0; c < spec.columns; ++c) part.at.push_back(whole(row, c));
  };
  if (spec.interleaved_heads == 0) {
    for (int64_t r = 0; r < spec.rows; ++r) add_row(spec.first_row + r);
    return part;
  }
  const int64_t dim = spec.rows / spec.interleaved_heads, place = spec.first_row / spec.rows;
  for (int64_t head = 0; head < spec.interleaved_heads; ++head)
    for (int64_t d = 0; d < dim; ++d) add_row((head * 3 + place) * dim + d);
  return part;
}

void expect_same_model(const SmallModel& model, const ModelFiles& files) {
  for (int64_t block = 0; block < model.config.blocks; ++block) {
    for (const LinearSpec& spec : block_linears(model.config, block)) {
      const std::string stored = model.prefix(block) + spec.stored;
      Numbers whole = numbers_of(model.tensors.at(stored + ".weight"));
      if (spec.is_transposed) whole = transposed(whole);
      expect_equal(numbers_of(files.read_linear(block, spec)), part_of(whole, spec), stored + " " + spec.name);
      EXPECT_FALSE(files.read_input_rule(block, spec).rounds_tokens);
      const std::vector<float> bias = files.read_bias(block, spec);
      if (!spec.has_bias) {
        EXPECT_TRUE(bias.empty()) << spec.name;
        continue;
      }
      SmallTensor column = model.tensors.at(stored + ".bias");
      column.shape = {spec.stored_rows, 1};
      LinearSpec one = spec;
      one.columns = 1;
      const std::vector<double> expected = part_of(numbers_of(column), one).at;
      EXPECT_EQ(std::vector<double>(bias.begin(), bias.end()), expected) << spec.name;
    }
    for (const auto& spec : block_tensor_specs(model.config, block)) {
      const SmallTensor& tensor = model.tensors.at(model.prefix(block) + spec.name);
      const std::vector<float> values = files.read_vector(block, spec.role);
      ASSERT_EQ(static_cast<int64_t>(values.size()), count_of(tensor.shape)) << spec.name;
      EXPECT_EQ(values.back(), number_at(tensor, count_of(tensor.shape) - 1)) << spec.name;
      if (tensor.shape.size() == 2)
        expect_equal(numbers_of(files.read_matrix(block, spec.role)), numbers_of(tensor), spec.name);
    }
  }
  for (const auto& spec : frame_tensor_specs(model.config)) {
    const SmallTensor& tensor = model.tensors.at(spec.name);
    EXPECT_EQ(files.read_vector(spec.role)[1], number_at(tensor, 1)) << spec.name;
    if (tensor.shape.size() == 2) expect_equal(numbers_of(files.read_matrix(spec.role)), numbers_of(tensor), spec.name);
  }
}

TEST(DenseModel, ReadsEveryFamilyAndType) {
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "nemotron", "opt", "gpt_neox",
                             "gpt2", "mixtral", "qwen2_moe"}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      SCOPED_TRACE(fmt::format("{} {}", family, dtype_name(dtype)));
      const Scratch scratch;
      const SmallModel model(settings_of(family), dtype);
      model.write(scratch.path());
      const ModelFiles files(scratch.path());
      EXPECT_EQ(files.config().family, family);
      expect_same_model(model, files);
      EXPECT_EQ(files.tokenizer_directory(), scratch.path());
      EXPECT_EQ(files.layout(), "dense float32");
      int64_t bytes = 0, numbers = 0;
      for (const auto& [name, tensor] : model.tensors) {
        bytes += static_cast<int64_t>(tensor.bytes.size());
        numbers += count_of(tensor.shape);
      }
      EXPECT_EQ(files.bytes(), bytes);
      EXPECT_EQ(files.parameters(), numbers);
    }
  }
}

TEST(DenseModel, ViewsRowsWhereTheyLie) {
  const Scratch scratch;
  const SmallModel model(settings_of("phi3"), DType::kBF16);
  model.write(scratch.path());
  const ModelFiles files(scratch.path());
  for (const LinearSpec& spec : block_linears(files.config(), 0)) {
    const KernelMatrix matrix = files.read_linear(0, spec);
    EXPECT_EQ(matrix.description(), "dense bfloat16");
    EXPECT_EQ(matrix.bytes(), spec.rows * spec.columns * 2) << spec.name;
  }
}

TEST(DenseModel, TiedHeadIsTheEmbedding) {
  Json settings = settings_of("llama");
  settings["tie_word_embeddings"] = true;
  const Scratch scratch;
  SmallModel model(settings);
  ASSERT_FALSE(model.tensors.contains("lm_head.weight"));
  model.write(scratch.path());
  const ModelFiles files(scratch.path());
  const SmallTensor& embedding = model.tensors.at("model.embed_tokens.weight");
  expect_equal(numbers_of(files.read_matrix(FrameTensorRole::kHead)), numbers_of(embedding), "head");
  std::vector<float> row(64);
  files.read_row(FrameTensorRole::kEmbedding, 39, row.data());
  for (int64_t c = 0; c < 64; ++c) EXPECT_EQ(row[static_cast<size_t>(c)], number_at(embedding, 39 * 64 + c));
  EXPECT_EQ(files.read_matrix(FrameTensorRole::kPositions).rows(), 0);
  EXPECT_TRUE(files.read_vector(FrameTensorRole::kFinalNormBias).empty());
  EXPECT_TRUE(files.read_vector(0, BlockTensorRole::kQueryNorm).empty());
}

TEST(DenseModel, ReadsShards) {
  const Scratch scratch;
  const SmallModel model(settings_of("llama"), DType::kBF16);
  model.write_config(scratch.path());
  std::map<std::string, SmallTensor> shards[2];
  Json index = {{"weight_map", Json::object()}};
  const char* const names[2] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
  size_t count = 0;
  for (const auto& [name, tensor] : model.tensors) {
    shards[count % 2][name] = tensor;
    index["weight_map"][name] = names[count++ % 2];
  }
  for (const int i : {0, 1}) SmallModel::write_weights(scratch.file(names[i]), shards[i]);
  scratch.put("model.safetensors.index.json", index.dump());
  const ModelFiles files(scratch.path());
  expect_same_model(model, files);
  EXPECT_EQ(files.sha256().size(), 64u);
  std::filesystem::remove(scratch.file(names[1]));
  EXPECT_TRUE(has(error_text([&] { ModelFiles again(scratch.path()); }), {scratch.path(), names[1], "download"}));
}

TEST(DenseModel, ReadsFilesWithoutTheFirstPartOfNames) {
  const Scratch scratch;
  const SmallModel model(settings_of("gpt2"));
  SmallModel bare = model;
  bare.tensors.clear();
  for (const auto& [name, tensor] : model.tensors) bare.tensors[name.substr(name.find('.') + 1)] = tensor;
  bare.write(scratch.path());
  expect_same_model(model, ModelFiles(scratch.path()));
}

// A model with one thing changed, and the error it gives: when opened, or (for contents) when all of it is read.
std::string refusal(const std::function<void(SmallModel&)>& change, bool is_content = false,
                    ErrorKind kind = ErrorKind::kInput) {
  const Scratch scratch;
  SmallModel model(settings_of("llama"));
  change(model);
  model.write(scratch.path());
  if (!is_content) return error_text([&] { ModelFiles files(scratch.path()); }, kind);
  const ModelFiles files(scratch.path());
  return error_text(
      [&] {
        for (const LinearSpec& spec : block_linears(files.config(), 0)) files.read_linear(0, spec);
        files.read_matrix(FrameTensorRole::kHead);
        files.read_vector(0, BlockTensorRole::kInputNorm);
        std::vector<float> row(64);
        files.read_row(FrameTensorRole::kEmbedding, 3, row.data());
      },
      kind);
}

TEST(DenseModel, RefusesWhatIsNoModel) {
  const Scratch scratch;
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.file("absent")); }), {"absent", "no such directory"}));
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.path()); }), {"config.json is missing"}));
  scratch.put("config.json", settings_of("llama").dump());
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.path()); }), {"found neither model.safetensors nor"}));
  scratch.put("pytorch_model.bin", "x");
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.path()); }, ErrorKind::kUnsupported),
                  {"pytorch_model.bin", "save_pretrained"}));
}

TEST(DenseModel, RefusesTensorsThatDoNotFit) {
  const std::string up = "model.layers.1.mlp.up_proj.weight";
  EXPECT_TRUE(has(refusal([&](SmallModel& m) { m.tensors.erase(up); }), {up, "missing", "[96, 64]"}));
  EXPECT_TRUE(has(refusal([&](SmallModel& m) { m.tensors[up].shape = {64, 96}; }), {up, "[64, 96]", "[96, 64]"}));
  const auto make_integers = [&](SmallModel& m) { m.tensors[up].dtype = DType::kI32; };
  EXPECT_TRUE(has(refusal(make_integers, false, ErrorKind::kUnsupported), {up, "I32", "F32, F16 or BF16"}));
}

TEST(DenseModel, RefusesNumbersThatAreNotFinite) {
  for (const std::string name : {"model.layers.0.mlp.up_proj.weight", "model.layers.0.input_layernorm.weight",
                                 "lm_head.weight", "model.embed_tokens.weight"}) {
    const float broken[] = {std::nanf(""), INFINITY};
    const auto change = [&](SmallModel& m) { std::memcpy(m.tensors[name].bytes.data() + 20, broken, sizeof broken); };
    EXPECT_TRUE(has(refusal(change, true), {"model.safetensors", name, "holds 2 non-finite", "nan", "element 5"}));
  }
}

}  // namespace
}  // namespace ockham
