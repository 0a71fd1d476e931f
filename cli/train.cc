// `ockham train`: a model from scratch, from a configuration file.
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "cli/commands.h"
#include "ockham/io/json.h"
#include "ockham/train/trainer.h"

namespace ockham {

void add_train_command(CLI::App& app) {
  struct Arguments {
    std::string config, output;
    std::optional<uint64_t> seed;
    TrainOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Train a small model from scratch");
  command->add_option("CONFIG", arguments->config, "Training configuration (YAML)")->required();
  command->add_option("-o,--output", arguments->output, "Model directory to write")->required();
  command->add_option("--seed", arguments->seed, "Seed of weights and order, instead of the configuration's")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 62));
  command->add_flag("--overwrite", arguments->options.overwrite, "Replace an existing output");
  command->add_flag("--restart", arguments->options.restart, "Forget an interrupted run of this output");
  command->footer(
      "Examples:\n"
      "  ockham train examples/train-mini.yaml -o mini\n"
      "  ockham train examples/train-mini.yaml -o mini      # again, after Ctrl-C: goes on where it stopped\n"
      "  ockham train examples/train-seeds-64.yaml --seed 3 -o seed-3");
  command->callback([arguments] {
    TrainOptions options = arguments->options;
    options.device = global_options().device;
    while (arguments->output.size() > 1 && arguments->output.back() == '/') arguments->output.pop_back();
    const TrainResult result = train(read_train_config(arguments->config, arguments->seed), arguments->output, options);
    if (global_options().json) {
      Json json;
      json["output"] = arguments->output;
      json["parameters"] = result.parameters;
      json["steps"] = result.steps;
      json["tokens"] = result.tokens;
      json["seconds"] = result.seconds;
      json["tokens_per_s"] = result.tokens_per_s;
      json["loss"] = result.loss;
      json["heldout_perplexity"] = result.heldout_perplexity;
      json["sha256"] = result.sha256;
      fmt::print("{}\n", json.dump(2));
      return;
    }
    fmt::print("{}: {} parameters, {} steps, {} tokens in {:.0f} s ({:.0f} tokens/s), loss {:.4f}", arguments->output,
               result.parameters, result.steps, result.tokens, result.seconds, result.tokens_per_s, result.loss);
    if (result.heldout_perplexity > 0) fmt::print(", held-out perplexity {:.3f}", result.heldout_perplexity);
    fmt::print("\n");
  });
}

}  // namespace ockham
