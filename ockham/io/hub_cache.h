// Finds a model directory: a path, or a Hub id in the local Hugging Face cache. Nothing is ever downloaded.
#pragma once

#include <string>

namespace ockham {

// `model` is an existing directory or "org/name". Error(kInput) says where was looked.
std::string find_model_directory(const std::string& model);

}  // namespace ockham
