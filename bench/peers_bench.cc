// Ockham's side of `make bench-peers`. Prints one JSON object.
//   peers_bench compress MODEL METHOD IDS.npy OUT   seconds of the middle block of three, and the process' memory
//   peers_bench parts MODEL                         rates of matrix products, one block's forward and Gram matrices
//   peers_bench solve METHOD COLUMNS                one 2048 x COLUMNS linear, statistics given
// METHOD: wanda, sparsegpt, gptq or awq, with the settings that the other side uses.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/methods/method.h"
#include "ockham/model/families.h"
#include "ockham/pipeline/compress.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/linalg.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Processor time of all threads: what a machine busy with other work distorts least.
double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::map<std::string, ParamValue> settings_of(const std::string& method) {
  if (method == "gptq")
    return {{"bits", int64_t{4}},
            {"group_size", int64_t{128}},
            {"symmetric", true},
            {"act_order", true},
            {"static_groups", true}};
  if (method == "awq") return {{"bits", int64_t{4}}, {"group_size", int64_t{128}}};
  return {{"sparsity", 0.5}};
}

Json time_compression(const std::string& model, const std::string& method, const std::string& ids,
                      const std::string& out) {
  const Stopwatch watch;
  Json events = Json::array();
  set_progress_sink([&](const ProgressEvent& event) {
    if (event.unit == "blocks") events.push_back({{"wall", watch.seconds()}, {"processor", processor_seconds()}});
  });
  Recipe recipe;
  recipe.name = method;
  recipe.calibration.data = ids;
  recipe.steps = {{method, {"blocks.*"}, settings_of(method), "bench"}};
  CompressOptions options;
  options.overwrite = true;
  const CompressionResult result = compress(model, recipe, out, options);
  const auto between = [&](const char* clock) {
    return events.at(1).at(clock).get<double>() - events.at(0).at(clock).get<double>();
  };
  return {{"wall", between("wall")},
          {"processor", between("processor")},
          {"forward", result.forward_seconds},
          {"method", result.method_seconds},
          {"all", result.seconds},
          {"peak_bytes", result.peak_bytes},
          {"machine", machine_description()},
          {"threads", at::get_num_threads()}};
}

// Operations per second of the median of several calls, by the wall clock.
double rate(double operations, const std::function<void()>& call) {
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const Stopwatch watch;
    call();
    seconds.push_back(watch.seconds());
  }
  std::sort(seconds.begin(), seconds.end());
  return operations / seconds[seconds.size() / 2];
}

Json measure_parts(const std::string& model) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = 2048;
  const Checkpoint checkpoint(model);
  const DType type = arithmetic_dtype(checkpoint.config().dtype, at::kCPU);
  const Block block = checkpoint.read_block(0, type);
  Decoder frame;
  frame.config = checkpoint.config();
  frame.embedding = at::zeros({1, 1}, to_scalar_type(type));
  const int64_t hidden = frame.config.hidden_size, inner = frame.config.intermediate_size;
  const BlockContext context = frame.make_context(1, 512, nullptr, {});
  const Tensor states = at::randn({tokens / 512, 512, hidden}).to(to_scalar_type(type));
  double weights = 0;
  for (const Linear& linear : block.linears)
    weights += static_cast<double>(weight_rows(linear.weight)) * static_cast<double>(weight_columns(linear.weight));
  const auto product = [&](at::ScalarType of) {
    const Tensor a = at::randn({tokens, hidden}).to(of), b = at::randn({inner, hidden}).to(of);
    return rate(2.0 * static_cast<double>(tokens * hidden * inner), [&] { at::linear(a, b); });
  };
  const auto gram = [&](int64_t columns) {
    const Tensor x = at::randn({tokens, columns});
    Tensor sum = at::zeros({columns, columns});
    // As operations of the full product, of which half are done.
    return rate(2.0 * static_cast<double>(tokens * columns * columns), [&] { add_gram(sum, x); });
  };
  Json parts = {{"arithmetic", type == DType::kF32 ? "float32" : "bf16"}, {"f32", product(at::kFloat)}};
  parts["bf16"] = product(at::kBFloat16);
  parts["forward"] = rate(2.0 * weights * static_cast<double>(tokens), [&] { block.forward(states, context); });
  parts["gram_2048"] = gram(2048);
  parts["gram_5632"] = gram(5632);
  parts["f32_after"] = product(at::kFloat);
  return parts;
}

Json time_solve(const std::string& method, int64_t columns) {
  const at::NoGradGuard no_grad;
  const Tensor x = at::randn({2 * columns, columns}) + at::randn({2 * columns, 1});
  LayerStats stats;
  stats.tokens = x.size(0);
  stats.gram = at::mm(x.t(), x) / static_cast<double>(x.size(0));
  stats.factors = std::make_shared<std::map<std::pair<double, bool>, HessianFactor>>();
  stats.stored = at::kBFloat16;
  Linear linear;
  linear.name = "linear";
  linear.weight = DenseWeight{at::randn({2048, columns}) * 0.02};
  const MethodEntry& entry = find_method(method, "bench");
  const auto solver = entry.make(Params("bench", entry.parameters, settings_of(method)));
  const Stopwatch watch;
  const double before = processor_seconds();
  solver->compress(linear, stats);
  return {{"wall", watch.seconds()}, {"processor", processor_seconds() - before}};
}

Json run(const std::vector<std::string>& words) {
  if (words.size() == 5 && words[0] == "compress") return time_compression(words[1], words[2], words[3], words[4]);
  if (words.size() == 2 && words[0] == "parts") return measure_parts(words[1]);
  if (words.size() == 3 && words[0] == "solve") return time_solve(words[1], std::stoll(words[2]));
  throw_error(ErrorKind::kUsage, "expected compress MODEL METHOD IDS OUT, parts MODEL, or solve METHOD COLUMNS");
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  try {
    const int threads = at::get_num_threads();  // as OMP_NUM_THREADS says
    ockham::set_thread_count(threads);
    ockham::set_tensor_threads(threads);
    ockham::use_caching_allocator();
    fmt::print("{}\n", ockham::run({argv + 1, argv + argc}).dump(2));
    return 0;
  } catch (const ockham::Error& error) {
    fmt::print(stderr, "peers_bench: {}\n", error.what());
    return ockham::exit_code(error.kind());
  }
}
