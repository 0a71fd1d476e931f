// Compressed models through the layouts of other tools: what is written comes back bit for bit where the grid fits.
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/families.h"
#include "ockham/model/foreign_reader.h"
#include "ockham/model/interchange_writer.h"
#include "tests/model/family_fixture.h"

namespace ockham {
namespace {

ModelConfig wide_config() {
  ModelConfig config = test::tiny_config(1);
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  return config;
}

std::unique_ptr<Decoder> quantized_model(int64_t bits, int64_t group_size, bool is_symmetric) {
  auto decoder = Decoder::random(wide_config(), 11, DType::kF32);
  for (Linear& linear : decoder->blocks[0].linears) {
    GroupIntWeight weight = round_to_grid(weight_to_dense(linear.weight, at::kFloat), bits, group_size, is_symmetric);
    weight.scales = weight.scales.to(at::kHalf);
    linear.weight = weight;
  }
  return decoder;
}

ConversionSummary write(const Decoder& decoder, const std::string& directory, InterchangeOptions options) {
  const at::NoGradGuard no_grad;
  std::filesystem::create_directories(directory);
  InterchangeWriter interchange(options);
  CheckpointWriter::Options writer_options;
  writer_options.interchange = &interchange;
  CheckpointWriter writer(directory, decoder.config, writer_options);
  write_frame(writer, decoder, DType::kF32);
  write_block(writer, decoder.blocks[0], 0, DType::kF32);
  writer.finish("");
  return interchange.summary();
}

double largest_difference(const Decoder& decoder, const std::string& directory) {
  const Block block = Checkpoint(directory).read_block(0, DType::kF32);
  double largest = 0;
  for (size_t i = 0; i < block.linears.size(); ++i) {
    const Tensor difference = weight_to_dense(block.linears[i].weight, at::kFloat) -
                              weight_to_dense(decoder.blocks[0].linears[i].weight, at::kFloat);
    largest = std::max(largest, difference.abs().max().item<double>());
  }
  return largest;
}

TEST(Interchange, GridsThatFitAreCarriedOver) {
  const test::ScratchDirectory scratch;
  const struct {
    const char* format;
    int64_t bits, group;
    bool is_symmetric, allows_zeros;
  } cases[] = {
      {"compressed-tensors", 4, 32, true, false},
      {"compressed-tensors", 3, 32, true, false},
      {"compressed-tensors", 6, 16, true, false},
      {"compressed-tensors", 4, 32, false, true},
      {"gptq", 4, 32, true, false},
      {"gptq", 3, 32, true, false},
      {"gptq", 8, 16, true, false},
      {"gptq_v2", 4, 32, false, false},
      {"gptq_v2", 2, 16, false, false},
      {"gptq_v2", 3, 32, false, false},
      {"awq", 4, 32, true, false},
      {"awq", 4, 32, false, false},
      {"awq", 3, 32, false, false},
  };
  int number = 0;
  for (const auto& row : cases) {
    const auto decoder = quantized_model(row.bits, row.group, row.is_symmetric);
    const std::string directory = scratch.path(std::to_string(number++));
    const auto summary = write(*decoder, directory, {row.format, 0, 128, row.allows_zeros});
    EXPECT_EQ(summary.exact, 7) << row.format << " " << row.bits;
    EXPECT_EQ(summary.worst_error, 0) << row.format << " " << row.bits;
    EXPECT_EQ(largest_difference(*decoder, directory), 0) << row.format << " " << row.bits;
  }
}

TEST(Interchange, ZerosOfAMaskStayZero) {
  const test::ScratchDirectory scratch;
  const auto decoder = quantized_model(4, 32, true);
  for (Linear& linear : decoder->blocks[0].linears) {
    auto& weight = std::get<GroupIntWeight>(linear.weight);
    weight.mask = at::rand(weight.codes.sizes()) < 0.5;
  }
  EXPECT_EQ(write(*decoder, scratch.path("m"), {"gptq", 0, 128, false}).exact, 7);
  EXPECT_EQ(largest_difference(*decoder, scratch.path("m")), 0);
}

TEST(Interchange, ActOrderGoesThroughGptq) {
  const test::ScratchDirectory scratch;
  const auto decoder = quantized_model(4, 32, false);
  for (Linear& linear : decoder->blocks[0].linears) {
    auto& weight = std::get<GroupIntWeight>(linear.weight);
    const int64_t columns = weight.codes.size(1);
    weight.group_index = at::arange(columns - 1, -1, -1, at::kLong).div(32, "floor");
  }
  EXPECT_EQ(write(*decoder, scratch.path("m"), {"gptq_v2", 0, 128, false}).exact, 7);
  EXPECT_EQ(largest_difference(*decoder, scratch.path("m")), 0);
  EXPECT_NE(read_file(scratch.path("m/quantize_config.json")).find("\"desc_act\": true"), std::string::npos);
}

TEST(Interchange, ASecondRoundingIsMeasured) {
  const test::ScratchDirectory scratch;
  const auto decoder = Decoder::random(wide_config(), 5, DType::kF32);
  for (const char* format : {"compressed-tensors", "int8", "fp8", "gptq", "gptq_v2", "awq"}) {
    const auto summary = write(*decoder, scratch.path(format), {format, 0, 32, false});
    EXPECT_EQ(summary.rounded, 7) << format;
    const bool is_wide = std::string(format) == "int8" || std::string(format) == "fp8";
    EXPECT_GT(summary.worst_error, 1e-4) << format;
    EXPECT_LT(summary.worst_error, is_wide ? 0.03 : 0.12) << format;
    EXPECT_GT(largest_difference(*decoder, scratch.path(format)), 0) << format;
  }
  EXPECT_THROW(write(*quantized_model(4, 32, false), scratch.path("v1"), {"gptq", 0, 32, false}), Error);
  EXPECT_THROW(write(*quantized_model(4, 32, false), scratch.path("ct"), {"compressed-tensors", 0, 32, false}), Error);
}

TEST(Interchange, Fp8AndInt8ComeBackAsTheyWere) {
  const test::ScratchDirectory scratch;
  const auto decoder = Decoder::random(wide_config(), 5, DType::kF32);
  for (const char* format : {"int8", "fp8"}) {
    const std::string first = scratch.path(std::string(format) + "1"), second = scratch.path(std::string(format) + "2");
    write(*decoder, first, {format, 0, 32, false});
    const auto back = Checkpoint(first).read_all(DType::kF32);
    const auto summary = write(*back, second, {format, 0, 32, false});
    EXPECT_LT(summary.worst_error, 1e-6) << format;
    if (std::string(format) == "int8") {
      EXPECT_EQ(summary.exact, 7);
      EXPECT_EQ(largest_difference(*back, second), 0);
    }
  }
}

// One block of a family, wide enough for every layout, all linears on grids.
std::unique_ptr<Decoder> quantized_family(const std::string& name, int64_t bits, int64_t group_size,
                                          bool is_symmetric) {
  Json config = read_json_file(test::golden_path(name))["config"];
  for (const auto& [key, value] : {std::pair{"hidden_size", 64},
                                   {"intermediate_size", 96},
                                   {"moe_intermediate_size", 32},
                                   {"shared_expert_intermediate_size", 64},
                                   {"num_hidden_layers", 1},
                                   {"n_embd", 64},
                                   {"n_layer", 1}})
    if (config.contains(key)) config[key] = value;
  config.erase("layer_types");
  auto decoder = Decoder::random(ModelConfig::parse(config, "golden"), 11, DType::kF32);
  for (Linear& linear : decoder->blocks[0].linears) {
    GroupIntWeight weight = round_to_grid(weight_to_dense(linear.weight, at::kFloat), bits, group_size, is_symmetric);
    weight.scales = weight.scales.to(at::kHalf);
    linear.weight = weight;
    if (linear.bias.defined()) linear.bias = at::randn_like(linear.bias);
  }
  return decoder;
}

std::set<std::string> modules_of(const std::string& directory, const std::string& suffix) {
  std::set<std::string> modules;
  const SafetensorsFile file(directory + "/model.safetensors");
  for (const TensorInfo& info : file.tensors()) {
    if (info.name.ends_with(suffix)) modules.insert(info.name.substr(0, info.name.size() - suffix.size()));
  }
  return modules;
}

// The loaders know the family's own modules: fused rows in its order, every expert by itself.
TEST(Interchange, FusedTensorsKeepTheirGrids) {
  const test::ScratchDirectory scratch;
  const struct {
    const char* family;
    std::set<std::string> modules;  // below the block
  } families[] = {
      {"phi3", {"self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"}},
      {"gpt_neox", {"attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}},
      {"mixtral", {}},
      {"qwen2_moe", {}}};
  const struct {
    const char *format, *suffix;
    bool is_symmetric, allows_zeros;
  } formats[] = {{"compressed-tensors", ".weight_packed", true, false},
                 {"compressed-tensors", ".weight_packed", false, true},
                 {"gptq", ".qweight", true, false},
                 {"gptq_v2", ".qweight", false, false},
                 {"awq", ".qweight", false, false}};
  int number = 0;
  for (const auto& row : families) {
    for (const auto& format : formats) {
      SCOPED_TRACE(fmt::format("{} {}", row.family, format.format));
      const auto decoder = quantized_family(row.family, 4, 32, format.is_symmetric);
      const auto count = static_cast<int64_t>(decoder->blocks[0].linears.size());
      const std::string directory = scratch.path(std::to_string(number++));
      const auto summary = write(*decoder, directory, {format.format, 0, 128, format.allows_zeros});
      EXPECT_EQ(summary.exact, count);
      EXPECT_EQ(largest_difference(*decoder, directory), 0);
      std::set<std::string> wanted;
      const std::string prefix = block_prefix(*find_family(decoder->config.family), 0);
      for (const std::string& module : row.modules) wanted.insert(prefix + module);
      if (wanted.empty())
        for (const Linear& linear : decoder->blocks[0].linears) wanted.insert(linear.name);
      EXPECT_EQ(modules_of(directory, format.suffix), wanted);
      const Checkpoint back(directory);
      EXPECT_TRUE(back.unused_tensors().empty());
      const Block block = back.read_block(0, DType::kF32);
      for (size_t i = 0; i < block.linears.size(); ++i) {
        const Tensor &bias = block.linears[i].bias, &ours = decoder->blocks[0].linears[i].bias;
        ASSERT_EQ(bias.defined(), ours.defined());
        if (bias.defined()) {
          EXPECT_TRUE(at::equal(bias, ours)) << i;
        }
      }
    }
    for (const char* format : {"int8", "fp8"}) {
      const std::string directory = scratch.path(std::to_string(number++));
      const auto decoder = quantized_family(row.family, 4, 32, true);
      EXPECT_LT(write(*decoder, directory, {format, 0, 128, false}).worst_error, 0.03) << format;
      EXPECT_GT(largest_difference(*decoder, directory), 0);
      const auto again = Checkpoint(directory).read_all(DType::kF32);
      EXPECT_LT(write(*again, directory + "b", {format, 0, 128, false}).worst_error, 1e-6) << format;
    }
  }
}

TEST(Interchange, PartsOfOneTensorAgreeOnAGrid) {
  const test::ScratchDirectory scratch;
  // 4 bit in groups of 32 and 3 bit in groups of 64 share 4 bit in groups of 32.
  auto decoder = quantized_family("phi3", 4, 32, true);
  auto& linears = decoder->blocks[0].linears;
  GroupIntWeight coarse = round_to_grid(weight_to_dense(linears[1].weight, at::kFloat), 3, 64, true);
  coarse.scales = coarse.scales.to(at::kHalf);
  linears[1].weight = coarse;
  EXPECT_EQ(write(*decoder, scratch.path("a"), {"compressed-tensors", 0, 128, false}).exact, 7);
  EXPECT_EQ(largest_difference(*decoder, scratch.path("a")), 0);
  // Symmetric and asymmetric ones share zero points.
  GroupIntWeight zeros = round_to_grid(weight_to_dense(linears[1].weight, at::kFloat), 4, 32, false);
  zeros.scales = zeros.scales.to(at::kHalf);
  linears[1].weight = zeros;
  EXPECT_EQ(write(*decoder, scratch.path("b"), {"awq", 0, 128, false}).exact, 7);
  EXPECT_EQ(largest_difference(*decoder, scratch.path("b")), 0);
  // Columns in another order do not.
  std::get<GroupIntWeight>(linears[1].weight).group_index = at::arange(63, -1, -1, at::kLong).div(32, "floor");
  try {
    write(*decoder, scratch.path("c"), {"gptq_v2", 0, 32, false});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("qkv_proj"), std::string::npos) << error.what();
  }
  const auto summary = write(*decoder, scratch.path("d"), {"gptq_v2", 4, 32, true});
  EXPECT_EQ(summary.exact, 4);
  EXPECT_EQ(summary.rounded, 3);
}

// Formats of Ockham's container that another layout holds as they are, and those that it does not.
TEST(Interchange, OtherFormatsAreCarriedOverOrRefused) {
  const test::ScratchDirectory scratch;
  auto decoder = Decoder::random(wide_config(), 5, DType::kF32);
  const auto replace = [&](const auto& make) {
    for (Linear& linear : decoder->blocks[0].linears)
      linear.weight = make(weight_rows(linear.weight), weight_columns(linear.weight));
  };
  int number = 0;
  const auto convert = [&](const char* format, int64_t bits = 0) {
    const std::string directory = scratch.path(std::to_string(number++));
    const auto summary = write(*decoder, directory, {format, bits, 16, std::string(format) == "compressed-tensors"});
    EXPECT_EQ(summary.exact, 7) << format;
    EXPECT_EQ(largest_difference(*decoder, directory), 0) << format;
  };
  const auto refuse = [&](const char* format, const char* name) {
    try {
      write(*decoder, scratch.path(std::to_string(number++)), {format, 0, 16, false});
      ADD_FAILURE() << format;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  replace([](int64_t rows, int64_t columns) {
    Int8Weight weight;
    weight.codes = at::randint(-127, 128, {rows, columns}).to(at::kChar);
    weight.scales = at::rand({rows}) * 0.1 + 0.01;
    return weight;
  });
  convert("int8");
  convert("compressed-tensors");
  replace([](int64_t rows, int64_t columns) {
    const Tensor codes = (at::randn({rows, columns}) * 100).clamp(-448, 448).to(at::kFloat8_e4m3fn);
    return Float8Weight{1, columns, codes.view(at::kByte), at::rand({rows, 1}) * 0.1 + 0.01};
  });
  convert("fp8");
  refuse("gptq_v2", "float8");
  replace([](int64_t rows, int64_t columns) {
    GroupSparseWeight weight{rows, columns, 4, 16, at::rand({rows, columns / 16}) < 0.5, {}, {}, {}};
    const int64_t kept = weight.kept.sum().item<int64_t>();
    weight.codes = at::randint(16, {kept, 16}, at::kByte);
    weight.scales = (at::rand({kept}) * 0.1 + 0.01).to(at::kHalf);
    weight.zeros = at::randint(16, {kept}, at::kByte);
    return weight;
  });
  convert("compressed-tensors");
  convert("gptq_v2");
  convert("awq");
  replace([](int64_t rows, int64_t columns) {
    return LowRankWeight{nullptr, at::randn({rows, 3}), at::randn({3, columns})};
  });
  for (const char* format : {"compressed-tensors", "int8", "fp8", "gptq", "gptq_v2", "awq"}) refuse(format, "low-rank");
  EXPECT_EQ(write(*decoder, scratch.path("again"), {"gptq_v2", 4, 16, true}).rounded, 7);
}

TEST(Interchange, TransposedMatricesAreRefused) {
  const test::ScratchDirectory scratch;
  try {
    write(*quantized_family("gpt2", 4, 32, true), scratch.path("m"), {"gptq_v2", 0, 128, false});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Conv1D"), std::string::npos) << error.what();
  }
}

TEST(Interchange, MatricesBesideTheLinearsAreNamed) {
  const test::ScratchDirectory scratch;
  write(*quantized_family("qwen2_moe", 4, 32, true), scratch.path("m"), {"compressed-tensors", 0, 128, false});
  EXPECT_EQ(read_json_file(scratch.path("m/config.json"))["quantization_config"]["ignore"],
            Json({"lm_head", "model.layers.0.mlp.gate", "model.layers.0.mlp.shared_expert_gate"}));
  write(*quantized_family("gpt_neox", 4, 32, true), scratch.path("n"), {"compressed-tensors", 0, 128, false});
  EXPECT_EQ(read_json_file(scratch.path("n/config.json"))["quantization_config"]["ignore"],
            Json(std::vector<std::string>{"embed_out", "lm_head"}));
}

// The directory with the experts of every block in one tensor for gate and up and one for down.
void stack_experts(const std::string& from, const std::string& to, const std::string& experts,
                   const std::string& stacked, const std::vector<std::string>& names, int64_t count) {
  const SafetensorsFile file(from + "/model.safetensors");
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::map<std::string, Tensor>> parts;  // by what stands behind the expert's number
  std::set<std::string> floats;                                // tensors of 8-bit floats, handled as bytes
  for (const TensorInfo& info : file.tensors()) {
    const bool is_float8 = info.dtype == DType::kF8E4M3;
    Tensor value = at::empty(info.shape, is_float8 ? at::kByte : to_scalar_type(info.dtype));
    const auto bytes = file.data(info);
    std::memcpy(value.mutable_data_ptr(), bytes.data(), bytes.size());
    const size_t at = info.name.find(experts);
    if (at == std::string::npos) {
      if (is_float8) floats.insert(info.name);
      tensors[info.name] = value;
    } else {
      parts[info.name.substr(0, at)][info.name.substr(at + experts.size())] = value;
    }
  }
  for (auto& [block, values] : parts) {
    const auto stack = [&](const std::string& matrix, const std::vector<std::string>& rows) {
      for (const char* ending : {".weight", ".weight_packed", ".weight_scale", ".weight_zero_point"}) {
        std::vector<Tensor> all;
        for (int64_t expert = 0; expert < count; ++expert) {
          std::vector<Tensor> one;
          for (const std::string& name : rows) {
            const auto found = values.find(fmt::format("{}.{}{}", expert, name, ending));
            if (found != values.end()) one.push_back(found->second);
          }
          if (!one.empty()) all.push_back(at::cat(one, 0));
        }
        const std::string end = std::string(ending) == ".weight" ? "" : ending;
        if (all.empty()) continue;
        tensors[block + stacked + matrix + end] = at::stack(all, 0);
        if (all.front().scalar_type() == at::kByte) floats.insert(block + stacked + matrix + end);
      }
    };
    stack("gate_up_proj", {names[0], names[1]});
    stack("down_proj", {names[2]});
  }
  std::vector<TensorInfo> infos;
  for (const auto& [name, value] : tensors)
    infos.push_back(
        {name, floats.contains(name) ? DType::kF8E4M3 : to_dtype(value.scalar_type()), value.sizes().vec(), 0, 0});
  std::filesystem::create_directories(to);
  SafetensorsWriter writer(to + "/model.safetensors", infos, {{"format", "pt"}});
  for (const auto& [name, value] : tensors) {
    const Tensor flat = value.contiguous();
    writer.append(name, {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
  }
  writer.finish();
  std::filesystem::copy(from + "/config.json", to + "/config.json");
}

TEST(ForeignReader, ExpertsInOneTensor) {
  const at::NoGradGuard no_grad;
  const test::ScratchDirectory scratch;
  const struct {
    const char *family, *experts, *stacked;
    std::vector<std::string> names;
  } cases[] = {
      {"qwen2_moe", "mlp.experts.", "mlp.experts.", {"gate_proj", "up_proj", "down_proj"}},
      {"qwen3_moe", "mlp.experts.", "mlp.experts.", {"gate_proj", "up_proj", "down_proj"}},
      {"mixtral", "block_sparse_moe.experts.", "block_sparse_moe.experts.", {"w1", "w3", "w2"}},
      {"mixtral", "block_sparse_moe.experts.", "mlp.experts.", {"w1", "w3", "w2"}},
  };
  int number = 0;
  for (const auto& row : cases) {
    for (const char* format : {"dense", "compressed-tensors", "zeros", "fp8", "int8"}) {
      SCOPED_TRACE(fmt::format("{} {}", row.family, format));
      const bool has_zeros = std::string(format) == "zeros";
      const auto decoder = quantized_family(row.family, 4, 32, !has_zeros);
      const std::string from = scratch.path(std::to_string(number++)), to = from + "-stacked";
      if (std::string(format) == "dense") {
        std::filesystem::create_directories(from);
        save_decoder(*decoder, from, DType::kF32, "");
      } else {
        write(*decoder, from, {has_zeros ? "compressed-tensors" : format, 0, 32, has_zeros});
      }
      stack_experts(from, to, row.experts, row.stacked, row.names, decoder->config.experts);
      const Checkpoint one(from), other(to);
      EXPECT_TRUE(other.unused_tensors().empty() || std::string(format) != "dense");
      EXPECT_EQ(other.parameters(), one.parameters());
      const Block left = one.read_block(0, DType::kF32), right = other.read_block(0, DType::kF32);
      ASSERT_EQ(left.linears.size(), right.linears.size());
      for (size_t i = 0; i < left.linears.size(); ++i) {
        EXPECT_EQ(weight_format(left.linears[i].weight), weight_format(right.linears[i].weight));
        EXPECT_TRUE(at::equal(weight_to_dense(left.linears[i].weight, at::kFloat),
                              weight_to_dense(right.linears[i].weight, at::kFloat)))
            << left.linears[i].name;
      }
    }
  }
}

TEST(ForeignReader, StackedExpertsOfAnotherShapeAreNamed) {
  const at::NoGradGuard no_grad;
  const test::ScratchDirectory scratch;
  const auto decoder = quantized_family("qwen3_moe", 4, 32, true);
  std::filesystem::create_directories(scratch.path("a"));
  save_decoder(*decoder, scratch.path("a"), DType::kF32, "");
  stack_experts(scratch.path("a"), scratch.path("b"), "mlp.experts.", "mlp.experts.",
                {"gate_proj", "up_proj", "down_proj"}, 3);
  try {
    Checkpoint model(scratch.path("b"));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("experts.down_proj"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("[4,64,32]"), std::string::npos) << error.what();
  }
}

// One linear read from tensors made by hand.
Weight read_linear(const Json& settings, int64_t rows, int64_t columns, const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, TensorInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos[name] = {name, to_dtype(tensor.scalar_type()), tensor.sizes().vec(), 0, 0};
  const auto reader = ForeignReader::detect(Json{{"quantization_config", settings}}, "test");
  const auto suffixes = reader->check("x", rows, columns, [&](const std::string& name) -> const TensorInfo* {
    const auto found = infos.find(name);
    return found == infos.end() ? nullptr : &found->second;
  });
  EXPECT_FALSE(suffixes.empty());
  return reader->read("x", [&](const std::string& name) { return tensors.at(name); });
}

Tensor words(const std::vector<uint32_t>& values, std::vector<int64_t> shape) {
  Tensor result = at::empty(shape, at::kInt);
  for (size_t i = 0; i < values.size(); ++i) result.mutable_data_ptr<int32_t>()[i] = static_cast<int32_t>(values[i]);
  return result;
}

Json packed_settings(int64_t bits, const std::string& version) {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"version", version},
          {"config_groups",
           {{"group_0", {{"targets", {"re:.*x"}}, {"weights", {{"num_bits", bits}, {"strategy", "channel"}}}}}}}};
}

TEST(ForeignReader, BothLayoutsOfThreeBits) {
  const Tensor expected = at::arange(-4, 4, at::kFloat).repeat({2}).view({1, 16});
  const Tensor scale = at::ones({1, 1});
  const auto dense = words({0x88fac688, 0x0000fac6}, {1, 2}), padded = words({0x08fac688, 0x0003eb1a}, {1, 2});
  // With 16 columns both layouts take two words, so the version decides.
  EXPECT_TRUE(at::equal(weight_to_dense(read_linear(packed_settings(3, "0.18.0"), 1, 16,
                                                    {{"x.weight_packed", dense}, {"x.weight_scale", scale}}),
                                        at::kFloat),
                        expected));
  EXPECT_TRUE(at::equal(weight_to_dense(read_linear(packed_settings(3, "0.17.1"), 1, 16,
                                                    {{"x.weight_packed", padded}, {"x.weight_scale", scale}}),
                                        at::kFloat),
                        expected));
}

TEST(ForeignReader, ZeroPointsAreAlongTheOutputs) {
  const auto zeros = words({0xcba79f80, 0x0000000d}, {2, 1});
  const Weight weight = read_linear(packed_settings(4, "0.20.0"), 9, 8,
                                    {{"x.weight_packed", words(std::vector<uint32_t>(9, 0x88888888), {9, 1})},
                                     {"x.weight_scale", at::ones({9, 1})},
                                     {"x.weight_zero_point", zeros}});
  const Tensor first = weight_to_dense(weight, at::kFloat).select(1, 0);
  EXPECT_TRUE(at::equal(first, -at::tensor({-8.0F, 0.0F, 7.0F, 1.0F, -1.0F, 2.0F, 3.0F, 4.0F, 5.0F})));
}

TEST(ForeignReader, GptqZeroSixteenTakesAFifthBit) {
  const Json settings = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 8}, {"sym", false}};
  const Weight weight = read_linear(settings, 8, 16,
                                    {{"x.qweight", at::zeros({2, 8}, at::kInt)},
                                     {"x.qzeros", words({0x77777777, 0xf6543210}, {2, 1})},
                                     {"x.scales", at::ones({2, 8}, at::kHalf)}});
  EXPECT_EQ(std::get<GroupIntWeight>(weight).bits, 5);
  const Tensor second = weight_to_dense(weight, at::kFloat).select(1, 8);
  EXPECT_TRUE(at::equal(second, -at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F, 7.0F, 16.0F})));
}

TEST(ForeignReader, MislabelledGptqIsReadAsWhatItIs) {
  const Json settings = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 8}, {"sym", true}};
  const Weight weight = read_linear(settings, 8, 8,
                                    {{"x.qweight", at::zeros({1, 8}, at::kInt)},
                                     {"x.qzeros", words({0x88888888}, {1, 1})},
                                     {"x.scales", at::ones({1, 8}, at::kHalf)}});
  EXPECT_EQ(weight_to_dense(weight, at::kFloat).max().item<float>(), -8);
}

TEST(ForeignReader, BitmaskFormats) {
  const Tensor expected = at::tensor({0.0F, 1.0F, 0.0F, 2.0F, 3.0F, 0.0F, 0.0F, 4.0F, 0.0F, 0.0F, 5.0F, 6.0F,
                                      7.0F, 8.0F, 0.0F, 0.0F, 0.0F, 9.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F})
                              .view({2, 12});
  const Json settings = {{"quant_method", "compressed-tensors"}, {"format", "dense"}};
  const Weight sparse = read_linear(settings, 2, 12,
                                    {{"x.weight.bitmask", at::tensor({0x9a, 0x0c, 0x23, 0x00}, at::kByte).view({2, 2})},
                                     {"x.weight.compressed", at::arange(1, 10, at::kFloat).to(at::kBFloat16)}});
  EXPECT_TRUE(at::equal(weight_to_dense(sparse, at::kFloat), expected));
  const Weight sparse24 = read_linear(
      settings, 2, 12,
      {{"x.bitmask", at::tensor({0x9a, 0x0c, 0xa3, 0x0c}, at::kByte).view({2, 2})},
       {"x.compressed",
        at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F, 7.0F, 8.0F, 9.0F, 0.0F, 0.0F, 0.0F}).view({2, 6})}});
  EXPECT_TRUE(at::equal(weight_to_dense(sparse24, at::kFloat), expected));
}

TEST(ForeignReader, BitsandbytesInt8) {
  const Json settings = {{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}};
  const Weight weight =
      read_linear(settings, 1, 3,
                  {{"x.weight", at::tensor({-127, 0, 127}, at::kChar).view({1, 3})}, {"x.SCB", at::tensor({2.0F})}});
  EXPECT_NEAR(weight_to_dense(weight, at::kFloat)[0][2].item<float>(), 2.0, 1e-6);
}

TEST(ForeignReader, RefusesWhatDoesNotFit) {
  const Json gptq = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 8}};
  EXPECT_THROW(read_linear(gptq, 8, 16, {{"x.qweight", at::zeros({3, 8}, at::kInt)}}), Error);
  EXPECT_THROW(read_linear(gptq, 8, 16, {{"x.qweight", at::zeros({2, 8}, at::kInt)}}), Error);
  EXPECT_THROW(ForeignReader::detect(Json{{"quantization_config", {{"quant_method", "mxfp4"}}}}, "test"), Error);
  EXPECT_THROW(read_linear(packed_settings(4, "0.20.0"), 2, 8, {{"x.weight_packed", at::zeros({2, 3}, at::kInt)}}),
               Error);
}

}  // namespace
}  // namespace ockham
