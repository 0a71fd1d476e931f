#include "ockham/bench/shapes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/io/json.h"

namespace ockham {

// Written by the build from models/shapes.json.
std::string_view shapes_json();

namespace {

const Json& shapes() {
  static const Json kShapes = Json::parse(shapes_json()).at("shapes");
  return kShapes;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text;
}

// The names that hold the text or are held by it, or the nearest one.
std::string suggestion(const std::string& name, const std::vector<std::string>& all) {
  std::vector<std::string> alike;
  for (const std::string& one : all)
    if (!name.empty() && (one.find(name) != std::string::npos || name.find(one) != std::string::npos))
      alike.push_back(one);
  if (!alike.empty()) return fmt::format("did you mean one of {}?", fmt::join(alike, ", "));
  if (const std::string near = closest_name(name, all); !near.empty()) return "did you mean '" + near + "'?";
  return fmt::format("known are {}", fmt::join(shape_names(), ", "));
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Json& shape : shapes()) names.push_back(shape.at("names").at(0));
  return names;
}

ModelConfig find_shape(const std::string& name) {
  const std::string wanted = lower(name);
  std::vector<std::string> all;
  for (const Json& shape : shapes()) {
    for (const Json& one : shape.at("names")) {
      all.push_back(one);
      if (all.back() == wanted) return ModelConfig::parse(shape.at("config"), "shape '" + wanted + "'");
    }
  }
  throw_error(ErrorKind::kUsage, "no shape of a model is named '{}'; {}", name, suggestion(wanted, all));
}

}  // namespace ockham
