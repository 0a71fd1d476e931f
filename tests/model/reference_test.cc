// The decoder against logits of Hugging Face transformers 5.23 (scripts/make_decoder_golden.py): llama3 rotary scaling,
// grouped queries, heads wider than hidden / heads, biases, own head.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

ModelConfig golden_config() {
  const Json json = {{"model_type", "llama"},
                     {"hidden_size", 32},
                     {"intermediate_size", 48},
                     {"num_hidden_layers", 2},
                     {"num_attention_heads", 4},
                     {"num_key_value_heads", 2},
                     {"head_dim", 16},
                     {"vocab_size", 64},
                     {"max_position_embeddings", 64},
                     {"rms_norm_eps", 1e-5},
                     {"attention_bias", true},
                     {"mlp_bias", true},
                     {"rope_parameters",
                      {{"rope_type", "llama3"},
                       {"rope_theta", 500.0},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 16}}}};
  return ModelConfig::parse(json, "golden");
}

// The script's formula, tensor by tensor in the order of the names.
void fill(Decoder& decoder) {
  auto parameters = decoder.parameters();
  std::sort(parameters.begin(), parameters.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  uint32_t index = 0;
  for (auto& [name, tensor] : parameters) {
    uint32_t seed = ++index;
    const double shift = name.find("norm") == std::string::npos ? 0 : 1;
    float* out = tensor.mutable_data_ptr<float>();
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      seed = 1664525U * seed + 1013904223U;
      out[i] = static_cast<float>(static_cast<double>(seed) / 4294967296.0 - 0.5 + shift);
    }
  }
}

TEST(Reference, LogitsOfTransformers) {
  const at::NoGradGuard no_grad;
  const auto decoder = Decoder::random(golden_config(), 1, DType::kF32);
  ASSERT_EQ(decoder->parameters().size(), 35U);
  fill(*decoder);
  const Tensor ids = (at::arange(24, at::kLong) * 7 + 3).remainder(64).unsqueeze(0);
  const std::vector<std::pair<int64_t, std::vector<double>>> expected = {
      {0, {-1.58949, 4.20758, 2.11275, -0.38333, 3.70064, -1.36913}},
      {11, {-1.06462, 1.11515, 0.84858, 0.11802, 0.09671, 0.73698}},
      {23, {-3.27472, 3.59859, 2.67281, -1.0778, 2.98751, -1.91897}}};
  for (const bool with_gradients : {false, true}) {  // the fused operations, then those of ATen
    at::GradMode::set_enabled(with_gradients);
    const Tensor logits = decoder->logits(decoder->forward(ids))[0].to(at::kDouble);
    for (const auto& [position, values] : expected) {
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(logits[position][static_cast<int64_t>(i)].item<double>(), values[i], 2e-4) << position << " " << i;
      }
    }
    EXPECT_NEAR(logits.square().sum().item<double>(), 7306.133399, 0.05);
  }
}

}  // namespace
}  // namespace ockham
