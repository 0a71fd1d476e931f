// Models for tests of the engine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ockham/core/half.h"
#include "ockham/io/safetensors.h"
#include "ockham/runtime/engine.h"
#include "ockham/runtime/native_language_model.h"
#include "tests/test_data.h"

namespace ockham::test {

inline std::string stories() {
  return test_data("models/stories260K");
}
// The model in the repository, always there.
inline std::string mini() {
  return OCKHAM_SOURCE_DIR "/models/mini";
}
inline bool has_stories() {
  return std::filesystem::exists(stories() + "/model.safetensors");
}
inline EngineModel open_model(const std::string& path) {
  return read_engine_model(std::make_shared<const ModelFiles>(path));
}
// The linears of a plain llama model in 4 bits, groups of 32, rounded to nearest.
inline EngineModel open_int4(const std::string& path) {
  EngineModel model = open_model(path);
  const ModelConfig& config = model.config();
  const SafetensorsFile file(path + "/model.safetensors");
  const auto pack = [&](int64_t block, const LinearSpec& spec) {
    const TensorInfo* info = file.find(block_prefix(*find_family(config.family), block) + spec.name + ".weight");
    IntegerSource source;
    source.rows = spec.rows;
    source.columns = spec.columns;
    source.group_size = 32;
    source.read = [&](int64_t row, IntegerRow& out) {
      for (int64_t c = 0; c < spec.columns; c += 32) {
        float values[32], largest = 0;
        for (int64_t i = 0; i < 32; ++i) {
          uint16_t bits;
          std::memcpy(&bits, file.data(*info).data() + (row * spec.columns + c + i) * 2, sizeof bits);
          values[i] = bfloat16_to_float(bits);
          largest = std::max(largest, std::fabs(values[i]));
        }
        const float scale = bfloat16_to_float(float_to_bfloat16(largest / 7));
        out.scales[c / 32] = scale;
        for (int64_t i = 0; i < 32; ++i)
          out.codes[c + i] = static_cast<uint8_t>(8 + std::clamp(std::lround(values[i] / scale), -8L, 7L));
      }
    };
    return pack_integers(source);
  };
  for (int64_t b = 0; b < config.blocks; ++b) {
    EngineBlock& block = model.blocks[static_cast<size_t>(b)];
    EngineMlp& mlp = block.mlps[0];
    EngineLinear* const linears[] = {&block.query, &block.key, &block.value, &block.output,
                                     &mlp.gate,    &mlp.up,    &mlp.down};
    for (const LinearSpec& spec : block_linears(config, b)) linears[spec.role]->weight = pack(b, spec);
  }
  return model;
}

inline EngineOptions small_options(int threads = 1) {
  EngineOptions options;
  options.threads = threads;
  options.cache_bytes = int64_t{32} << 20;
  return options;
}

// Logits [tokens, vocabulary] of a sequence, computed in passes of these lengths.
inline std::vector<float> logits_of(Engine& engine, const std::vector<int32_t>& ids, std::vector<int64_t> passes = {}) {
  if (passes.empty()) passes = {static_cast<int64_t>(ids.size())};
  std::vector<float> result;
  const int32_t sequence = engine.cache().open();
  size_t at = 0;
  for (const int64_t count : passes) {
    const TokenSpan span{sequence, std::span(ids).subspan(at, static_cast<size_t>(count)),
                         static_cast<int64_t>(ids.size())};
    engine.forward({&span, 1});
    for (int64_t row = 0; row < count; ++row) {
      const float* hidden = engine.hidden(row);
      const float* logits = engine.logits({&hidden, 1}, false);
      result.insert(result.end(), logits, logits + engine.config().vocabulary);
    }
    at += static_cast<size_t>(count);
  }
  engine.cache().close(sequence);
  return result;
}

}  // namespace ockham::test
