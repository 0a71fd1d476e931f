#include "cli/native/bench_main.h"

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/terminal.h"
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"

namespace ockham {
namespace {

int run(CLI::App& app, int argc, char** argv, const BenchArguments& arguments, const BenchSurroundings& surroundings) {
  try {
    app.parse(argc, argv);
    set_up_terminal(surroundings.quiet || surroundings.json);
    set_thread_count(surroundings.threads);
    run_bench_command(arguments, surroundings);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(ErrorKind::kUsage);
  } catch (const Error& error) {
    finish_terminal();
    fmt::print(stderr, "ockham-run bench: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    finish_terminal();
    fmt::print(stderr, "ockham-run bench: {}\n", error.what());
    return 1;
  }
  finish_terminal();
  return 0;
}

}  // namespace

int bench_main(int argc, char** argv) {
  CLI::App app{"Measure the native engine against the machine's limits.", "ockham-run bench"};
  BenchArguments arguments;
  BenchSurroundings surroundings;
  add_bench_options(app, arguments);
  app.add_flag("--json", surroundings.json, "Print machine-readable JSON");
  app.add_flag("--quiet", surroundings.quiet, "No progress and no notes");
  app.add_option("--threads", surroundings.threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  return run(app, argc, argv, arguments, surroundings);
}

}  // namespace ockham
