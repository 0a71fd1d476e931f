// What `ockham serve` and `ockham-run serve` have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "cli/precision_option.h"
#include "ockham/serve/server.h"

namespace ockham {

struct ServeArguments {
  std::string model, kv, cache_type = "float32", key_variable = "OCKHAM_API_KEY";
  bool has_key_variable = false, copies_weights = false;
  int64_t cache_mib = 1024, body_mib = 4;
  double grace_s = 10;
  PrecisionFlags precision;
  ServerOptions server;
};

// Everything but --threads.
void add_serve_options(CLI::App& app, ServeArguments& arguments);
// Until an interrupt is requested.
void serve_model(const ServeArguments& arguments);

}  // namespace ockham
