// `ockham inspect --shape`: weights and KV cache of a model by its shape alone.
#pragma once

#include <cstdint>
#include <string>

namespace ockham {

struct ShapeArguments {
  std::string shape;  // a name of models/shapes.json, or a directory with a config.json
  int64_t batch = 1;
  int64_t tokens = 0;  // of each sequence; 0: the model's context
  std::string kv;      // parse_kv_policy(); "": nothing is compressed
};
// Prints, as text or JSON. Error(kInput) for a shape that nobody knows.
void inspect_shape(const ShapeArguments& arguments);

}  // namespace ockham
