// --kv of every command that runs a model, with or without libtorch.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "ockham/core/kv_policy.h"

namespace ockham {

void add_kv_option(CLI::App& app, std::string& kv);
// Nothing for "": as the model's config.json says. Error(kInput) for what is no policy.
std::optional<KvPolicy> chosen_kv_policy(const std::string& kv);

}  // namespace ockham
