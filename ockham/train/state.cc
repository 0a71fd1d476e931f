// Training states on disk: a safetensors file with the numbers in its metadata.
#include "ockham/train/state.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/io/file.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/checkpoint.h"
#include "ockham/tensor/ops.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

const char* const kVersion = "1";

std::string metadata_text(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    throw_input("{}: lacks '{}' in its metadata; remove it to start again", file.path(), key);
  return found->second;
}
// Hexadecimal floats keep every bit.
double metadata_real(const SafetensorsFile& file, const std::string& key) {
  return std::strtod(metadata_text(file, key).c_str(), nullptr);
}
int64_t metadata_integer(const SafetensorsFile& file, const std::string& key) {
  return std::strtoll(metadata_text(file, key).c_str(), nullptr, 10);
}

}  // namespace

void initialize(const ParameterLayout& layout, int64_t blocks, uint64_t seed, TrainState& state) {
  state.values.assign(static_cast<size_t>(layout.elements), 1.0f);
  state.first.assign(state.values.size(), 0.0f);
  state.second.assign(state.values.size(), 0.0f);
  for (const ParameterSpan& span : layout.spans) {
    if (span.columns == 0) continue;
    const bool is_embedding = span.name.find("layers.") == std::string::npos;
    const bool is_output =
        span.name.find("o_proj") != std::string::npos || span.name.find("down_proj") != std::string::npos;
    double deviation = is_embedding ? 0.02 : 1.0 / std::sqrt(static_cast<double>(span.columns));
    if (is_output) deviation /= std::sqrt(2.0 * static_cast<double>(blocks));
    Rng rng(mix_seed(seed, hash_seed(span.name)));
    for (int64_t i = 0; i < span.elements(); ++i) {
      state.values[static_cast<size_t>(span.offset + i)] = static_cast<float>(rng.normal() * deviation);
    }
  }
}

void start_from(const std::string& model, const ParameterLayout& layout, const ModelConfig& config,
                const std::string& work, TrainState& state) {
  const Checkpoint checkpoint(model);
  const ModelConfig& found = checkpoint.config();
  const auto check = [&](const char* key, int64_t have, int64_t want) {
    if (have != want) {
      throw_input("{}/config.json: {} is {}, expected {} as in the section 'model'; change one of the two", model, key,
                  have, want);
    }
  };
  if (found.family != config.family) {
    throw_input("{}/config.json: model_type is {}, expected {}; start from such a model", model, found.family,
                config.family);
  }
  check("hidden_size", found.hidden_size, config.hidden_size);
  check("intermediate_size", found.intermediate_size, config.intermediate_size);
  check("num_hidden_layers", found.blocks, config.blocks);
  check("num_attention_heads", found.heads, config.heads);
  check("num_key_value_heads", found.kv_heads, config.kv_heads);
  check("vocab_size", found.vocabulary, config.vocabulary);
  check("tie_word_embeddings", found.tied_embeddings, config.tied_embeddings);
  state.values.assign(static_cast<size_t>(layout.elements), 0.0f);
  state.first.assign(state.values.size(), 0.0f);
  state.second.assign(state.values.size(), 0.0f);
  for (const ParameterSpan& span : layout.spans) {
    const Tensor tensor = checkpoint.read_tensor(span.name, DType::kF32).contiguous();
    OCKHAM_CHECK(tensor.numel() == span.elements());
    std::copy_n(tensor.data_ptr<float>(), span.elements(), state.values.begin() + span.offset);
  }
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    const std::string from = checkpoint.directory() + "/" + name;
    write_file_atomically(work + "/" + name, read_text_file(from));
  }
}

void save_state(const TrainState& state, const ParameterLayout& layout, const std::string& path) {
  std::vector<TensorInfo> tensors;
  for (const char* kind : {"weight", "first", "second"}) {
    tensors.push_back({kind, DType::kF32, {layout.elements}, 0, 0});
  }
  const std::map<std::string, std::string> metadata = {
      {"format", fmt::format("ockham-training-{}", kVersion)},
      {"step", fmt::format("{}", state.step)},
      {"tokens", fmt::format("{}", state.tokens)},
      {"pass", fmt::format("{}", state.position.pass)},
      {"batch", fmt::format("{}", state.position.batch)},
      {"seconds", fmt::format("{:a}", state.seconds)},
      {"loss", fmt::format("{:a}", state.loss)},
      {"config_sha256", state.config_sha256},
      {"data_sha256", state.data_sha256},
  };
  const std::string temporary = path + fmt::format(".tmp-{}", ::getpid());
  try {
    SafetensorsWriter writer(temporary, tensors, metadata);
    const auto bytes = [](const std::vector<float>& values) { return std::as_bytes(std::span(values)); };
    writer.append("weight", bytes(state.values));
    writer.append("first", bytes(state.first));
    writer.append("second", bytes(state.second));
    writer.finish();
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& error) {
    throw_error(ErrorKind::kResource, "{}: cannot be written: {}; free space or choose another output", path,
                error.what());
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

TrainState load_state(const ParameterLayout& layout, const std::string& path) {
  const SafetensorsFile file(path);
  if (metadata_text(file, "format") != fmt::format("ockham-training-{}", kVersion)) {
    throw_input("{}: key 'format' is '{}', expected 'ockham-training-{}'; remove it to start again", path,
                metadata_text(file, "format"), kVersion);
  }
  TrainState state;
  state.step = metadata_integer(file, "step");
  state.tokens = metadata_integer(file, "tokens");
  state.position = {metadata_integer(file, "pass"), metadata_integer(file, "batch")};
  state.seconds = metadata_real(file, "seconds");
  state.loss = metadata_real(file, "loss");
  state.config_sha256 = metadata_text(file, "config_sha256");
  state.data_sha256 = metadata_text(file, "data_sha256");
  const auto read = [&](const char* name) {
    const TensorInfo* info = file.find(name);
    if (!info || info->dtype != DType::kF32 || info->elements() != layout.elements) {
      throw_input("{}: tensor '{}' is missing or of another size, expected {} float32 values; remove it to start again",
                  path, name, layout.elements);
    }
    std::vector<float> values(static_cast<size_t>(layout.elements));
    std::memcpy(values.data(), file.data(*info).data(), values.size() * sizeof(float));
    return values;
  };
  state.values = read("weight");
  state.first = read("first");
  state.second = read("second");
  return state;
}

}  // namespace ockham
