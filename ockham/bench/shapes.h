// Shapes of well-known models (models/shapes.json, compiled in), for models whose weights are made up.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/families/config.h"

namespace ockham {

// First names of all shapes, in the table's order.
std::vector<std::string> shape_names();
// By any of a shape's names, in any case. Error(kUsage) for another one names the nearest, or all.
ModelConfig find_shape(const std::string& name);

}  // namespace ockham
