// The study's backend on libtorch, with FactWorld as the source of embedded items and texts.
#pragma once

#include <memory>
#include <string>

#include "ockham/study/backend.h"

namespace ockham {

std::unique_ptr<StudyBackend> make_torch_backend(const std::string& device);

}  // namespace ockham
