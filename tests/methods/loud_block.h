// A block whose norms make a few input channels many times louder than the others.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "ockham/model/families.h"
#include "tests/methods/methods_fixture.h"
#include "tests/model/model_fixture.h"

namespace ockham::test {

struct LoudBlock {
  std::unique_ptr<Decoder> decoder;
  Tensor hidden;
  BlockContext context;
  std::set<std::string> targets;

  explicit LoudBlock(int64_t kv_heads = 4) {
    ModelConfig config = tiny_config(1);
    config.kv_heads = kv_heads;
    decoder = Decoder::random(config, 5, DType::kF32);
    at::manual_seed(3);
    for (Linear& linear : decoder->blocks[0].linears) {
      auto& dense = std::get<DenseWeight>(linear.weight);
      dense.values = at::randn(dense.values.sizes()) * 0.2;
      targets.insert(linear.name);
    }
    Tensor gains = at::ones({config.hidden_size});
    gains[3] = 20;
    gains[7] = 8;
    decoder->blocks[0].input_norm = gains;
    decoder->blocks[0].post_attention_norm = gains;
    hidden = at::randn({4, 24, config.hidden_size});
    context = decoder->make_context(1, 24, nullptr, {});
  }
  Block& block() { return decoder->blocks[0]; }
  Tensor output() { return block().forward(hidden, context); }
};

}  // namespace ockham::test
