// `ockham-run`: a model's answer to one prompt, or a chat, on the native engine alone.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "cli/chat/chat.h"
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"

namespace ockham {
namespace {

int main_of(int argc, char** argv) {
  CLI::App app{"Run a language model: one answer, or a chat.", "ockham-run"};
  app.set_version_flag("--version", version());
  app.footer(
      "Example: ockham-run models/mini -p 'who is the mayor of Ardel?' --perf\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input.");
  ChatOptions options;
  add_chat_options(app, options);
  app.add_option("--threads", options.threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  app.add_flag("--json", options.json, "Print machine-readable JSON");
  app.add_flag("--quiet", options.quiet, "No notes");
  try {
    app.parse(argc, argv);
    options.has_prompt = app.count("--prompt") > 0;
    set_thread_count(options.threads);
    set_log_sink([&](LogLevel level, std::string_view text) {
      if (!options.quiet && level != LogLevel::kDebug) fmt::print(stderr, "{}\n", text);
    });
    run_chat(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    fmt::print(stderr, "ockham-run: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "ockham-run: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  return ockham::main_of(argc, argv);
}
