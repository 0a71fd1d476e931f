// Tokenizers and chat templates of a model directory; the work itself is done by the Rust library.
#include "ockham/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/io/file.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/formats/gguf_tokenizer.h"
#include "ockham/io/json.h"
#include "ockham/io/rust_values.h"
#include "ockham/text/token_bytes.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

// Named special tokens are texts or objects with `content`.
void add_named_tokens(const Json& config, const std::string& where, std::map<std::string, std::string>& tokens) {
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto found = config.find(name);
    if (found == config.end() || found->is_null() || tokens.contains(name)) continue;
    const std::string place = where + ", " + name;
    tokens[name] = found->is_object() ? json_text(*found, "content", place) : json_text(config, name, where);
  }
}

// `eos_token_id` and the like: a number, a list of numbers or null.
std::vector<int32_t> read_ids(const Json& config, const std::string& key, const std::string& where) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  const Json list = found->is_array() ? *found : Json::array({*found});
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) {
      throw_input("{}: key '{}' is {}, expected a token id or a list of them", where, key, found->dump());
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::string missing_tokenizer(const std::string& directory) {
  if (fs::exists(directory + "/tekken.json")) return "tekken.json is not read: take a conversion to tokenizer.json";
  if (fs::exists(directory + "/tokenizer.model") || fs::exists(directory + "/vocab.json")) {
    return "only older tokenizer files are there: load them with transformers' AutoTokenizer and save_pretrained() "
           "once";
  }
  return "copy it from the model's repository";
}

}  // namespace

struct Tokenizer::State {
  std::string directory;
  std::map<std::string, std::string> gguf;  // contents by file name, where the model is a GGUF file
  OckhamTokenizer* handle = nullptr;
  std::map<std::string, std::string> named_tokens;  // "bos_token" -> "<s>"
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;
  int64_t vocabulary = 0;
  std::string chat_template, chat_template_path;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ockham_tokenizer_free(handle); }

  std::optional<int32_t> id_of(const std::string& token) const {
    const int32_t id = ockham_tokenizer_token_id(handle, view(token));
    return id < 0 ? std::nullopt : std::optional<int32_t>(id);
  }
  std::optional<int32_t> named_id(const char* name) const {
    const auto found = named_tokens.find(name);
    return found == named_tokens.end() ? std::nullopt : id_of(found->second);
  }
  bool has(const std::string& name) const {
    return gguf.empty() ? fs::exists(directory + "/" + name) : gguf.contains(name);
  }
  std::string read(const std::string& name) const {
    return gguf.empty() ? read_text_file(directory + "/" + name) : gguf.at(name);
  }
  // The object in a file, an empty one where the file is absent.
  Json read_optional(const std::string& name) const {
    if (!has(name)) return Json::object();
    const std::string path = directory + "/" + name;
    Json json = gguf.empty() ? read_json_file(path) : parse_json(gguf.at(name), path);
    if (!json.is_object()) throw_input("{}: found {}, expected an object", path, json.type_name());
    return json;
  }
  void load_vocabulary();
  void load_special_tokens(const Json& config, const std::string& config_path);
  void load_chat_template(const Json& config, const std::string& config_path);
};

void Tokenizer::State::load_vocabulary() {
  const std::string path = directory + "/tokenizer.json";
  if (!has("tokenizer.json"))
    throw_input("{}: is missing, expected the tokenizer; {}", path, missing_tokenizer(directory));
  const std::string error = take_error(ockham_tokenizer_load(view(read("tokenizer.json")), &handle));
  if (!error.empty()) throw_input("{}: is not a tokenizer: {}; copy it again", path, error);
}

void Tokenizer::State::load_special_tokens(const Json& config, const std::string& config_path) {
  add_named_tokens(config, config_path, named_tokens);
  const std::string map_path = directory + "/special_tokens_map.json";
  add_named_tokens(read_optional("special_tokens_map.json"), map_path, named_tokens);
  // tokenizer.json may list a named token as an ordinary one.
  for (const auto& [name, token] : named_tokens) {
    const std::string error = take_error(ockham_tokenizer_mark_special(handle, view(token)));
    if (!error.empty()) throw_input("{}: special token '{}': {}", config_path, token, error);
  }
  vocabulary = static_cast<int64_t>(ockham_tokenizer_vocabulary(handle));

  bos_id = named_id("bos_token");
  for (const char* file : {"generation_config.json", "config.json"}) {
    const std::string path = directory + "/" + file;
    const Json json = read_optional(file);
    const std::vector<int32_t> bos = read_ids(json, "bos_token_id", path);
    if (!bos_id && !bos.empty()) bos_id = bos.front();
    if (eos_ids.empty()) eos_ids = read_ids(json, "eos_token_id", path);
  }
  if (eos_ids.empty()) {
    if (const std::optional<int32_t> eos = named_id("eos_token")) eos_ids = {*eos};
  }
}

void Tokenizer::State::load_chat_template(const Json& config, const std::string& config_path) {
  chat_template_path = directory + "/chat_template.jinja";
  if (has("chat_template.jinja")) {
    chat_template = gguf.empty() ? read_text_file(chat_template_path, int64_t{1} << 20) : read("chat_template.jinja");
    return;
  }
  chat_template_path = config_path;
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return;
  if (!found->is_array()) {
    chat_template = json_text(config, "chat_template", config_path);
    return;
  }
  const std::string where = config_path + ", chat_template";
  for (const Json& entry : *found) {
    if (json_text(entry, "name", where) == "default") chat_template = json_text(entry, "template", where);
  }
  if (chat_template.empty()) {
    throw_input("{}: key 'chat_template' has no entry named 'default'; name one of its templates so", config_path);
  }
}

Tokenizer::Tokenizer(const std::string& directory) : state_(std::make_unique<State>()) {
  state_->directory = directory;
  if (const std::string file = find_gguf(directory); !file.empty()) {
    state_->directory = file;
    state_->gguf = read_gguf_companions(file);
    if (state_->gguf.empty())
      throw_input("{}: holds no tokenizer, expected keys tokenizer.ggml.*; put tokenizer.json beside it", file);
  }
  state_->load_vocabulary();
  const std::string config_path = directory + "/tokenizer_config.json";
  const Json config = state_->read_optional("tokenizer_config.json");
  state_->load_special_tokens(config, config_path);
  state_->load_chat_template(config, config_path);
}

Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(const std::string& text, bool add_special_tokens, bool parse_special) const {
  OckhamIds ids{};
  const std::string error =
      take_error(ockham_tokenizer_encode(state_->handle, view(text), add_special_tokens, parse_special, &ids));
  if (!error.empty()) {
    throw_input("a text of {} bytes cannot be encoded with {}/tokenizer.json: {}", text.size(), state_->directory,
                error);
  }
  std::vector<int32_t> result(ids.data, ids.data + ids.length);
  ockham_ids_free(ids);
  return result;
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string> texts,
                                                          bool add_special_tokens) const {
  std::vector<std::vector<int32_t>> ids(texts.size());
  parallel_for(static_cast<int64_t>(texts.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ids[static_cast<size_t>(i)] = encode(texts[static_cast<size_t>(i)], add_special_tokens);
    }
  });
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  OckhamBytes text{};
  const std::string error =
      take_error(ockham_tokenizer_decode(state_->handle, ids.data(), ids.size(), skip_special_tokens, &text));
  if (!error.empty()) {
    throw_input("{} token ids cannot be decoded with {}/tokenizer.json: {}", ids.size(), state_->directory, error);
  }
  return take_bytes(text);
}

std::vector<std::string> Tokenizer::all_token_bytes() const {
  const std::string path = state_->directory + "/tokenizer.json";
  std::vector<std::string> bytes = ockham::token_bytes(parse_json(state_->read("tokenizer.json"), path), path);
  for (const auto& [name, token] : state_->named_tokens) {
    const std::optional<int32_t> id = state_->id_of(token);
    if (id && *id < static_cast<int32_t>(bytes.size())) bytes[static_cast<size_t>(*id)].clear();
  }
  return bytes;
}

std::string Tokenizer::token_bytes(int32_t id) const {
  OckhamBytes bytes{};
  const std::string error = take_error(ockham_tokenizer_token_bytes(state_->handle, id, &bytes));
  if (!error.empty()) throw_input("{}/tokenizer.json: token {}: {}", state_->directory, id, error);
  return take_bytes(bytes);
}

int64_t Tokenizer::vocabulary_size() const {
  return state_->vocabulary;
}
std::optional<int32_t> Tokenizer::token_id(const std::string& token) const {
  return state_->id_of(token);
}
std::optional<int32_t> Tokenizer::bos_id() const {
  return state_->bos_id;
}
std::vector<int32_t> Tokenizer::eos_ids() const {
  return state_->eos_ids;
}
bool Tokenizer::has_chat_template() const {
  return !state_->chat_template.empty();
}

std::string Tokenizer::render_chat(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  if (!has_chat_template()) {
    throw_input(
        "{}: has no chat template, expected chat_template.jinja or the key 'chat_template' in tokenizer_config.json",
        state_->directory);
  }
  Json context = Json::object();
  for (const auto& [name, token] : state_->named_tokens) context[name] = token;
  context["messages"] = Json::array();
  for (const ChatMessage& message : messages) {
    context["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  context["add_generation_prompt"] = add_generation_prompt;
  std::string json;
  try {
    json = context.dump();
  } catch (const Json::exception&) {
    throw_input("a message is not UTF-8, expected UTF-8 text; convert it");
  }
  OckhamBytes text{};
  const std::string error = take_error(ockham_chat_render(view(state_->chat_template), view(json), &text));
  if (!error.empty())
    throw_input("{}: the chat template refuses the conversation: {}", state_->chat_template_path, error);
  return take_bytes(text);
}

void train_tokenizer(std::span<const std::string> texts, const TokenizerTraining& training,
                     const std::string& directory) {
  std::vector<OckhamText> inputs, specials;
  for (const std::string& text : texts) inputs.push_back(view(text));
  for (const std::string& token : training.special_tokens) specials.push_back(view(token));
  OckhamBytes json{};
  const size_t vocabulary = static_cast<size_t>(std::max<int64_t>(training.vocabulary, 0));
  const std::string error = take_error(ockham_tokenizer_train(inputs.data(), inputs.size(), specials.data(),
                                                              specials.size(), view(training.bos), vocabulary, &json));
  if (!error.empty()) throw_input("the tokenizer cannot be trained: {}", error);
  write_file_atomically(directory + "/tokenizer.json", take_bytes(json));
}

}  // namespace ockham
