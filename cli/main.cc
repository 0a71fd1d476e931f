// Entry point of `ockham`: global flags, subcommands, and the one place where errors become exit codes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/params.h"
#include "ockham/core/version.h"
#include "ockham/tensor/allocator.h"
#include "ockham/tensor/device.h"

namespace ockham {
namespace {

GlobalOptions chosen_options;
int chosen_exit_code = 0;

void add_global_options(CLI::App& app) {
  app.add_flag("--json", chosen_options.json, "Print machine-readable JSON");
  app.add_flag("--quiet", chosen_options.quiet, "No progress and no notes");
  app.add_option("--threads", chosen_options.threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  app.add_option("--device", chosen_options.device, "cpu or cuda (where the installed libtorch has it)")
      ->check(CLI::IsMember({"cpu", "cuda"}));
}

// CLI11 only says that arguments were left over; name the nearest command instead.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--threads" || word == "--device") ++i;  // their value is no command
    if (word.starts_with("-")) continue;
    for (const std::string& name : names)
      if (word == name) return "";
    const std::string near = closest_name(word, names);
    return fmt::format("unknown command '{}'; {}see `ockham --help` for the list", word,
                       near.empty() ? "" : "did you mean '" + near + "'? ");
  }
  return "";
}

// CLI11 first reports what a misspelt option leaves out; name that option instead.
std::string unknown_option(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> names = {"help", "version"};
  const auto add_names = [&](const CLI::App& of) {
    for (const CLI::Option* option : of.get_options())
      names.insert(names.end(), option->get_lnames().begin(), option->get_lnames().end());
  };
  add_names(app);
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    if (command->parsed()) add_names(*command);
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--") break;
    if (!word.starts_with("--")) continue;
    word = word.substr(2, word.find('=') - 2);
    if (std::find(names.begin(), names.end(), word) != names.end()) continue;
    const std::string near = closest_name(word, names);
    return fmt::format("unknown option '--{}'; {}see `ockham --help` and `ockham COMMAND --help`", word,
                       near.empty() ? "" : "did you mean '--" + near + "'? ");
  }
  return "";
}

int run(int argc, char** argv) {
  CLI::App app{"Ockham: compress a language model, and know what it lost.", "ockham"};
  app.set_version_flag("--version", version());
  app.require_subcommand(1);
  app.footer(
      "Example: ockham study examples/quickstart.yaml -o quickstart\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 a finding fails, 4 cannot tell, 5 limits not met.");
  add_inspect_command(app);
  add_compress_command(app);
  add_search_command(app);
  add_eval_command(app);
  add_attack_command(app);
  add_study_command(app);
  add_report_command(app);
  add_recommend_command(app);
  add_recheck_command(app);
  add_convert_command(app);
  add_run_command(app);
  add_serve_command(app);
  add_bench_command(app);
  add_train_command(app);
  add_data_command(app);
  add_methods_command(app);
  add_tasks_command(app);
  add_recipes_command(app);
  // Before the command or behind it.
  add_global_options(app);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) add_global_options(*command);
  // Runs when the arguments are read and before the callback of the chosen command.
  app.parse_complete_callback([] {
    set_up_terminal(chosen_options.quiet || chosen_options.json);
    set_thread_count(chosen_options.threads);
    set_tensor_threads(thread_count());
    use_caching_allocator();
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    std::string better = unknown_command(app, argc, argv);
    if (better.empty()) better = unknown_option(app, argc, argv);
    if (!better.empty()) {
      fmt::print(stderr, "ockham: {}\n", better);
    } else {
      fmt::print(stderr, "ockham: {}; see `ockham --help`\n", error.what());
    }
    return exit_code(ErrorKind::kUsage);
  }
  return chosen_exit_code;
}

}  // namespace

const GlobalOptions& global_options() {
  return chosen_options;
}
void set_exit_code(int code) {
  chosen_exit_code = code;
}

}  // namespace ockham

int main(int argc, char** argv) {
  int code = 0;
  try {
    code = ockham::run(argc, argv);
  } catch (const ockham::Error& error) {
    ockham::finish_terminal();
    fmt::print(stderr, "ockham: {}\n", error.what());
    code = ockham::exit_code(error.kind());
  } catch (const std::exception& error) {
    ockham::finish_terminal();
    code = 1;
    const auto* system = dynamic_cast<const std::system_error*>(&error);
    if (ockham::is_out_of_memory(error)) {
      fmt::print(stderr, "ockham: out of memory; use fewer samples, a smaller model or a machine with more memory\n");
    } else if (system == nullptr) {
      fmt::print(stderr, "ockham: unexpected failure: {}\n", error.what());
    } else if (system->code() != std::errc::broken_pipe) {
      // Otherwise the reader of the output has seen enough, as in `ockham methods | head`.
      fmt::print(stderr, "ockham: {}\n", error.what());
    }
  }
  ockham::finish_terminal();
  // What lives as long as the process, libtorch's registries above all, takes 0.1 s to destroy and owes nobody
  // anything.
  std::fflush(nullptr);
  std::_Exit(code);
}
