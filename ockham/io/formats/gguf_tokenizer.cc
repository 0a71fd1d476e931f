// Hugging Face tokenizer files out of GGUF keys.
#include "ockham/io/formats/gguf_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <unordered_map>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/formats/gguf_pretokenizers.h"

namespace ockham {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's space

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;  // empty: all normal
};

const Json& list_key(const Json& keys, const std::string& key, const std::string& where) {
  const auto found = keys.find(key);
  if (found == keys.end() || !found->is_array())
    throw_input("{}: key '{}' is missing, expected a list; convert the model again", where, key);
  return *found;
}

Vocabulary read_vocabulary(const Json& keys, const std::string& where) {
  Vocabulary vocabulary;
  for (const Json& token : list_key(keys, "tokenizer.ggml.tokens", where)) {
    if (!token.is_string())
      throw_input("{}: key 'tokenizer.ggml.tokens' holds {}, expected texts", where, token.dump());
    vocabulary.tokens.push_back(token.get<std::string>());
  }
  if (!keys.contains("tokenizer.ggml.token_type")) return vocabulary;
  for (const Json& type : list_key(keys, "tokenizer.ggml.token_type", where)) {
    if (!type.is_number_integer())
      throw_input("{}: key 'tokenizer.ggml.token_type' holds {}, expected integers", where, type.dump());
    vocabulary.types.push_back(type.get<int64_t>());
  }
  if (vocabulary.types.size() != vocabulary.tokens.size()) {
    throw_input("{}: key 'tokenizer.ggml.token_type' has {} entries, expected {} as there are tokens", where,
                vocabulary.types.size(), vocabulary.tokens.size());
  }
  return vocabulary;
}

// Ids written as an object by hand: an ordered_json object of all tokens takes quadratic time.
std::string vocabulary_text(const Vocabulary& vocabulary) {
  std::unordered_map<std::string, size_t> seen;
  std::string text = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!seen.emplace(vocabulary.tokens[id], id).second) continue;
    if (text.size() > 1) text += ',';
    text += Json(vocabulary.tokens[id]).dump() + ":" + std::to_string(id);
  }
  return text + "}";
}

Json added_tokens(const Vocabulary& vocabulary) {
  Json list = Json::array();
  for (size_t id = 0; id < vocabulary.types.size(); ++id) {
    const int64_t type = vocabulary.types[id];
    if (type != kUnknownToken && type != kControlToken && type != kUserDefinedToken) continue;
    list.push_back({{"id", id},
                    {"content", vocabulary.tokens[id]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", type != kUserDefinedToken}});
  }
  return list;
}

// SentencePiece merges the adjacent pair whose joined token has the highest score; the same order as a list of merges:
// every way to cut a token in two tokens, by descending score of the whole, then by the ids of the parts.
Json merges_from_scores(const Vocabulary& vocabulary, const Json& scores, const std::string& where) {
  if (scores.size() != vocabulary.tokens.size()) {
    throw_input("{}: key 'tokenizer.ggml.scores' has {} entries, expected {} as there are tokens", where, scores.size(),
                vocabulary.tokens.size());
  }
  std::unordered_map<std::string, size_t> ids;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) ids.emplace(vocabulary.tokens[id], id);
  struct Merge {
    double score;
    size_t left, right;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (!scores[id].is_number())
      throw_input("{}: key 'tokenizer.ggml.scores' holds {}, expected numbers", where, scores[id].dump());
    if (!vocabulary.types.empty() && vocabulary.types[id] != 1) continue;
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if ((static_cast<unsigned char>(token[cut]) & 0xC0U) == 0x80U) continue;
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({scores[id].get<double>(), left->second, right->second});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    return std::pair(a.left, a.right) < std::pair(b.left, b.right);
  });
  Json list = Json::array();
  for (const Merge& merge : merges) list.push_back({vocabulary.tokens[merge.left], vocabulary.tokens[merge.right]});
  return list;
}

Json split_merges(const Json& merges, const std::string& where) {
  Json list = Json::array();
  for (const Json& merge : merges) {
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ', 1);  // a part may begin with a space only if it is one
    if (space == std::string::npos || space + 1 >= text.size())
      throw_input("{}: key 'tokenizer.ggml.merges' holds {}, expected 'a b'", where, merge.dump());
    list.push_back({text.substr(0, space), text.substr(space + 1)});
  }
  return list;
}

std::optional<size_t> token_key(const Json& keys, const std::string& name, const Vocabulary& vocabulary,
                                const std::string& where) {
  const std::string key = "tokenizer.ggml." + name;
  if (!keys.contains(key)) return std::nullopt;
  const int64_t id = json_integer(keys, key, where);
  if (id < 0 || id >= static_cast<int64_t>(vocabulary.tokens.size())) return std::nullopt;
  return static_cast<size_t>(id);
}

Json bos_template(const std::string& bos, size_t id) {
  const Json special = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  const Json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special, first})},
          {"pair", Json::array({special, first, second})},
          {"special_tokens", {{bos, {{"id", bos}, {"ids", Json::array({id})}, {"tokens", Json::array({bos})}}}}}};
}

// The parts around the model: normalizer, pre_tokenizer, decoder.
Json sentencepiece_shell(bool has_space_prefix) {
  Json steps = Json::array();
  if (has_space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  Json decoders = Json::array({{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                               {{"type", "ByteFallback"}},
                               {{"type", "Fuse"}}});
  if (has_space_prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"normalizer", {{"type", "Sequence"}, {"normalizers", steps}}},
          {"pre_tokenizer", nullptr},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}}};
}

std::string make_tokenizer_json(const Json& keys, const Vocabulary& vocabulary, const std::string& where) {
  const std::string kind = json_text(keys, "tokenizer.ggml.model", where);
  if (kind != "gpt2" && kind != "llama") {
    throw_error(ErrorKind::kUnsupported,
                "{}: key 'tokenizer.ggml.model' is '{}', expected gpt2 or llama; put the model's tokenizer.json beside "
                "the file",
                where, kind);
  }
  const bool is_bytes = kind == "gpt2";
  const Json shell = is_bytes ? pretokenizer_shell(json_text(keys, "tokenizer.ggml.pre", where, "gpt-2"), where)
                              : sentencepiece_shell(json_flag(keys, "tokenizer.ggml.add_space_prefix", where, true));
  const auto bos = token_key(keys, "bos_token_id", vocabulary, where);
  const bool adds_bos = json_flag(keys, "tokenizer.ggml.add_bos_token", where, !is_bytes);
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", !is_bytes},
                {"byte_fallback", !is_bytes},
                {"ignore_merges", shell.value("ignore_merges", false)}};
  if (const auto unknown = token_key(keys, "unknown_token_id", vocabulary, where); unknown && !is_bytes)
    model["unk_token"] = vocabulary.tokens[*unknown];
  const Json merges = is_bytes ? split_merges(list_key(keys, "tokenizer.ggml.merges", where), where)
                               : merges_from_scores(vocabulary, list_key(keys, "tokenizer.ggml.scores", where), where);
  Json json = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added_tokens(vocabulary)},
               {"normalizer", shell.at("normalizer")},
               {"pre_tokenizer", shell.at("pre_tokenizer")},
               {"post_processor", bos && adds_bos ? bos_template(vocabulary.tokens[*bos], *bos) : Json()},
               {"decoder", shell.at("decoder")}};
  std::string text = json.dump(), inner = model.dump();
  inner.pop_back();
  text.pop_back();
  return text + ",\"model\":" + inner + ",\"vocab\":" + vocabulary_text(vocabulary) + ",\"merges\":" + merges.dump() +
         "}}";
}

}  // namespace

std::map<std::string, std::string> read_gguf_tokenizer(const Json& keys, const std::string& where) {
  std::map<std::string, std::string> files;
  if (!keys.contains("tokenizer.ggml.tokens") && !keys.contains("tokenizer.huggingface.json")) return files;
  const Vocabulary vocabulary = keys.contains("tokenizer.ggml.tokens") ? read_vocabulary(keys, where) : Vocabulary{};
  files["tokenizer.json"] = keys.contains("tokenizer.huggingface.json")
                                ? json_text(keys, "tokenizer.huggingface.json", where)
                                : make_tokenizer_json(keys, vocabulary, where);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  Json generation = Json::object();
  constexpr std::pair<const char*, const char*> kNamed[] = {{"bos_token_id", "bos_token"},
                                                            {"eos_token_id", "eos_token"},
                                                            {"unknown_token_id", "unk_token"},
                                                            {"padding_token_id", "pad_token"}};
  for (const auto& [key, name] : kNamed) {
    const auto id = token_key(keys, key, vocabulary, where);
    if (!id) continue;
    config[name] = vocabulary.tokens[*id];
    if (std::string(name) != "unk_token") generation[std::string(name) + "_id"] = *id;
  }
  // The end of a turn ends an answer as well.
  const auto eos = token_key(keys, "eos_token_id", vocabulary, where);
  const auto turn = token_key(keys, "eot_token_id", vocabulary, where);
  if (eos && turn && *eos != *turn) generation["eos_token_id"] = {*eos, *turn};
  if (keys.contains("tokenizer.ggml.add_bos_token"))
    config["add_bos_token"] = json_flag(keys, "tokenizer.ggml.add_bos_token", where);
  if (keys.contains("tokenizer.chat_template"))
    config["chat_template"] = json_text(keys, "tokenizer.chat_template", where);
  files["tokenizer_config.json"] = config.dump(2) + "\n";
  files["generation_config.json"] = generation.dump(2) + "\n";
  return files;
}

std::map<std::string, std::string> read_gguf_companions(const std::string& path) {
  const auto files = open_gguf(path);
  const Json& keys = files.front()->header().keys;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (keys.contains("tokenizer.huggingface.json") || !std::filesystem::exists(folder / "tokenizer.json"))
    return read_gguf_tokenizer(keys, path);
  std::map<std::string, std::string> result;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                           "generation_config.json"}) {
    if (std::filesystem::exists(folder / name)) result[name] = read_text_file((folder / name).string());
  }
  return result;
}

}  // namespace ockham
