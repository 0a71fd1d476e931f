// `ockham bench`, which `ockham-run` has, too.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/precision_option.h"

namespace ockham {

struct BenchArguments {
  std::vector<std::string> models, formats, policies;
  std::vector<double> sparsities;
  std::string shape, head, output, study, kernels, cache_type = "float32";
  std::vector<int64_t> prompts, batches;
  int64_t tokens = 0, rounds = 5, group = 128;  // tokens 0: 32, beside policies 64
  double kv_gib = 4;
  PrecisionFlags precision;
  bool sweeps_sparsity = false, overwrite = false;
};
void add_bench_options(CLI::App& command, BenchArguments& arguments);

struct BenchSurroundings {
  bool json = false;   // print JSON instead of the table
  bool quiet = false;  // no paths of what was written
  int threads = 0;     // 0: all
};
// Prints, and writes what -o names. Throws Error.
void run_bench_command(const BenchArguments& arguments, const BenchSurroundings& surroundings);

}  // namespace ockham
