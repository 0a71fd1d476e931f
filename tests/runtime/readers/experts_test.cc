// Experts that lie in one tensor for all, dense and compressed, under either name of their folder.
#include <gtest/gtest.h>

#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

constexpr int64_t kExperts = 3, kHidden = 32, kInner = 64;

SmallModel mixture(const std::string& family) {
  Json settings = llama_settings(kHidden, kInner);
  settings["model_type"] = family;
  if (family == "mixtral") settings.update({{"num_local_experts", kExperts}, {"num_experts_per_tok", 2}});
  if (family == "qwen3_moe") {
    settings.update({{"num_experts", kExperts},
                     {"num_experts_per_tok", 2},
                     {"moe_intermediate_size", kInner},
                     {"norm_topk_prob", true}});
  }
  return SmallModel(settings, DType::kBF16);
}

std::string expert_name(const SmallModel& model, int64_t block, int64_t expert, size_t role) {
  const Family& family = *find_family(model.config.family);
  return model.prefix(block) + fmt::format(fmt::runtime(family.expert), expert) +
         std::string(family.expert_linears[role]);
}

// Moves the tensors of all experts with this suffix into one; gate above up.
void stack(SmallModel& model, int64_t block, const std::string& folder, const std::string& suffix) {
  const std::string prefix = model.prefix(block) + folder;
  SmallTensor both, down;
  for (int64_t expert = 0; expert < kExperts; ++expert) {
    for (const size_t role : {0U, 1U, 2U}) {
      const std::string name = expert_name(model, block, expert, role) + suffix;
      const SmallTensor single = model.tensors.at(name);
      model.tensors.erase(name);
      SmallTensor& to = role == 2 ? down : both;
      to.dtype = single.dtype;
      to.shape = single.shape;
      to.shape.front() *= role == 2 ? 1 : 2;
      to.shape.insert(to.shape.begin(), kExperts);
      to.bytes += single.bytes;
    }
  }
  const std::string ending = suffix == ".weight" ? "" : suffix;
  model.tensors[prefix + "gate_up_proj" + ending] = both;
  model.tensors[prefix + "down_proj" + ending] = down;
}

TEST(StackedExperts, Dense) {
  for (const auto& [family, folder] : {std::pair("mixtral", "block_sparse_moe.experts."),
                                       std::pair("mixtral", "mlp.experts."), std::pair("qwen3_moe", "mlp.experts.")}) {
    SCOPED_TRACE(fmt::format("{} {}", family, folder));
    const SmallModel model = mixture(family);
    SmallModel stacked = model;
    for (const int64_t block : {0, 1}) {
      stack(stacked, block, folder, ".weight");
      const std::string prefix = model.prefix(block), router = std::string(find_family(family)->router) + ".weight";
      const SmallTensor moved = stacked.tensors.at(prefix + router);
      stacked.tensors.erase(prefix + router);
      stacked.tensors[prefix + "mlp.gate.weight"] = moved;
    }
    const Scratch scratch;
    stacked.write(scratch.path());
    const ModelFiles files(scratch.path());
    for (const int64_t block : {0, 1}) {
      for (const LinearSpec& spec : block_linears(files.config(), block)) {
        const KernelMatrix matrix = files.read_linear(block, spec);
        EXPECT_EQ(matrix.description(), "dense bfloat16");
        expect_equal(numbers_of(matrix), numbers_of(model.tensors.at(model.prefix(block) + spec.name + ".weight")),
                     spec.name);
      }
      expect_equal(numbers_of(files.read_matrix(block, BlockTensorRole::kRouter)),
                   numbers_of(stacked.tensors.at(model.prefix(block) + "mlp.gate.weight")), "router");
    }
  }
}

// 4 bit in groups of 16: the tensors of compressed-tensors, each with the experts in front.
TEST(StackedExperts, Compressed) {
  SmallModel single = mixture("mixtral");
  single.json["quantization_config"] = {
      {"quant_method", "compressed-tensors"},
      {"format", "pack-quantized"},
      {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", {{"num_bits", 4}}}}}}}};
  Rng rng(3);
  std::map<std::string, Numbers> meant;
  for (const int64_t block : {0, 1}) {
    for (const LinearSpec& spec : block_linears(single.config, block)) {
      if (spec.expert == kNoExpert) continue;
      const std::string name = single.prefix(block) + spec.name;
      const int64_t groups = spec.columns / 16;
      SmallTensor words = {DType::kI32, {spec.rows, spec.columns / 8}, ""};
      std::vector<float> scales;
      for (int64_t i = 0; i < spec.rows * groups; ++i) scales.push_back(static_cast<float>(rng.uniform()));
      const SmallTensor scale = float_tensor(DType::kBF16, {spec.rows, groups}, scales);
      Numbers numbers = {spec.rows, spec.columns, {}};
      for (int64_t i = 0; i < spec.rows * spec.columns / 2; ++i) {
        const auto byte = static_cast<uint8_t>(rng.below(256));
        words.bytes += static_cast<char>(byte);
        for (const int code : {byte & 15, byte >> 4})
          numbers.at.push_back(number_at(scale, static_cast<int64_t>(numbers.at.size()) / 16) * (code - 8));
      }
      single.tensors.erase(name + ".weight");
      single.tensors[name + ".weight_packed"] = words;
      single.tensors[name + ".weight_scale"] = scale;
      meant[name] = numbers;
    }
  }
  for (const bool is_stacked : {false, true}) {
    SmallModel model = single;
    for (const int64_t block : {0, 1}) {
      for (const char* suffix : {".weight_packed", ".weight_scale"})
        if (is_stacked) stack(model, block, "mlp.experts.", suffix);
    }
    const Scratch scratch;
    model.write(scratch.path());
    const ModelFiles files(scratch.path());
    EXPECT_EQ(files.layout(), "compressed-tensors, pack-quantized, 4 bit, group 16, symmetric");
    for (const LinearSpec& spec : block_linears(files.config(), 1)) {
      if (spec.expert == kNoExpert) continue;
      expect_equal(numbers_of(files.read_linear(1, spec)), meant.at(model.prefix(1) + spec.name), spec.name);
    }
  }
}

TEST(StackedExperts, RefusesOtherShapesAndDoubles) {
  const SmallModel model = mixture("mixtral");
  SmallModel stacked = model;
  stack(stacked, 0, "mlp.experts.", ".weight");
  SmallModel wrong = stacked;
  wrong.tensors["model.layers.0.mlp.experts.down_proj"].shape = {kExperts, kInner, kHidden};
  SmallModel twice = stacked;
  const std::string name = expert_name(model, 0, 1, 0) + ".weight";
  twice.tensors[name] = model.tensors.at(name);
  const Scratch scratch;
  wrong.write(scratch.path());
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.path()); }),
                  {"model.safetensors", "mlp.experts.down_proj", "[3,64,32]", "[3,32,64]"}));
  twice.write(scratch.path());
  EXPECT_TRUE(has(error_text([&] { ModelFiles files(scratch.path()); }), {name, "twice", "remove one"}));
}

}  // namespace
}  // namespace ockham
