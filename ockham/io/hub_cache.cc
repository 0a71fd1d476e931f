// The cache's layout: models--org--name/{refs/main, snapshots/<commit>/}.
#include "ockham/io/hub_cache.h"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path cache_root() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string path = environment(name); !path.empty()) return path;
  }
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  const std::string cache = environment("XDG_CACHE_HOME");
  return (cache.empty() ? fs::path(environment("HOME")) / ".cache" : fs::path(cache)) / "huggingface" / "hub";
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r')) text.pop_back();
  return text;
}

bool is_hub_id(const std::string& model) {
  const size_t slash = model.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < model.size() &&
         model.find('/', slash + 1) == std::string::npos && model.front() != '.' &&
         model.find("..") == std::string::npos;
}

}  // namespace

std::string find_model_directory(const std::string& model) {
  if (fs::is_directory(model) || (fs::is_regular_file(model) && model.ends_with(".gguf"))) return model;
  if (fs::exists(model))
    throw_input(
        "{}: found a file, expected a model directory or a .gguf file; name the directory that holds config.json",
        model);
  if (!is_hub_id(model)) {
    throw_input("{}: no such directory, expected a model directory or a Hub id (org/name); check the path", model);
  }
  fs::path folder = cache_root() / ("models--" + std::string(model).replace(model.find('/'), 1, "--"));
  if (!fs::is_directory(folder / "snapshots")) {
    throw_input(
        "{}: neither a directory nor a model of the local Hugging Face cache (looked for {}); download it first, for "
        "example with `hf download {}`",
        model, folder.string(), model);
  }
  std::string commit;
  if (fs::exists(folder / "refs" / "main")) commit = trimmed(read_file((folder / "refs" / "main").string(), 1000));
  if (commit.empty()) {
    std::vector<std::string> commits;
    for (const auto& entry : fs::directory_iterator(folder / "snapshots"))
      commits.push_back(entry.path().filename().string());
    if (commits.size() != 1) {
      throw_input("{}: found {} snapshots and no refs/main in {}, expected one; name the snapshot's directory instead",
                  model, commits.size(), folder.string());
    }
    commit = commits.front();
  }
  const fs::path snapshot = folder / "snapshots" / commit;
  if (!fs::is_directory(snapshot)) {
    throw_input("{}: snapshot {} is missing from {}; download the model again", model, commit, folder.string());
  }
  return snapshot.string();
}

}  // namespace ockham
