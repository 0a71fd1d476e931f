// `ockham convert`: the same weights in another layout, block by block.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/model/checkpoint.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

struct ConvertArguments {
  std::string model, out, format;
  bool overwrite = false;
};

void run_convert(const ConvertArguments& arguments) {
  const at::NoGradGuard no_grad;
  const Checkpoint checkpoint(arguments.model);
  const DType dtype = checkpoint.config().dtype;
  OutputDirectory output(arguments.out, arguments.overwrite);
  CheckpointWriter writer(output.path(), checkpoint.config(), {});
  write_frame(writer, *checkpoint.read_frame(dtype), dtype);
  const int64_t blocks = checkpoint.config().blocks;
  for (int64_t index = 0; index < blocks; ++index) {
    check_interrupt();
    report_progress({"convert " + arguments.out, index, blocks, "blocks"});
    Block block = checkpoint.read_block(index, dtype);
    for (Linear& linear : block.linears)
      linear.weight = DenseWeight{weight_to_dense(linear.weight, to_scalar_type(dtype))};
    write_block(writer, block, index, dtype);
  }
  writer.finish(checkpoint.directory());
  output.commit();
  if (global_options().json) {
    fmt::print("{}\n", Json{{"out", arguments.out}, {"format", arguments.format}, {"bytes", writer.bytes()}}.dump(2));
  } else {
    fmt::print("{}: {}, {:.2f} MB\n", arguments.out, arguments.format, static_cast<double>(writer.bytes()) / 1e6);
  }
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand("convert", "Write a model in another layout");
  command->add_option("model", arguments->model, "Model directory, or a Hub id in the local Hugging Face cache")
      ->required();
  command->add_option("out", arguments->out, "Directory to write; appears whole or not at all")->required();
  command->add_option("--to", arguments->format, "dense: plain tensors that any tool reads")
      ->required()
      ->check(CLI::IsMember({"dense"}));
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  command->footer("Example:\n  ockham convert mini-wanda-50 mini-wanda-50-dense --to dense");
  command->callback([arguments] { run_convert(*arguments); });
}

}  // namespace ockham
