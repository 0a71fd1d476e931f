// `ockham compress`: a recipe on a model, to a new model directory.
#include "ockham/pipeline/compress.h"

#include <fmt/format.h>

#include <memory>

#include "cli/calibration.h"
#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/tensor/device.h"
#include "ockham/world/texts.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

struct CompressArguments {
  std::string model, recipe, out, calibration, contrast, dtype;
  std::vector<std::string> params;
  int64_t samples = 0, tokens = 0, seed = -1;
  bool is_dense = false, overwrite = false, restart = false;
};

// "sparsity=0.6" as a recipe would read it.
std::map<std::string, ParamValue> parse_settings(const std::vector<std::string>& settings) {
  std::map<std::string, ParamValue> params;
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw_error(ErrorKind::kUsage, "--set: found '{}', expected NAME=VALUE, as in --set sparsity=0.6", setting);
    }
    params[setting.substr(0, equals)] = parse_param(YamlNode::parse(setting.substr(equals + 1), "--set " + setting));
  }
  return params;
}

void run_compress(const CompressArguments& arguments) {
  Recipe recipe = Recipe::load(arguments.recipe, data_home() + "/recipes");
  recipe.set_params(parse_settings(arguments.params), "--set");
  if (!arguments.calibration.empty()) recipe.calibration.data = arguments.calibration;
  if (!arguments.contrast.empty()) recipe.contrast.data = arguments.contrast;
  for (CalibrationSpec* spec : {&recipe.calibration, &recipe.contrast}) {
    if (arguments.samples > 0) spec->samples = arguments.samples;
    if (arguments.tokens > 0) spec->tokens = arguments.tokens;
    if (arguments.seed >= 0) spec->seed = static_cast<uint64_t>(arguments.seed);
  }
  CompressOptions options;
  options.text_source = world_documents;
  options.is_packed = !arguments.is_dense;
  options.overwrite = arguments.overwrite;
  options.is_resumable = true;
  options.restart = arguments.restart;
  options.device = open_device(global_options().device);
  if (!arguments.dtype.empty()) options.dtype = dtype_from_config(arguments.dtype);
  const CompressionResult result = compress(arguments.model, recipe, arguments.out, options);
  if (global_options().json) {
    Json json = result.report["totals"];
    json["out"] = arguments.out;
    json["seconds"] = result.seconds;
    json["peak_bytes"] = result.peak_bytes;
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}: {:.2f} MB, {:.1f} % zeros, {:.2f} bits per weight in the blocks ({:.1f} s, peak memory {:.2f} GB)\n",
             arguments.out, static_cast<double>(result.bytes) / 1e6, 100 * result.sparsity, result.mean_bits,
             result.seconds, static_cast<double>(result.peak_bytes) / 1e9);
}

}  // namespace

std::vector<Document> world_documents(const std::string& name) {
  const std::string split = world_split(name);
  return split.empty() ? std::vector<Document>{} : World().documents(split);
}

void add_compress_command(CLI::App& app) {
  auto arguments = std::make_shared<CompressArguments>();
  CLI::App* command = app.add_subcommand("compress", "Run a recipe on a model, block by block");
  command->add_option("model", arguments->model, "Model directory, or a Hub id in the local Hugging Face cache")
      ->required();
  command->add_option("-r,--recipe", arguments->recipe, "A YAML file, or a name that `ockham recipes` lists")
      ->required();
  command->add_option("-o,--out", arguments->out, "Directory to write; appears whole or not at all")->required();
  command->add_option("--calibration", arguments->calibration,
                      ".txt, .jsonl, .parquet or .npy file, or factworld; replaces the recipe's");
  command->add_option("--contrast", arguments->contrast,
                      "The second text of a recipe that weighs two; replaces the recipe's");
  command->add_option("--samples", arguments->samples, "Calibration sequences; replaces the recipe's")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", arguments->tokens, "Tokens per sequence; replaces the recipe's")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", arguments->seed, "Calibration draw; replaces the recipe's")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--set", arguments->params, "NAME=VALUE: sets a method's parameter, as in --set sparsity=0.6");
  command->add_option("--dtype", arguments->dtype, "Arithmetic; default: the checkpoint's")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  command->add_flag("--dense", arguments->is_dense,
                    "Write dense tensors that any tool reads, instead of Ockham's container");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  command->add_flag("--restart", arguments->restart, "Start over where an interrupted run would go on");
  command->footer(
      "Examples:\n"
      "  ockham compress models/mini --recipe wanda-50 --calibration factworld -o mini-wanda-50\n"
      "  ockham compress llama --recipe rtn --set bits=3 --set group_size=128 -o llama-3bit\n"
      "  ockham compress org/name --recipe my.yaml --dense -o out");
  command->callback([arguments] { run_compress(*arguments); });
}

}  // namespace ockham
