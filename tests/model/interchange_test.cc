// Compressed models through the layouts of other tools: what is written comes back bit for bit where the grid fits.
#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/foreign_reader.h"
#include "ockham/model/interchange_writer.h"
#include "tests/model/model_fixture.h"

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
