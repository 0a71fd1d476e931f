// Choosing between the two engines.
#include "cli/local_model.h"

#include "cli/commands.h"
#include "cli/kv_option.h"
#include "ockham/core/error.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/runtime/native_language_model.h"

namespace ockham {
namespace {

LocalModel open_native(const std::string& path, const LocalModelOptions& options) {
  if (global_options().device != "cpu")
    throw_error(ErrorKind::kUsage, "--engine native runs on the processor; leave --device out, or use libtorch");
  if (!options.dtype.empty())
    throw_error(ErrorKind::kUsage, "--dtype chooses libtorch's arithmetic; with --engine native leave it out");
  if (options.noise_seed)
    throw_error(ErrorKind::kUsage,
                "--engine native cannot add noise to weights; measure the noise floor with libtorch");
  // A measurement is of the weights, so inputs of bfloat16 weights are not rounded.
  NativeLanguageModel::Options how;
  how.engine.precision = ReadPrecision::kExact;
  how.kv = chosen_kv_policy(options.kv);
  auto model = std::make_unique<NativeLanguageModel>(path, how);
  const Tokenizer* tokenizer = &model->tokenizer();
  return {std::move(model), tokenizer};
}

LocalModel open_torch(const std::string& path, const LocalModelOptions& options) {
  if (!options.kv.empty())
    throw_error(ErrorKind::kUsage,
                "--kv {}: libtorch keeps whole caches; use --engine native, without --device, --dtype and noise",
                options.kv);
  TorchLanguageModel::Options how;
  how.device = global_options().device;
  how.noise_seed = options.noise_seed;
  if (!options.dtype.empty() && !(how.dtype = dtype_from_config(options.dtype)))
    throw_error(ErrorKind::kUsage, "--dtype: found '{}', expected float32, bfloat16 or float16", options.dtype);
  auto model = std::make_unique<TorchLanguageModel>(path, how);
  const Tokenizer* tokenizer = &model->tokenizer();
  return {std::move(model), tokenizer};
}

}  // namespace

void add_local_model_options(CLI::App& command, LocalModelOptions& options) {
  command
      .add_option("--engine", options.engine,
                  "native: Ockham's own kernels on the weights as they are stored; libtorch; auto: native but for "
                  "--device cuda, --dtype and noise")
      ->check(CLI::IsMember({"auto", "native", "libtorch"}))
      ->capture_default_str();
  command
      .add_option(
          "--dtype", options.dtype,
          "Arithmetic of libtorch (default: the checkpoint's; float32 where the processor lacks 16-bit arithmetic)")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
}

LocalModel open_local_model(const std::string& path, const LocalModelOptions& options) {
  const bool needs_torch = global_options().device != "cpu" || !options.dtype.empty() || options.noise_seed;
  if (options.engine == "native" || (options.engine == "auto" && !needs_torch)) return open_native(path, options);
  return open_torch(path, options);
}

}  // namespace ockham
