// --exact and --fast of every command that reads prompts with the native engine.
#pragma once

#include <CLI/CLI.hpp>

#include "ockham/runtime/engine.h"

namespace ockham {

struct PrecisionFlags {
  bool is_exact = false, is_fast = false;

  ReadPrecision precision() const {
    return is_exact ? ReadPrecision::kExact : is_fast ? ReadPrecision::kFast : ReadPrecision::kRounded;
  }
};

inline void add_precision_flags(CLI::App& app, PrecisionFlags& flags) {
  CLI::Option* exact =
      app.add_flag("--exact", flags.is_exact,
                   "Never round inputs of bfloat16 weights: slower prompts on processors with AMX, the bits of `ockham "
                   "eval --engine native`");
  app.add_flag("--fast", flags.is_fast,
               "Round inputs of integer weights to 8 bits while prompts are read: faster, and less precise")
      ->excludes(exact);
}

}  // namespace ockham
