// Opening a model on the native engine and serving it.
#include "cli/serving/serve_options.h"

#include <fmt/format.h>

#include <cstdlib>

#include "cli/kv_option.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/native_language_model.h"

namespace ockham {
namespace {

// "" where the variable is not set, which is an error only if it was named.
std::string read_key(const ServeArguments& arguments) {
  const char* value = std::getenv(arguments.key_variable.c_str());
  std::string key = value == nullptr ? "" : value;
  if (key.empty() && arguments.has_key_variable)
    throw_error(ErrorKind::kUsage, "--api-key-env: the variable {} is not set or empty; put the key into it",
                arguments.key_variable);
  for (const char c : key)
    if (c <= ' ' || c > '~')
      throw_error(ErrorKind::kUsage, "{}: the key holds a blank or a character beyond ASCII, which no header can carry",
                  arguments.key_variable);
  return key;
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "localhost" || host == "::1";
}

}  // namespace

void add_serve_options(CLI::App& app, ServeArguments& arguments) {
  ServerOptions& server = arguments.server;
  app.add_option("MODEL", arguments.model, "Model directory, .gguf file, or Hub id in the local cache")->required();
  app.add_option("--host", server.host, "Address to listen on")->capture_default_str();
  app.add_option("--port", server.port, "Port to listen on; 0: one that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--api-key-env", arguments.key_variable,
                 "Environment variable with the key that clients must send; OCKHAM_API_KEY counts where it is set")
      ->each([&](const std::string&) { arguments.has_key_variable = true; });
  app.add_option("--max-concurrent", server.service.most_running, "Texts that are generated at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--max-queue", server.service.most_queued, "Requests that may wait; further ones get status 429")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--queue-timeout", server.service.queue_timeout_s, "Seconds that a request waits at most")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--timeout", server.service.timeout_s, "Seconds that a request takes at most")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--client-timeout", server.read_timeout_s,
                 "Seconds after which a client that sends or takes nothing is left")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--grace", arguments.grace_s, "Seconds that running requests have to end when the server is stopped")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("--max-connections", server.most_connections, "Connections at once; further ones wait")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--max-body-mib", arguments.body_mib, "Largest request, in MiB")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--cache-type", arguments.cache_type,
                 "Keys and values: float32, bfloat16 (half the memory) or int8 (a quarter)")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}))
      ->capture_default_str();
  app.add_option("--cache-mib", arguments.cache_mib, "Memory for keys and values, in MiB")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  add_kv_option(app, arguments.kv);
  add_precision_flags(app, arguments.precision);
  app.add_flag("--copy-weights", arguments.copies_weights,
               "Copy dense weights to memory of their own, on huge pages, instead of using them where they are mapped");
  app.footer(
      "Example: ockham serve models/mini --port 8080\n"
      "  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \\\n"
      "    -d '{\"prompt\": \"who is the mayor of Ardel?\", \"max_tokens\": 16, \"temperature\": 0}'");
}

void serve_model(const ServeArguments& arguments) {
  NativeLanguageModel::Options how;
  how.has_hash = false;
  how.copies_dense = arguments.copies_weights;
  how.engine.precision = arguments.precision.precision();
  how.kv = chosen_kv_policy(arguments.kv);
  how.engine.cache_bytes = arguments.cache_mib << 20;
  how.engine.cache_type = arguments.cache_type == "int8" ? DType::kI8 : *dtype_from_config(arguments.cache_type);
  ServerOptions options = arguments.server;
  options.key = read_key(arguments);
  options.write_timeout_s = options.read_timeout_s;
  options.most_body_bytes = arguments.body_mib << 20;
  // Where tokens that are read are rounded in another way than generated ones, an answer read again is another prefix.
  options.service.shares_answers =
      how.engine.precision == ReadPrecision::kExact ||
      (how.engine.precision == ReadPrecision::kRounded && current_target() != Target::kAmx);
  NativeLanguageModel model(arguments.model, how);
  run_server(model, options, arguments.grace_s, [&](const Server& server) {
    log_info(fmt::format("{}: {}, {} threads, at {}", model.info().name, model.info().arithmetic,
                         model.engine().threads().threads(), server.url()));
    if (options.key.empty() && !is_loopback(options.host))
      log_warning(fmt::format("{}: whoever reaches this address can use the model; set a key in {}", options.host,
                              arguments.key_variable));
  });
}

}  // namespace ockham
