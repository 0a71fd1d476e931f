// What loads which layout: the loaders' sources and issues of autumn 2026 (vLLM 0.24, transformers 5, llama.cpp's
// convert_hf_to_gguf).
#include "ockham/pipeline/doctor.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/formats/gptq.h"
#include "ockham/io/json.h"
#include "ockham/io/safetensors.h"
#include "ockham/model/gguf_model.h"
#include "ockham/text/tokenizer.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// The files as they lie there, and the settings of whoever quantized them.
struct Files {
  std::vector<std::unique_ptr<SafetensorsFile>> shards;
  std::vector<std::string> names;  // of tensors
  Json config = Json::object(), settings = Json::object();
  std::string method;  // "", "ockham", "gptq", ...

  bool has_ending(const std::string& ending) const {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name.ends_with(ending); });
  }
  bool has_part(const std::string& part) const {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return name.find(part) != std::string::npos; });
  }
};

Files open_files(const Checkpoint& checkpoint) {
  Files files;
  if (checkpoint.gguf() != nullptr) {
    files.config = checkpoint.gguf()->config();
    files.method = "gguf";
    for (const TensorInfo& info : checkpoint.gguf()->tensors()) files.names.push_back(info.name);
    return files;
  }
  const fs::path directory(checkpoint.directory());
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() != ".safetensors") continue;
    files.shards.push_back(std::make_unique<SafetensorsFile>(entry.path().string()));
    for (const TensorInfo& info : files.shards.back()->tensors()) files.names.push_back(info.name);
  }
  files.config = read_json_file((directory / "config.json").string());
  if (files.config.contains("quantization_config")) files.settings = files.config["quantization_config"];
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    if (files.settings.empty() && fs::exists(directory / name)) {
      files.settings = read_json_file((directory / name).string());
      files.method = std::string(name).starts_with("quantize") ? "gptq" : "awq";
    }
  }
  if (files.settings.is_object() && files.settings.contains("quant_method"))
    files.method = json_text(files.settings, "quant_method", "quantization_config");
  return files;
}

std::vector<uint32_t> read_words(const SafetensorsFile& file, const TensorInfo& info) {
  const auto bytes = file.data(info);
  std::vector<uint32_t> words(bytes.size() / sizeof(uint32_t));
  if (!words.empty()) std::memcpy(words.data(), bytes.data(), words.size() * sizeof(uint32_t));
  return words;
}

// Of the first linear, whose label may be wrong.
std::string gptq_zero_points(const Files& files, std::vector<std::string>& problems) {
  const std::string label = json_text(files.settings, "checkpoint_format", "quantization_config", "gptq");
  const int64_t bits = json_integer(files.settings, "bits", "quantization_config");
  const bool is_symmetric = json_flag(files.settings, "sym", "quantization_config", true);
  const GptqZeros labelled = label == "gptq" ? GptqZeros::kStoredMinusOne : GptqZeros::kStored;
  GptqZeros used = labelled;
  for (const auto& shard : files.shards) {
    const auto& tensors = shard->tensors();
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [](const TensorInfo& info) { return info.name.ends_with(".qzeros"); });
    if (found == tensors.end() || found->dtype != DType::kI32 || found->shape.size() != 2) continue;
    const int64_t rows = found->shape[1] * 32 / bits;
    const WordLayout layout = label == "gptq_p" ? WordLayout::kPlanar : WordLayout::kDense;
    const auto fields = unpack_gptq_zeros(read_words(*shard, *found), rows, found->shape[0], bits, layout);
    used = detect_gptq_zeros(fields, bits, is_symmetric, labelled);
    const auto top = static_cast<uint8_t>((1 << bits) - 1);
    if (used == GptqZeros::kStoredMinusOne && std::find(fields.begin(), fields.end(), top) != fields.end()) {
      problems.push_back(
          fmt::format("{} holds the zero point {}, which loaders of GPTQ v1 read differently; write gptq_v2",
                      found->name, int64_t{1} << bits));
    }
    break;
  }
  if (used != labelled) {
    problems.push_back(fmt::format(
        "labelled checkpoint_format '{}', but its zero points are those of {}: a loader that obeys the label reads "
        "every weight one step off; `ockham convert` writes it with the right label",
        label, used == GptqZeros::kStored ? "gptq_v2" : "gptq"));
  }
  return used == GptqZeros::kStored ? "stored as they are (gptq_v2)" : "stored minus one (gptq, v1)";
}

std::string zero_points(const Files& files, std::vector<std::string>& problems) {
  if (files.method == "gptq") return gptq_zero_points(files, problems);
  if (files.method == "awq") return "stored as they are, columns in AWQ's order";
  if (files.method == "gguf") return "inside the blocks";
  if (files.method == "ockham") return files.has_ending(".zeros") ? "stored as they are" : "none: symmetric or dense";
  if (files.has_ending(".weight_zero_point")) return "signed about the middle, packed along the outputs";
  return "none";
}

std::string projections(const Files& files) {
  const bool is_qkv_fused = files.has_part(".qkv_proj.") || files.has_part("query_key_value.") ||
                            files.has_part(".c_attn.") || files.has_part(".Wqkv.");
  std::string text = fmt::format("q, k, v {}", is_qkv_fused ? "fused" : "split");
  if (files.has_part("gate_up_proj")) {
    text += "; gate, up fused";
  } else if (files.has_part("gate_proj") || files.has_part(".w1.")) {
    text += "; gate, up split";
  }
  return files.has_part(".experts.") ? text + "; a matrix for each expert" : text;
}

std::string head(const Files& files, const ModelConfig& config, std::vector<std::string>& problems) {
  const bool is_stored = files.has_ending("lm_head.weight") || files.has_ending("embed_out.weight");
  if (!config.tied_embeddings) return "own tensor";
  if (is_stored) {
    problems.emplace_back(
        "a head is stored although tie_word_embeddings is true: the flag wins and the tensor is ignored; remove one of "
        "the two");
  }
  return "tied to the embedding";
}

bool renders(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages, std::string& error,
             bool adds_prompt = true) {
  try {
    error = tokenizer.render_chat(messages, adds_prompt);
    return true;
  } catch (const Error& failure) {
    error = failure.what();
    return false;
  }
}

std::string chat_template(const Tokenizer& tokenizer, std::vector<std::string>& problems) {
  if (!tokenizer.has_chat_template()) return "none";
  const ChatMessage user{"user", "Hello"};
  std::string prompt, text;
  if (!renders(tokenizer, {user}, prompt)) {
    problems.push_back(prompt);
    return "does not render";
  }
  std::string verdict = "renders";
  if (!renders(tokenizer, {user, {"assistant", "Hi"}, user}, text)) problems.push_back(text);
  if (renders(tokenizer, {user}, text, false) && text == prompt)
    problems.emplace_back(
        "the chat template ignores add_generation_prompt: the model may go on with the user's words; end its prompt "
        "with the assistant's marker");
  // Usual, and a trap: a caller that adds special tokens to a rendered chat gets two of them.
  const std::vector<int32_t> ids = tokenizer.encode(prompt, true);
  if (ids.size() > 1 && tokenizer.bos_id() == ids[0] && ids[0] == ids[1]) verdict += " with its own first token";
  if (!renders(tokenizer, {{"system", "Be brief."}, user}, text)) verdict += "; refuses a system message";
  return verdict;
}

void check_tokenizer(const Checkpoint& checkpoint, FormatDiagnosis& result) {
  try {
    const Tokenizer tokenizer(checkpoint.directory());
    if (tokenizer.vocabulary_size() > checkpoint.config().vocabulary) {
      result.problems.push_back(fmt::format(
          "the tokenizer has {} tokens and the embedding {} rows: the last tokens crash or are refused; take "
          "the tokenizer of this model",
          tokenizer.vocabulary_size(), checkpoint.config().vocabulary));
    }
    if (tokenizer.eos_ids().empty()) {
      result.problems.emplace_back(
          "no end-of-text token is named: generation ends at the length limit only; add eos_token_id to "
          "generation_config.json");
    }
    result.chat_template = chat_template(tokenizer, result.problems);
  } catch (const Error& error) {
    result.problems.emplace_back(error.what());
    result.chat_template = "no tokenizer";
  }
}

std::vector<LoaderVerdict> verdicts(const char* transformers, const char* vllm, const char* llama) {
  std::vector<LoaderVerdict> list;
  for (const auto& [program, text] : {std::pair{"transformers", transformers}, {"vLLM", vllm}, {"llama.cpp", llama}}) {
    // "no: ..." is a refusal.
    const std::string note = text;
    const bool loads = !note.starts_with("no: ");
    list.push_back({program, loads, loads ? note : note.substr(4)});
  }
  return list;
}

std::vector<LoaderVerdict> compressed_tensors_loaders(const Files& files) {
  const std::string format = json_text(files.settings, "format", "quantization_config", "dense");
  if (files.has_ending(".bitmask")) {
    return verdicts("no: sparse bitmasks were removed; convert to dense", "no: removed in 2026; convert to dense",
                    "no: convert to dense");
  }
  const bool has_zeros = files.has_ending(".weight_zero_point");
  std::set<int64_t> widths;
  size_t groups = 0;
  bool is_grouped = true;
  const Json config_groups = files.settings.value("config_groups", Json::object());
  for (const auto& [name, group] : config_groups.items()) {
    if (!group.is_object() || !group.contains("weights") || !group["weights"].is_object()) continue;
    ++groups;
    widths.insert(json_integer(group["weights"], "num_bits", name, 0));
    is_grouped = is_grouped && json_text(group["weights"], "strategy", name, "") == "group";
  }
  if (format != "pack-quantized")
    return verdicts("with the package compressed-tensors", "", "through its converter, dequantized");
  const bool is_odd = std::any_of(widths.begin(), widths.end(), [](int64_t bits) { return bits != 4 && bits != 8; });
  return verdicts(
      has_zeros ? "no: zero points of this layout fail in transformers 5; convert to gptq_v2 or awq"
                : "with the package compressed-tensors",
      is_odd ? "on a GPU, releases that know the width and its word layout" : "on a GPU, or a processor with AVX-512",
      is_odd       ? "no: its converter expects words of the old layout; convert to gguf"
      : groups > 1 ? "no: its converter takes one config group only; convert to gguf"
      : is_grouped ? "through its converter, dequantized"
                   : "no: its converter takes groups, not whole rows; convert to gguf");
}

std::vector<LoaderVerdict> loaders(const Files& files, const ModelConfig& config) {
  const std::string& method = files.method;
  if (method.empty()) {
    return verdicts("", "", config.family == "opt" ? "no: it has no architecture for opt" : "through its converter");
  }
  if (method == "ockham") {
    return verdicts("no: Ockham's own container; `ockham convert` writes dense, compressed-tensors, gptq_v2 or awq",
                    "no: Ockham's own container; `ockham convert` writes compressed-tensors, gptq_v2 or awq",
                    "no: Ockham's own container; `ockham convert` writes gguf");
  }
  if (method == "gguf") return verdicts("with the package gguf, dequantized", "with vllm-gguf-plugin", "");
  if (method == "compressed-tensors") return compressed_tensors_loaders(files);
  if (method == "gptq") {
    const int64_t bits = json_integer(files.settings, "bits", "quantization_config", 4);
    const std::string format = json_text(files.settings, "checkpoint_format", "quantization_config", "gptq");
    const bool is_planar = format == "gptq_p";
    return verdicts("with the package gptqmodel", is_planar ? "no: planar words; convert to gptq_v2" : "on a GPU",
                    is_planar || (bits != 2 && bits != 4 && bits != 8)
                        ? "no: its converter takes 2, 4 and 8 bits in plain words; convert to gguf"
                        : "through its converter, dequantized");
  }
  if (method == "awq")
    return verdicts("with the package gptqmodel", "on a GPU", "no: its converter does not know awq; convert to gguf");
  if (method == "fp8") return verdicts("on a GPU", "on a GPU", "through its converter, dequantized");
  return verdicts("with the package bitsandbytes", "with the package bitsandbytes; support is ending",
                  "no: convert to gguf");
}

void check_directory(const Files& files, const std::string& directory, std::vector<std::string>& problems) {
  if (files.config.contains("auto_map"))
    problems.emplace_back("config.json asks for code of its own (auto_map), which Ockham never runs");
  if (files.method == "gguf") return;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("pytorch_model") && name.ends_with(".bin")) {
      problems.push_back(fmt::format("{} lies beside the safetensors and is never opened; delete it", name));
      break;
    }
  }
}

}  // namespace

FormatDiagnosis diagnose_format(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  const Files files = open_files(checkpoint);
  FormatDiagnosis result;
  result.layout = checkpoint.layout();
  result.stored_bytes = checkpoint.bytes();
  result.dense_bytes = checkpoint.parameters() * dtype_size(config.dtype);
  result.zero_points = zero_points(files, result.problems);
  result.projections = projections(files);
  result.head = head(files, config, result.problems);
  if (!checkpoint.unused_tensors().empty()) {
    result.problems.push_back(fmt::format("{} tensors are no part of a {} model, such as '{}'",
                                          checkpoint.unused_tensors().size(), config.family,
                                          checkpoint.unused_tensors().front()));
  }
  check_directory(files, checkpoint.directory(), result.problems);
  check_tokenizer(checkpoint, result);
  result.loaders = loaders(files, config);
  return result;
}

}  // namespace ockham
