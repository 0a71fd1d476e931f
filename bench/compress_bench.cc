// Measures loading and Wanda on a model made on the spot: seconds per block, peak memory, and the calibration forward
// against the machine's own bf16 matrix product. Prints one JSON object.
//   compress_bench [mini|tinyllama] [scratch directory] [blocks]
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/version.h"
#include "ockham/io/npy.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/compress.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

ModelConfig shape_of(const std::string& name) {
  ModelConfig config;
  config.family = "llama";
  config.dtype = DType::kBF16;
  if (name == "mini") {
    config.hidden_size = 128;
    config.intermediate_size = 384;
    config.blocks = 8;
    config.heads = 4;
    config.kv_heads = 2;
    config.head_dim = 32;
    config.vocabulary = 2048;
    config.tied_embeddings = true;
  } else if (name == "tinyllama") {
    config.hidden_size = 2048;
    config.intermediate_size = 5632;
    config.blocks = 22;
    config.heads = 32;
    config.kv_heads = 4;
    config.head_dim = 64;
    config.vocabulary = 32000;
  } else {
    throw_error(ErrorKind::kUsage, "unknown shape '{}', expected mini or tinyllama", name);
  }
  config.context_length = 2048;
  return config;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Written block by block: the same random block under every name, so that making the model takes little memory.
void write_model(const ModelConfig& config, const std::string& directory) {
  ModelConfig one = config;
  one.blocks = 1;
  const auto decoder = Decoder::random(one, 1, DType::kBF16);
  CheckpointWriter writer(directory, config, {});
  write_frame(writer, *decoder, DType::kBF16);
  const Family& family = *find_family(config.family);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const std::vector<LinearSpec> specs = block_linears(config, block);
    for (size_t i = 0; i < specs.size(); ++i)
      decoder->blocks[0].linears[i].name = block_prefix(family, block) + specs[i].name;
    write_block(writer, decoder->blocks[0], block, DType::kBF16);
  }
  writer.finish("");
}

// Floating-point operations per second of the best of several products [4096, n] x [n, n].
double measure_gemm(int64_t n, at::ScalarType type) {
  const Tensor a = at::randn({4096, n}).to(type), b = at::randn({n, n}).to(type);
  double best = 1e9;
  for (int repeat = 0; repeat < 8; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    at::linear(a, b);
    best = std::min(best, seconds_since(start));
  }
  return 2.0 * 4096 * static_cast<double>(n) * static_cast<double>(n) / best;
}

Json run(const std::string& shape, const std::string& scratch, int64_t blocks) {
  const at::NoGradGuard no_grad;
  ModelConfig config = shape_of(shape);
  if (blocks > 0) config.blocks = blocks;
  const std::string model = scratch + "/model", out = scratch + "/out", ids_path = scratch + "/ids.npy";
  fs::remove_all(scratch);
  fs::create_directories(model);
  write_model(config, model);
  const int64_t samples = 32, tokens = 512;
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(samples),
                                        std::vector<int32_t>(static_cast<size_t>(tokens)));
  int64_t state = 1;
  for (auto& row : ids) {
    for (int32_t& id : row) id = static_cast<int32_t>(state = (state * 7919 + 13) % config.vocabulary);
  }
  write_token_ids_npy(ids_path, ids);

  const Checkpoint checkpoint(model);
  auto start = std::chrono::steady_clock::now();
  for (int64_t block = 0; block < config.blocks; ++block) checkpoint.read_block(block, DType::kBF16);
  const double load_seconds = seconds_since(start);

  Recipe recipe;
  recipe.name = "wanda-50";
  recipe.calibration.data = ids_path;
  recipe.steps = {{"wanda", {"blocks.*"}, {{"sparsity", 0.5}}, "bench"}};
  const CompressionResult result = compress(model, recipe, out, {});

  int64_t block_weights = 0;
  for (const LinearSpec& spec : block_linears(config, 0)) block_weights += spec.rows * spec.columns;
  // Both forwards of every block but the last, which needs only the first; products of the linears only.
  const double flops = 2.0 * static_cast<double>(block_weights) * static_cast<double>(samples * tokens) *
                       static_cast<double>(2 * config.blocks - 1);
  const double gemm = measure_gemm(config.hidden_size, at::kBFloat16),
               gemm_f32 = measure_gemm(config.hidden_size, at::kFloat), forward = flops / result.forward_seconds;
  fs::remove_all(scratch);
  const double count = static_cast<double>(config.blocks);
  return {{"shape", shape},
          {"blocks", config.blocks},
          {"machine", machine_description()},
          {"threads", thread_count()},
          {"parameters", checkpoint.parameters()},
          {"load_seconds", load_seconds},
          {"wanda_seconds", result.seconds},
          {"seconds_per_block", result.seconds / count},
          {"forward_seconds_per_block", result.forward_seconds / count},
          {"method_seconds_per_block", result.method_seconds / count},
          {"peak_bytes", result.peak_bytes},
          {"gemm_gflops", gemm / 1e9},
          {"gemm_f32_gflops", gemm_f32 / 1e9},
          {"forward_gflops", forward / 1e9},
          {"forward_share_of_gemm", forward / gemm}};
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  try {
    ockham::use_caching_allocator();
    const std::string shape = argc > 1 ? argv[1] : "mini";
    const std::string scratch = argc > 2 ? argv[2] : (std::filesystem::temp_directory_path() / "ockham-bench").string();
    const int64_t blocks = argc > 3 ? std::atoll(argv[3]) : 0;
    fmt::print("{}\n", ockham::run(shape, scratch, blocks).dump(2));
    return 0;
  } catch (const ockham::Error& error) {
    fmt::print(stderr, "compress_bench: {}\n", error.what());
    return ockham::exit_code(error.kind());
  }
}
