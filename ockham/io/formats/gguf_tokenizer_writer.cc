// GGUF keys out of Hugging Face tokenizer files.
#include <filesystem>
#include <map>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/formats/gguf_pretokenizers.h"
#include "ockham/io/formats/gguf_tokenizer.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

Json read_optional(const fs::path& path) {
  if (!fs::exists(path)) return Json::object();
  Json json = read_json_file(path.string());
  if (!json.is_object()) throw_input("{}: found {}, expected an object", path.string(), json.type_name());
  return json;
}

bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
}

std::string join_merge(const Json& merge, const std::string& where) {
  if (merge.is_string()) return merge.get<std::string>();
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
    throw_input("{}: merges hold {}, expected pairs of texts", where, merge.dump());
  return merge[0].get<std::string>() + " " + merge[1].get<std::string>();
}

struct Table {
  std::vector<std::string> tokens;
  std::vector<int> types;
  std::map<std::string, int64_t> ids;
};

template <typename Value>
void place_token(Table& table, const std::string& token, const Value& id, int type, const std::string& where) {
  if (!id.is_number_integer() || id.template get<int64_t>() < 0 || id.template get<int64_t>() > (1 << 24))
    throw_input("{}: token '{}' has id {}, expected a small integer", where, token, id.dump());
  const auto at = static_cast<size_t>(id.template get<int64_t>());
  if (at >= table.tokens.size()) {
    table.tokens.resize(at + 1);
    table.types.resize(at + 1, kUnusedToken);
  }
  table.tokens[at] = token;
  table.types[at] = type;
  table.ids[token] = static_cast<int64_t>(at);
}

Table read_table(const Json& tokenizer, const nlohmann::json& ids, int64_t vocabulary, const std::string& where) {
  Table table;
  const Json& model = tokenizer.at("model");
  for (const auto& [token, id] : ids.items())
    place_token(table, token, id,
                is_byte_token(token) && model.value("byte_fallback", false) ? kByteToken : kNormalToken, where);
  if (const auto added = tokenizer.find("added_tokens"); added != tokenizer.end() && added->is_array()) {
    for (const Json& token : *added) {
      const std::string text = json_text(token, "content", where);
      const bool is_special = json_flag(token, "special", where, false);
      place_token(table, text, token.value("id", Json()), is_special ? kControlToken : kUserDefinedToken, where);
    }
  }
  const auto unknown = model.find("unk_token");
  if (unknown != model.end() && unknown->is_string()) {
    if (const auto id = table.ids.find(unknown->get<std::string>()); id != table.ids.end())
      table.types[static_cast<size_t>(id->second)] = kUnknownToken;
  }
  if (static_cast<int64_t>(table.tokens.size()) > vocabulary) {
    throw_input("{}: has {} tokens, the model {}; tokenizer and model do not belong together", where,
                table.tokens.size(), vocabulary);
  }
  table.tokens.resize(static_cast<size_t>(vocabulary));
  table.types.resize(static_cast<size_t>(vocabulary), kUnusedToken);
  for (size_t id = 0; id < table.tokens.size(); ++id) {
    if (table.tokens[id].empty()) table.tokens[id] = fmt::format("[PAD{}]", id);
  }
  return table;
}

// SentencePiece scores that reproduce the order of merges: minus the rank of the first merge that makes a token.
Json scores_from_merges(const Table& table, const Json& merges, const std::string& where) {
  std::vector<double> scores(table.tokens.size(), -1e6);
  double rank = 0;
  for (const Json& merge : merges) {
    std::string joined = join_merge(merge, where);
    joined.erase(joined.find(' ', 1), 1);
    const auto id = table.ids.find(joined);
    if (id != table.ids.end() && scores[static_cast<size_t>(id->second)] == -1e6)
      scores[static_cast<size_t>(id->second)] = rank;
    rank -= 1;
  }
  return scores;
}

void add_special_ids(Json& keys, const fs::path& directory, const Table& table) {
  const Json config = read_optional(directory / "tokenizer_config.json");
  const Json names = read_optional(directory / "special_tokens_map.json");
  const Json generation = read_optional(directory / "generation_config.json");
  const Json model = read_optional(directory / "config.json");
  constexpr std::pair<const char*, const char*> kNamed[] = {
      {"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"}};
  for (const auto& [name, key] : kNamed) {
    std::optional<int64_t> id;
    for (const Json* source : {&config, &names}) {
      const auto found = source->find(std::string(name) + "_token");
      if (id || found == source->end()) continue;
      const std::string text = found->is_object()   ? found->value("content", std::string())
                               : found->is_string() ? found->get<std::string>()
                                                    : std::string();
      if (const auto place = table.ids.find(text); place != table.ids.end()) id = place->second;
    }
    for (const Json* source : {&generation, &model}) {
      const auto found = source->find(std::string(name) + "_token_id");
      if (found == source->end()) continue;
      if (!id && found->is_number_integer()) id = found->get<int64_t>();
      if (std::string(name) != "eos" || !found->is_array()) continue;
      // Of several ends, the one that is not the named token ends a turn.
      for (const Json& end : *found) {
        if (!end.is_number_integer()) continue;
        if (!id) id = end.get<int64_t>();
        if (end != *id && !keys.contains("tokenizer.ggml.eot_token_id")) keys["tokenizer.ggml.eot_token_id"] = end;
      }
    }
    if (id && *id >= 0) keys[fmt::format("tokenizer.ggml.{}_token_id", key)] = *id;
  }
  const fs::path chat = directory / "chat_template.jinja";
  if (fs::exists(chat)) {
    keys["tokenizer.chat_template"] = read_text_file(chat.string(), int64_t{1} << 20);
  } else if (const auto found = config.find("chat_template"); found != config.end() && found->is_string()) {
    keys["tokenizer.chat_template"] = *found;
  }
}

// tokenizer.json without its vocabulary, which goes to `ids`: an ordered object of all tokens takes quadratic time.
Json parse_tokenizer(const std::string& text, const std::string& where, nlohmann::json& ids) {
  nlohmann::json plain;
  try {
    plain = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw_input("{}: is not JSON ({}); copy it again", where, error.what());
  }
  if (plain.is_object() && plain.contains("model") && plain["model"].is_object() && plain["model"].contains("vocab")) {
    ids = std::move(plain["model"]["vocab"]);
    plain["model"].erase("vocab");
  }
  return parse_json(plain.dump(), where);
}

// Whether the tokenizer puts its first special token before a text.
bool adds_bos(const Json& tokenizer) {
  const auto post = tokenizer.find("post_processor");
  return post != tokenizer.end() && post->is_object() && post->dump().find("\"SpecialToken\"") != std::string::npos;
}

}  // namespace

Json make_gguf_tokenizer(const std::string& directory, int64_t vocabulary) {
  const fs::path path = fs::path(directory) / "tokenizer.json";
  Json keys = Json::object();
  if (directory.empty() || !fs::exists(path)) return keys;
  const std::string where = path.string(), text = read_text_file(where);
  nlohmann::json ids;
  const Json tokenizer = parse_tokenizer(text, where, ids);
  const auto model = tokenizer.find("model");
  const bool has_model = model != tokenizer.end() && model->is_object() && model->value("type", "") == "BPE" &&
                         ids.is_object() && model->contains("merges") && (*model)["merges"].is_array();
  const bool is_sentencepiece = has_model && model->value("byte_fallback", false);
  const bool is_bytes = has_model && tokenizer.value("decoder", Json()).dump().find("ByteLevel") != std::string::npos;
  if (!is_sentencepiece && !is_bytes) {
    throw_error(
        ErrorKind::kUnsupported,
        "{}: is neither byte-level BPE nor BPE with byte fallback, expected one of them for GGUF; write another "
        "format",
        where);
  }
  const Table table = read_table(tokenizer, ids, vocabulary, where);
  keys["tokenizer.ggml.model"] = is_sentencepiece ? "llama" : "gpt2";
  const std::string pre = is_sentencepiece ? "default" : find_pretokenizer(tokenizer);
  keys["tokenizer.ggml.pre"] = pre;
  if (!is_sentencepiece && pre == "default") {
    log_warning(
        fmt::format("{}: its splitting expression has no name in GGUF; llama.cpp will use its default and may "
                    "cut some texts differently",
                    where));
  }
  keys["tokenizer.ggml.tokens"] = table.tokens;
  if (is_sentencepiece) {
    keys["tokenizer.ggml.scores"] = scores_from_merges(table, model->at("merges"), where);
    keys["tokenizer.ggml.add_space_prefix"] = text.find("\"Prepend\"") != std::string::npos;
  }
  keys["tokenizer.ggml.token_type"] = {{"i32", table.types}};
  if (is_bytes && !is_sentencepiece) {
    Json merges = Json::array();
    for (const Json& merge : model->at("merges")) merges.push_back(join_merge(merge, where));
    keys["tokenizer.ggml.merges"] = merges;
  }
  add_special_ids(keys, directory, table);
  keys["tokenizer.ggml.add_bos_token"] = adds_bos(tokenizer);
  keys["tokenizer.huggingface.json"] = text;
  return keys;
}

}  // namespace ockham
