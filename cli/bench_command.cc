// `bench` as a subcommand of `ockham`.
#include <memory>

#include "cli/bench.h"
#include "cli/commands.h"

namespace ockham {

void add_bench_command(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure the native engine against the machine's limits");
  add_bench_options(*command, *arguments);
  command->callback([arguments] {
    const GlobalOptions& options = global_options();
    run_bench_command(*arguments, {options.json, options.quiet, options.threads});
  });
}

}  // namespace ockham
