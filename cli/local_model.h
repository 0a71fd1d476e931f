// A model on this machine, on the engine that the user chose.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ockham/core/language_model.h"
#include "ockham/text/tokenizer.h"

namespace ockham {

struct LocalModelOptions {
  // "native": Ockham's own kernels, on weights as they are stored; "libtorch"; "auto": native where nothing is asked
  // for that only libtorch has.
  std::string engine = "auto";
  std::string dtype;                        // of libtorch's arithmetic; "": the checkpoint's
  std::optional<uint64_t> noise_seed = {};  // TorchLanguageModel::Options
  std::string kv;                           // parse_kv_policy(); "": as the model's config.json says
};
// --engine and --dtype.
void add_local_model_options(CLI::App& command, LocalModelOptions& options);

struct LocalModel {
  std::unique_ptr<LanguageModel> model;
  const Tokenizer* tokenizer = nullptr;  // the model's own
};
// A directory, a .gguf file or a Hub id. Error(kUsage) for what an engine does not have.
LocalModel open_local_model(const std::string& path, const LocalModelOptions& options);

}  // namespace ockham
