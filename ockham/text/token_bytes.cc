#include "ockham/text/token_bytes.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/text/character_reader.h"

namespace ockham {
namespace {

constexpr int64_t kMostIds = int64_t{1} << 24;
constexpr int kMostDecoders = 32;

// What a decoder makes of a single token.
struct TokenDecoder {
  bool is_byte_level = false, has_byte_fallback = false;
  std::vector<std::pair<std::string, std::string>> replacements;  // in this order
};

// GPT-2's characters for bytes: those that can be printed stand for themselves, the others for U+0100 and on.
std::unordered_map<std::string, char> byte_characters() {
  std::unordered_map<std::string, char> bytes;
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool is_itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes[utf8_of(is_itself ? byte : next++)] = static_cast<char>(byte);
  }
  return bytes;
}

void read_decoder(const Json& decoder, const std::string& where, int depth, TokenDecoder& result) {
  const std::string type = json_text(decoder, "type", where);
  if (type == "ByteLevel") {
    result.is_byte_level = true;
  } else if (type == "ByteFallback") {
    result.has_byte_fallback = true;
  } else if (type == "Metaspace") {
    result.replacements.emplace_back(json_text(decoder, "replacement", where, "\u2581"), " ");
  } else if (type == "Replace") {
    const auto pattern = decoder.find("pattern");
    if (pattern == decoder.end() || !pattern->is_object() || !pattern->contains("String"))
      throw_error(ErrorKind::kUnsupported, "{}: a decoder that replaces a regular expression; expected a plain text",
                  where);
    result.replacements.emplace_back(json_text(*pattern, "String", where), json_text(decoder, "content", where));
  } else if (type == "Sequence") {
    const auto parts = decoder.find("decoders");
    if (parts == decoder.end() || !parts->is_array() || depth > kMostDecoders)
      throw_input("{}: decoder 'Sequence' has no list 'decoders'; copy the file again", where);
    for (const Json& part : *parts) read_decoder(part, where, depth + 1, result);
  } else if (type != "Fuse" && type != "Strip") {  // these change only the text as a whole
    throw_error(ErrorKind::kUnsupported,
                "{}: decoder '{}', expected ByteLevel, ByteFallback, Metaspace or Replace; output cannot be "
                "constrained with this tokenizer",
                where, type);
  }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  if (from.empty()) return text;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
         hexadecimal_digit(static_cast<unsigned char>(token[3])) < 16 &&
         hexadecimal_digit(static_cast<unsigned char>(token[4])) < 16;
}

std::string bytes_of(const std::string& token, const TokenDecoder& decoder,
                     const std::unordered_map<std::string, char>& characters) {
  if (decoder.is_byte_level) {
    std::string bytes;
    for (size_t at = 0; at < token.size();) {
      size_t end = at + 1;
      while (end < token.size() && (static_cast<unsigned char>(token[end]) & 0xC0) == 0x80) ++end;
      const auto found = characters.find(token.substr(at, end - at));
      if (found == characters.end()) return token;  // as the decoder does: not one of its own
      bytes += found->second;
      at = end;
    }
    return bytes;
  }
  if (decoder.has_byte_fallback && is_byte_token(token))
    return {static_cast<char>(hexadecimal_digit(static_cast<unsigned char>(token[3])) << 4 |
                              hexadecimal_digit(static_cast<unsigned char>(token[4])))};
  std::string bytes = token;
  for (const auto& [from, to] : decoder.replacements) bytes = replaced(std::move(bytes), from, to);
  return bytes;
}

void put(std::vector<std::string>& bytes, const Json& id, std::string text, const std::string& where) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMostIds)
    throw_input("{}: a token has the id {}, expected a number from 0 to {}", where, id.dump(), kMostIds);
  const auto place = id.get<size_t>();
  if (place >= bytes.size()) bytes.resize(place + 1);
  bytes[place] = std::move(text);
}

const Json& member(const Json& object, const char* key, const std::string& where) {
  if (!object.is_object() || !object.contains(key))
    throw_input("{}: key '{}' is missing; copy the file again", where, key);
  return object.at(key);
}

}  // namespace

std::vector<std::string> token_bytes(const Json& tokenizer, const std::string& where) {
  const Json& model = member(tokenizer, "model", where);
  const Json& vocabulary = member(model, "vocab", where);
  const Json& decoder = member(tokenizer, "decoder", where);
  if (!decoder.is_object())
    throw_error(ErrorKind::kUnsupported, "{}: has no decoder; output cannot be constrained with this tokenizer", where);
  TokenDecoder how;
  read_decoder(decoder, where, 0, how);
  const std::unordered_map<std::string, char> characters = byte_characters();
  std::vector<std::string> bytes;
  if (vocabulary.is_object()) {
    for (const auto& [token, id] : vocabulary.items()) put(bytes, id, bytes_of(token, how, characters), where);
  } else {  // Unigram: [token, log p] by id
    int64_t id = 0;
    for (const Json& entry : vocabulary) {
      if (!entry.is_array() || entry.empty() || !entry[0].is_string())
        throw_input("{}: token {} is {}, expected [text, number]", where, id, entry.type_name());
      put(bytes, Json(id++), bytes_of(entry[0].get<std::string>(), how, characters), where);
    }
  }
  if (const auto unknown = model.find("unk_token");
      unknown != model.end() && unknown->is_string() && vocabulary.is_object())
    if (const auto id = vocabulary.find(unknown->get<std::string>()); id != vocabulary.end())
      put(bytes, *id, "", where);
  const auto added = tokenizer.find("added_tokens");
  if (added == tokenizer.end() || !added->is_array()) return bytes;
  for (const Json& token : *added) {
    const bool is_special = json_flag(token, "special", where, false);
    put(bytes, member(token, "id", where), is_special ? "" : json_text(token, "content", where), where);
  }
  return bytes;
}

}  // namespace ockham
