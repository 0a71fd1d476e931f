// Reading a config without weights.
#include "ockham/model/known_shapes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/hub_cache.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

// The directory's config.json; "" where there is none.
std::string config_beside(const std::string& model) {
  std::string directory = model;
  try {
    directory = find_model_directory(model);
  } catch (const Error&) {
    // Not here at all: the table decides.
  }
  const fs::path file = fs::path(directory) / "config.json";
  return fs::is_regular_file(file) ? file.string() : "";
}

std::string last_part(std::string model) {
  while (model.size() > 1 && model.back() == '/') model.pop_back();
  model = model.substr(model.rfind('/') + 1);
  std::transform(model.begin(), model.end(), model.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return model;
}

}  // namespace

KnownShape known_shape(const std::string& model, const std::string& table) {
  if (const std::string file = config_beside(model); !file.empty())
    return {ModelConfig::parse(read_json_file(file), file), "config.json alone, no weights"};
  const Json json = read_json_file(table);
  const int64_t version = json_integer(json, "version", table);
  if (version != 1)
    throw_error(ErrorKind::kUnsupported, "{}: version {}, this program reads 1; use the Ockham that it came with",
                table, version);
  const std::string name = last_part(model);
  std::vector<std::string> known;
  if (!json.contains("shapes") || !json["shapes"].is_array())
    throw_input("{}: key 'shapes' is missing or not a list", table);
  for (const Json& shape : json["shapes"]) {
    if (!shape.is_object() || !shape.contains("names") || !shape["names"].is_array() || !shape.contains("config"))
      throw_input("{}: found {}, expected shapes with 'names' and 'config'", table, shape.dump().substr(0, 80));
    for (const Json& one : shape["names"]) {
      if (!one.is_string()) throw_input("{}: name {} is not a text", table, one.dump());
      known.push_back(one.get<std::string>());
      if (known.back() == name)
        return {ModelConfig::parse(shape["config"], table), "shape of '" + name + "' in models/shapes.json"};
    }
  }
  throw_input(
      "{}: no such model here, and no shape of '{}' is known to plan with; expected a directory with config.json, or a "
      "name ending in one of: {}",
      model, name, fmt::join(known, ", "));
}

}  // namespace ockham
