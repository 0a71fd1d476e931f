// Model directories: round trips, shards, the Hub cache, and every way in which one can be broken.
#include "ockham/model/checkpoint.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

void expect_same(const Decoder& a, const Decoder& b) {
  const auto left = a.parameters(), right = b.parameters();
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].first, right[i].first);
    EXPECT_TRUE(at::equal(left[i].second, right[i].second)) << left[i].first;
  }
}

TEST(Checkpoint, DenseRoundTripInEveryElementType) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const test::ScratchDirectory scratch;
    ModelConfig config = test::tiny_config();
    config.tied_embeddings = dtype == DType::kF32;
    config.attention_bias = dtype == DType::kF16;
    const auto decoder = Decoder::random(config, 5, dtype);
    save_decoder(*decoder, scratch.path(), dtype, "");
    const Checkpoint checkpoint(scratch.path());
    EXPECT_EQ(checkpoint.config().dtype, dtype);
    EXPECT_TRUE(checkpoint.unused_tensors().empty());
    int64_t parameters = 0;
    for (const auto& [name, tensor] : decoder->parameters()) parameters += tensor.numel();
    EXPECT_EQ(checkpoint.parameters(), parameters);
    EXPECT_EQ(checkpoint.bytes(), parameters * dtype_size(dtype));
    expect_same(*checkpoint.read_all(dtype), *decoder);
  }
}

TEST(Checkpoint, ShardsAreIndexedAndReadBack) {
  const test::ScratchDirectory scratch;
  const auto decoder = Decoder::random(test::tiny_config(), 6, DType::kF32);
  CheckpointWriter writer(scratch.path(), decoder->config, {.is_packed = false, .shard_bytes = 6000});
  write_frame(writer, *decoder, DType::kF32);
  for (int64_t i = 0; i < 2; ++i) write_block(writer, decoder->blocks[static_cast<size_t>(i)], i, DType::kF32);
  writer.finish("");
  const Json index = read_json_file(scratch.path("model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"].get<int64_t>(), writer.bytes());
  EXPECT_FALSE(fs::exists(scratch.path("model.safetensors")));
  int files = 0;
  for (const auto& entry : fs::directory_iterator(scratch.path())) files += entry.path().extension() == ".safetensors";
  EXPECT_GT(files, 2);
  expect_same(*Checkpoint(scratch.path()).read_all(DType::kF32), *decoder);
}

TEST(Checkpoint, HashChangesWithAnyWeight) {
  const test::ScratchDirectory one, two;
  const auto decoder = Decoder::random(test::tiny_config(), 6, DType::kF32);
  save_decoder(*decoder, one.path(), DType::kF32, "");
  decoder->final_norm[3] = 1.5f;
  save_decoder(*decoder, two.path(), DType::kF32, "");
  EXPECT_EQ(Checkpoint(one.path()).sha256(), Checkpoint(one.path()).sha256());
  EXPECT_NE(Checkpoint(one.path()).sha256(), Checkpoint(two.path()).sha256());
}

TEST(Checkpoint, HubIdsComeFromTheLocalCache) {
  const test::ScratchDirectory scratch;
  const std::string folder = scratch.path("models--org--name");
  fs::create_directories(folder + "/snapshots/abc123");
  fs::create_directories(folder + "/refs");
  test::write_text(folder + "/refs/main", "abc123\n");
  save_decoder(*Decoder::random(test::tiny_config(), 1, DType::kF32), folder + "/snapshots/abc123", DType::kF32, "");
  setenv("HF_HUB_CACHE", scratch.path().c_str(), 1);
  EXPECT_EQ(Checkpoint("org/name").directory(), folder + "/snapshots/abc123");
  fs::remove(folder + "/refs/main");
  EXPECT_EQ(Checkpoint("org/name").config().blocks, 2);
  EXPECT_THROW(Checkpoint("org/other"), Error);
  unsetenv("HF_HUB_CACHE");
}

// Changes one thing in a good model directory and expects one message with all of these parts.
struct Damage {
  const char* name;
  std::function<void(const std::string& directory)> apply;
  std::vector<std::string> expected;
};

void rewrite(const std::string& directory,
             const std::function<void(std::vector<TensorInfo>&, std::map<std::string, Tensor>&)>& change) {
  const auto decoder = Checkpoint(directory).read_all(DType::kF32);
  std::vector<TensorInfo> infos;
  std::map<std::string, Tensor> values;
  for (const auto& [name, tensor] : decoder->parameters()) {
    infos.push_back({name, DType::kF32, tensor.sizes().vec(), 0, 0});
    values[name] = tensor.clone();
  }
  change(infos, values);
  SafetensorsWriter writer(directory + "/model.safetensors", infos, {});
  for (const TensorInfo& info : infos) {
    const Tensor& value = values.at(info.name);
    writer.append(info.name, {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  }
  writer.finish();
}

void edit_config(const std::string& directory, const std::function<void(Json&)>& change) {
  Json config = read_json_file(directory + "/config.json");
  change(config);
  test::write_text(directory + "/config.json", config.dump());
}

const char* const kUp = "model.layers.1.mlp.up_proj.weight";

std::vector<Damage> damages() {
  return {
      {"no config", [](const std::string& d) { fs::remove(d + "/config.json"); }, {"config.json", "missing"}},
      {"config is not JSON", [](const std::string& d) { test::write_text(d + "/config.json", "{"); }, {"config.json"}},
      {"config key",
       [](const std::string& d) { edit_config(d, [](Json& c) { c.erase("vocab_size"); }); },
       {"config.json", "vocab_size"}},
      {"no weights",
       [](const std::string& d) { fs::remove(d + "/model.safetensors"); },
       {"model.safetensors", "neither"}},
      {"truncated",
       [](const std::string& d) { fs::resize_file(d + "/model.safetensors", 3000); },
       {"model.safetensors"}},
      {"trailing bytes",
       [](const std::string& d) { std::ofstream(d + "/model.safetensors", std::ios::app) << "xx"; },
       {"model.safetensors"}},
      {"config of another model",
       [](const std::string& d) { edit_config(d, [](Json& c) { c["intermediate_size"] = 25; }); },
       {"model.layers.0.mlp.gate_proj.weight", "[24, 16]", "[25, 16]", "config.json"}},
      {"one block too few",
       [](const std::string& d) { edit_config(d, [](Json& c) { c["num_hidden_layers"] = 3; }); },
       {"model.layers.2.input_layernorm.weight", "missing"}},
      {"missing tensor",
       [](const std::string& d) {
         rewrite(d, [](auto& infos, auto&) {
           std::erase_if(infos, [](const TensorInfo& info) { return info.name == kUp; });
         });
       },
       {kUp, "missing", "[24, 16]"}},
      {"unknown use of a dtype",
       [](const std::string& d) {
         rewrite(d, [](auto& infos, auto& values) {
           for (TensorInfo& info : infos) {
             if (info.name == kUp) info.dtype = DType::kI32;
           }
           values[kUp] = values[kUp].to(at::kInt);
         });
       },
       {kUp, "I32", "F32, F16 or BF16"}},
      {"not a number",
       [](const std::string& d) { rewrite(d, [](auto&, auto& values) { values[kUp][2][1].fill_(NAN); }); },
       {kUp, "non-finite", "nan", "33"}},
      {"infinite",
       [](const std::string& d) { rewrite(d, [](auto&, auto& values) { values[kUp][0][0].fill_(-INFINITY); }); },
       {kUp, "non-finite", "-inf"}},
      {"missing shard",
       [](const std::string& d) {
         test::write_text(d + "/model.safetensors.index.json",
                          R"({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}})");
       },
       {"model-2.safetensors", "missing"}},
      {"shard without its tensor",
       [](const std::string& d) {
         test::write_text(d + "/model.safetensors.index.json", R"({"weight_map": {"ghost": "model.safetensors"}})");
       },
       {"ghost", "model.safetensors"}},
      {"shard outside the directory",
       [](const std::string& d) {
         test::write_text(d + "/model.safetensors.index.json", R"({"weight_map": {"a": "../model.safetensors"}})");
       },
       {"../model.safetensors", "same directory"}},
  };
}

TEST(Checkpoint, EveryDamageIsNamed) {
  for (const Damage& damage : damages()) {
    const test::ScratchDirectory scratch;
    save_decoder(*Decoder::random(test::tiny_config(), 1, DType::kF32), scratch.path(), DType::kF32, "");
    damage.apply(scratch.path());
    try {
      Checkpoint(scratch.path()).read_all(DType::kF32);
      ADD_FAILURE() << damage.name << " was accepted";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(exit_code(error.kind()), 2) << text;
      EXPECT_NE(text.find(scratch.path()), std::string::npos) << damage.name << ": " << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
      for (const std::string& part : damage.expected)
        EXPECT_NE(text.find(part), std::string::npos) << damage.name << ": " << text;
    }
  }
}

// A packed model whose record or parts were changed.
TEST(Checkpoint, DamagedPackedModelsAreNamed) {
  struct PackedDamage {
    std::function<void(Json& record)> change;
    std::vector<std::string> expected;
  };
  const std::vector<PackedDamage> table = {
      {[](Json& record) { record["bits"] = 9; }, {"bits", "9", "2 to 8"}},
      {[](Json& record) { record["bits"] = 5; }, {".codes", "[24, 8]", "[24, 10]"}},
      {[](Json& record) { record["group_size"] = 0; }, {"group_size", "0"}},
      {[](Json& record) { record["group_size"] = 4; }, {".scales", "[24, 1]", "[24, 4]"}},
      {[](Json& record) { record["rows"] = 23; }, {"[23, 16]", "[24, 16]"}},
      {[](Json& record) { record["format"] = "zip"; }, {"zip", "bitmap-sparse"}},
      {[](Json& record) { record.erase("symmetric"); }, {"symmetric"}},
      {[](Json& record) { record["masked"] = true; }, {".mask", "missing"}},
      {[](Json& record) {
         record = {{"format", "bitmap-sparse"}, {"rows", 24}, {"columns", 16}};
       },
       {".mask", "missing"}},
  };
  const std::string linear = "model.layers.0.mlp.up_proj";
  for (const PackedDamage& damage : table) {
    const test::ScratchDirectory scratch;
    const auto decoder = Decoder::random(test::tiny_config(), 1, DType::kF32);
    GroupIntWeight weight;
    weight.bits = 4;
    weight.group_size = 16;
    weight.is_symmetric = true;
    weight.codes = at::randint(16, {24, 16}, at::kByte);
    weight.scales = at::ones({24, 1});
    decoder->blocks[0].linears[5].weight = weight;
    CheckpointWriter writer(scratch.path(), decoder->config, {.is_packed = true});
    write_frame(writer, *decoder, DType::kF32);
    for (int64_t i = 0; i < 2; ++i) write_block(writer, decoder->blocks[static_cast<size_t>(i)], i, DType::kF32);
    writer.finish("");
    EXPECT_EQ(weight_format(Checkpoint(scratch.path()).read_weight(linear, DType::kF32)), "group-int");
    edit_config(scratch.path(), [&](Json& config) { damage.change(config["quantization_config"]["modules"][linear]); });
    try {
      Checkpoint(scratch.path()).read_all(DType::kF32);
      ADD_FAILURE() << damage.expected[0] << " was accepted";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(exit_code(error.kind()), 2) << text;
      EXPECT_NE(text.find(linear), std::string::npos) << text;
      for (const std::string& part : damage.expected)
        EXPECT_NE(text.find(part), std::string::npos) << text << "\n" << part;
    }
  }
}

TEST(Checkpoint, ExtraTensorsAreListed) {
  const test::ScratchDirectory scratch;
  save_decoder(*Decoder::random(test::tiny_config(), 1, DType::kF32), scratch.path(), DType::kF32, "");
  rewrite(scratch.path(), [](auto& infos, auto& values) {
    infos.push_back({"model.layers.0.self_attn.q_norm.weight", DType::kF32, {4}, 0, 0});
    values["model.layers.0.self_attn.q_norm.weight"] = at::ones({4});
    infos.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {2}, 0, 0});
    values["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({2});
  });
  EXPECT_EQ(Checkpoint(scratch.path()).unused_tensors(),
            std::vector<std::string>{"model.layers.0.self_attn.q_norm.weight"});
}

TEST(Checkpoint, WritingOntoAFullDiskIsAResourceError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "/dev/full is absent";
  const test::ScratchDirectory scratch;
  fs::create_symlink("/dev/full", scratch.path("spool-1.tmp"));
  const auto decoder = Decoder::random(test::tiny_config(), 1, DType::kF32);
  try {
    save_decoder(*decoder, scratch.path(), DType::kF32, "");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
    EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ockham
