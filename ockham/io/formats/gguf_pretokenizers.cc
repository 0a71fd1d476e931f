// Names and expressions (https://github.com/ggml-org/llama.cpp src/llama-vocab.cpp lists the names, the models' own
// tokenizer.json the expressions).
#include "ockham/io/formats/gguf_pretokenizers.h"

#include "ockham/core/error.h"

namespace ockham {
namespace {

struct PreTokenizer {
  const char* name;
  const char* expression;  // null: the byte-level rule of GPT-2
  bool has_nfc, ignores_merges;
};
constexpr PreTokenizer kPreTokenizers[] = {
    {"gpt-2", nullptr, false, false},
    {"llama-bpe",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, true},
    {"qwen2",
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     true, false},
};

Json byte_level(bool uses_expression) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", uses_expression}};
}

Json pre_tokenizer(const PreTokenizer& entry) {
  if (entry.expression == nullptr) return byte_level(true);
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", entry.expression}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level(false)})}};
}

}  // namespace

Json pretokenizer_shell(const std::string& name, const std::string& where) {
  for (const PreTokenizer& entry : kPreTokenizers) {
    if (name != entry.name && !(name == "llama3" && std::string("llama-bpe") == entry.name)) continue;
    return {{"normalizer", entry.has_nfc ? Json{{"type", "NFC"}} : Json()},
            {"pre_tokenizer", pre_tokenizer(entry)},
            {"decoder", byte_level(true)},
            {"ignore_merges", entry.ignores_merges}};
  }
  throw_error(
      ErrorKind::kUnsupported,
      "{}: key 'tokenizer.ggml.pre' is '{}', expected gpt-2, llama-bpe or qwen2; put the model's tokenizer.json "
      "beside the file",
      where, name);
}

std::string find_pretokenizer(const Json& tokenizer) {
  const auto found = tokenizer.find("pre_tokenizer");
  if (found == tokenizer.end() || !found->is_object()) return "default";
  const std::string type = found->value("type", "");
  if (type == "ByteLevel") return found->value("use_regex", true) ? "gpt-2" : "default";
  const std::string text = found->dump();
  for (const PreTokenizer& entry : kPreTokenizers) {
    if (entry.expression != nullptr && text.find(Json(entry.expression).dump()) != std::string::npos) return entry.name;
  }
  return "default";
}

}  // namespace ockham
