// Whole models: config.json in the first line and model.safetensors behind it, or a GGUF file. Whatever opens can be
// read, or gives an error that names what is wrong.
#include "ockham/runtime/model_files.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace {

using namespace ockham;

constexpr int64_t kMostNumbers = int64_t{1} << 18;

// One directory for each process, made once.
const std::string& directory() {
  static const std::string kPath = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "ockham-fuzz-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }();
  return kPath;
}

void put(const std::string& name, std::string_view content) {
  const std::string path = directory() + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  require(file != nullptr && std::fwrite(content.data(), 1, content.size(), file) == content.size());
  std::fclose(file);
}

template <typename Read>
void read_all(const ModelFiles& files, Read&& read) {
  const ModelConfig& config = files.config();
  for (int64_t block = 0; block < std::min<int64_t>(config.blocks, 2); ++block) {
    for (const LinearSpec& spec : block_linears(config, block)) {
      if (spec.rows * spec.columns > kMostNumbers) continue;
      read([&] { require(files.read_linear(block, spec).rows() == spec.rows); });
      read([&] { files.read_input_rule(block, spec); });
      read([&] { files.read_bias(block, spec); });
    }
    for (const auto& spec : block_tensor_specs(config, block)) {
      read([&] { files.read_vector(block, spec.role); });
      read([&] {
        if (spec.shape.size() == 2) files.read_matrix(block, spec.role);
      });
    }
  }
  for (const auto& spec : frame_tensor_specs(config)) {
    read([&] { files.read_vector(spec.role); });
    if (spec.shape.size() != 2) continue;
    std::vector<float> row(static_cast<size_t>(spec.shape[1]));
    read([&] { files.read_row(spec.role, spec.shape[0] - 1, row.data()); });
    read([&] { require(files.read_matrix(spec.role).columns() == spec.shape[1]); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(data, size);
  const bool is_gguf = text.starts_with("GGUF");
  std::string model = directory();
  if (is_gguf) {
    put("model.gguf", text);
    model += "/model.gguf";
  } else {
    const size_t end = text.find('\n');
    put("config.json", text.substr(0, end));
    put("model.safetensors", end == std::string_view::npos ? "" : text.substr(end + 1));
  }
  survives([&] {
    const ModelFiles files(model);
    read_all(files, [](const auto& work) { survives(work); });
  });
  return 0;
}
