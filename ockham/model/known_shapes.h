// The config of a model whose weights are not here, for plans, from a lone config.json or from a table of shapes.
#pragma once

#include <cstdint>
#include <string>

#include "ockham/io/families/families.h"

namespace ockham {

struct KnownShape {
  ModelConfig config;
  std::string origin;  // "shape of 'llama-2-13b-hf' in models/shapes.json"
};
// `model`: a directory (or Hub id in the local cache) that holds config.json at least, or a name whose last part stands
// in the JSON file `table`. Error(kInput) with the names that the table knows.
KnownShape known_shape(const std::string& model, const std::string& table);

}  // namespace ockham
