// `ockham-run`: a model's answer to one prompt, or a chat, on the native engine alone.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "cli/chat/chat.h"
#include "cli/native/bench_main.h"
#include "cli/serving/serve_options.h"
#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"

namespace ockham {
namespace {

// What both programs do around their work; the exit code.
int guarded(CLI::App& app, const std::function<void()>& work) {
  try {
    work();
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

void show_notes(bool is_quiet) {
  set_log_sink([is_quiet](LogLevel level, std::string_view text) {
    if (!is_quiet && level != LogLevel::kDebug) fmt::print(stderr, "{}\n", text);
  });
}

int serve_main(int argc, char** argv) {
  CLI::App app{"Serve a language model over HTTP, as the OpenAI API.", "ockham-run serve"};
  ServeArguments arguments;
  int threads = 0;
  bool is_quiet = false;
  add_serve_options(app, arguments);
  app.add_option("--threads", threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", is_quiet, "No notes");
  return guarded(app, [&] {
    app.parse(argc, argv);
    show_notes(is_quiet);
    set_thread_count(threads);
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { request_interrupt(); });
    serve_model(arguments);
  });
}

int main_of(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "serve") return serve_main(argc - 1, argv + 1);
  CLI::App app{"Run a language model: one answer, or a chat.", "ockham-run"};
  app.set_version_flag("--version", version());
  app.footer(
      "Example: ockham-run models/mini -p 'who is the mayor of Ardel?' --perf\n"
      "A server: ockham-run serve MODEL, see ockham-run serve --help.\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input.");
  ChatOptions options;
  add_chat_options(app, options);
  app.add_option("--threads", options.threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  app.add_flag("--json", options.json, "Print machine-readable JSON");
  app.add_flag("--quiet", options.quiet, "No notes");
  return guarded(app, [&] {
    app.parse(argc, argv);
    options.has_prompt = app.count("--prompt") > 0;
    set_thread_count(options.threads);
    show_notes(options.quiet);
    run_chat(options);
  });
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  try {
    // A model of that name is ./bench.
    if (argc > 1 && std::string_view(argv[1]) == "bench") return ockham::bench_main(argc - 1, argv + 1);
    return ockham::main_of(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ockham-run: %s\n", error.what());
    return 1;
  }
}
