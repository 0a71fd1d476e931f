// A model's weights as the engine multiplies them, block by block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ockham/runtime/model_files.h"
#include "ockham/runtime/packed_weights.h"

namespace ockham {

struct EngineLinear {
  KernelMatrix weight;      // [R, C]; no rows: there is none
  std::vector<float> bias;  // [R], or empty
  InputRule rule;
};
// Multiplies by `gain` (the family's offset is in it) and adds `bias`; no gain: there is no norm.
struct EngineNorm {
  std::vector<float> gain, bias;
};
struct EngineMlp {
  EngineLinear gate, up, down;  // no gate: activation(up)
};
struct EngineBlock {
  EngineNorm input_norm, post_attention_norm, attention_output_norm, mlp_output_norm, query_norm, key_norm;
  EngineLinear query, key, value, output;
  std::vector<EngineMlp> mlps;  // one, or one for each expert
  EngineMlp shared_expert;
  KernelMatrix router, shared_gate;  // [experts, H], [1, H]; no rows: no mixture
};
struct EngineModel {
  std::shared_ptr<const ModelFiles> files;  // weights may lie in its mapping
  std::vector<EngineBlock> blocks;
  EngineNorm final_norm;
  KernelMatrix head, project_in, project_out;
  std::vector<Buffer> memory;                   // of weights that were copied
  std::shared_ptr<const PackedWeights> packed;  // holds weights, where it is there

  const ModelConfig& config() const { return files->config(); }
};

// `copies_dense`: dense weights are not used where they lie in the mapped files but copied to memory of their own, on
// huge pages where the system grants them, which is read faster. Errors as ModelFiles'.
// `packed`: gives what it has instead of the files.
EngineModel read_engine_model(std::shared_ptr<const ModelFiles> files, bool copies_dense = false,
                              std::shared_ptr<const PackedWeights> packed = nullptr);

}  // namespace ockham
