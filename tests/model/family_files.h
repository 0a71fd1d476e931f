// The tiny models of tests/model/families, as scripts/make_family_goldens.py makes them; without libtorch.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"

namespace ockham::test {

inline std::string golden_path(const std::string& name) {
  return fmt::format("{}/tests/model/families/{}.json", OCKHAM_SOURCE_DIR, name);
}

// "gemma2", "gpt2", ... in alphabetical order.
inline std::vector<std::string> golden_families() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(fmt::format("{}/tests/model/families", OCKHAM_SOURCE_DIR)))
    names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

// A name that GoogleTest takes for a test.
inline std::string test_name(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The model directory that the script made: config.json and weights by its formula.
inline void write_family(const Json& golden, const std::string& directory) {
  std::vector<TensorInfo> infos;
  for (const Json& tensor : golden["tensors"]) {
    TensorInfo info;
    info.name = tensor["name"];
    info.dtype = DType::kF32;
    info.shape = tensor["shape"].get<std::vector<int64_t>>();
    infos.push_back(info);
  }
  SafetensorsWriter writer(directory + "/model.safetensors", infos, {{"format", "pt"}});
  uint32_t index = 0;
  for (const Json& tensor : golden["tensors"]) {
    const double scale = tensor["scale"], shift = tensor["shift"];
    uint32_t state = ++index;
    std::vector<float> values(static_cast<size_t>(infos[index - 1].elements()));
    for (float& value : values) {
      state = 1664525U * state + 1013904223U;
      value = static_cast<float>(shift + scale * (static_cast<double>(state) / 4294967296.0 - 0.5));
    }
    writer.append(infos[index - 1].name, std::as_bytes(std::span(values)));
  }
  writer.finish();
  write_file_atomically(directory + "/config.json", golden["config"].dump(2));
}

}  // namespace ockham::test
