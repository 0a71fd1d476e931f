// `ockham convert`: the same weights in another layout, block by block.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/model/checkpoint.h"
#include "ockham/model/gguf_model.h"
#include "ockham/model/interchange_writer.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

struct ConvertArguments {
  std::string model, out;
  InterchangeOptions target;
  std::string type = "auto";  // of GGUF
  std::string dtype;          // "": the model's
  bool overwrite = false;
};

Json summary_json(const ConversionSummary& summary) {
  return {{"exact", summary.exact},
          {"scales_rounded", summary.rescaled},
          {"codes_rounded", summary.rounded},
          {"left_dense", summary.dense},
          {"worst_relative_error", summary.worst_error},
          {"worst_linear", summary.worst_linear}};
}

std::string summary_text(const ConversionSummary& summary) {
  std::string text = fmt::format("linears: {} bit for bit", summary.exact);
  if (summary.rescaled > 0) text += fmt::format(", {} with rounded scales", summary.rescaled);
  if (summary.rounded > 0) text += fmt::format(", {} rounded again", summary.rounded);
  if (summary.dense > 0) text += fmt::format(", {} left dense", summary.dense);
  if (summary.worst_error > 0)
    text += fmt::format("; largest relative error {:.3g} ({})", summary.worst_error, summary.worst_linear);
  return text;
}

// The layout is what the written model turns out to be when it is opened.
void print_result(const ConvertArguments& arguments, int64_t bytes, const ConversionSummary& summary) {
  const std::string layout = Checkpoint(arguments.out).layout();
  if (global_options().json) {
    const Json json = {{"out", arguments.out},
                       {"format", arguments.target.format},
                       {"layout", layout},
                       {"bytes", bytes},
                       {"linears", summary_json(summary)}};
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}: {}, {:.2f} MB\n{}\n", arguments.out, layout, static_cast<double>(bytes) / 1e6, summary_text(summary));
}

void run_convert_gguf(const ConvertArguments& arguments, const Checkpoint& checkpoint) {
  namespace fs = std::filesystem;
  if (!arguments.out.ends_with(".gguf"))
    throw_error(ErrorKind::kUsage, "{}: is a GGUF file to write, expected a name that ends in .gguf", arguments.out);
  if (fs::exists(arguments.out) && !arguments.overwrite)
    throw_input("{}: exists already; choose another name or pass --overwrite", arguments.out);
  if (const fs::path parent = fs::path(arguments.out).parent_path(); !parent.empty()) fs::create_directories(parent);
  GgufExport options;
  options.type = arguments.type;
  const int64_t bytes = write_gguf(checkpoint, arguments.out, options);
  print_result(arguments, bytes, options.summary);
}

void run_convert(const ConvertArguments& arguments) {
  const at::NoGradGuard no_grad;
  const Checkpoint checkpoint(arguments.model);
  if (arguments.target.format == "gguf") return run_convert_gguf(arguments, checkpoint);
  ModelConfig config = checkpoint.config();
  if (!arguments.dtype.empty()) config.dtype = *dtype_from_config(arguments.dtype);
  OutputDirectory output(arguments.out, arguments.overwrite);
  std::unique_ptr<InterchangeWriter> interchange;
  if (arguments.target.format != "dense") interchange = std::make_unique<InterchangeWriter>(arguments.target);
  CheckpointWriter::Options options;
  options.interchange = interchange.get();
  CheckpointWriter writer(output.path(), config, options);
  write_frame(writer, checkpoint, config.dtype);
  ConversionSummary dense;
  for (int64_t index = 0; index < config.blocks; ++index) {
    check_interrupt();
    report_progress({"convert " + arguments.out, index, config.blocks, "blocks"});
    Block block = checkpoint.read_block(index, config.dtype);
    for (Linear& linear : block.linears) {
      if (interchange != nullptr) continue;
      const Tensor values = weight_to_dense(linear.weight, at::kFloat),
                   written = values.to(to_scalar_type(config.dtype));
      dense.account(linear.name, values, written.to(at::kFloat), false);
      linear.weight = DenseWeight{written};
    }
    write_block(writer, block, index, config.dtype);
  }
  writer.finish(checkpoint.directory());
  output.commit();
  print_result(arguments, writer.bytes(), interchange == nullptr ? dense : interchange->summary());
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand("convert", "Write a model in another layout");
  command->add_option("model", arguments->model, "Model directory, or a Hub id in the local Hugging Face cache")
      ->required();
  command->add_option("out", arguments->out, "Directory (or .gguf file) to write; appears whole or not at all")
      ->required();
  command
      ->add_option("--to", arguments->target.format,
                   "dense: plain tensors that any tool reads; compressed-tensors: 4 or 8 bit groups; int8: W8A8; fp8: "
                   "weights; gptq: symmetric only; gptq_v2; awq; gguf: one file")
      ->required()
      ->check(CLI::IsMember({"dense", "compressed-tensors", "int8", "fp8", "gptq", "gptq_v2", "awq", "gguf"}));
  command->add_option("--bits", arguments->target.bits, "Bits of weights without a grid that fits (default 4)");
  command->add_option("--group-size", arguments->target.group_size, "Groups of these inputs; -1: whole rows")
      ->capture_default_str();
  command
      ->add_option(
          "--type", arguments->type,
          "Of gguf: auto (the smallest type that keeps the codes), F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, "
          "Q5_K, Q6_K")
      ->capture_default_str();
  command
      ->add_option("--dtype", arguments->dtype,
                   "Of plain tensors; default: the model's, which rounds the values of a compressed model to it")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  command->add_flag("--asymmetric", arguments->target.asymmetric,
                    "Zero points; in compressed-tensors only vLLM loads them, transformers 5 does not");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  command->footer(
      "Examples:\n  ockham convert mini-wanda-50 mini-wanda-50-dense --to dense\n"
      "  ockham convert mini-gptq-4 mini-gptq-4-vllm --to gptq_v2");
  command->callback([arguments] { run_convert(*arguments); });
}

}  // namespace ockham
