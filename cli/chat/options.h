// What `ockham run` and `ockham-run` are told, and their options.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/precision_option.h"
#include "ockham/runtime/sampler.h"

namespace ockham {

struct ChatOptions {
  std::string model, prompt, system, cache_type = "float32", kv;
  bool has_prompt = false, raw = false, copy_weights = false, perf = false, json = false, quiet = false;
  int threads = 0;
  PrecisionFlags precision;
  int64_t max_tokens = 256, cache_mib = 1024;
  SamplerSettings sampler;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  std::string json_schema, grammar;  // a schema or its file, a file of GBNF
  bool json_object = false;
  bool packed_cache = false;
  std::string packed_cache_dir;

  bool is_constrained() const { return json_object || !json_schema.empty() || !grammar.empty(); }
};

// All of them but --threads, --json and --quiet, which the programs have in other places. `options` must outlive `app`.
void add_chat_options(CLI::App& app, ChatOptions& options);

}  // namespace ockham
