// Documents by the ending of the file.
#include "ockham/io/documents.h"

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/io/npy.h"
#include "ockham/io/table.h"

namespace ockham {
namespace {

std::vector<ChatMessage> read_messages(const Json& list, const std::string& where) {
  if (!list.is_array() || list.empty())
    throw_input("{}: key 'messages' is {}, expected a list of messages", where, list.dump());
  std::vector<ChatMessage> messages;
  for (const Json& message : list) {
    messages.push_back(
        {json_text(message, "role", where + ", messages"), json_text(message, "content", where + ", messages")});
  }
  return messages;
}

std::vector<Document> read_jsonl_documents(const std::string& path) {
  std::vector<Document> documents;
  for_each_json_line(path, [&](const Json& item, const std::string& where) {
    const bool has_text = item.contains("text");
    const bool has_messages = item.contains("messages");
    if (has_text == has_messages) {
      throw_input("{}: has {}, expected exactly one of them", where,
                  has_text ? "both 'text' and 'messages'" : "neither 'text' nor 'messages'");
    }
    if (has_text) {
      documents.push_back({json_text(item, "text", where), {}});
    } else {
      documents.push_back({"", read_messages(item["messages"], where)});
    }
    return true;
  });
  return documents;
}

}  // namespace

DocumentSet read_documents(const std::string& path) {
  DocumentSet set;
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".txt") {
    set.documents.push_back({read_text_file(path), {}});
  } else if (ending == ".jsonl") {
    set.documents = read_jsonl_documents(path);
  } else if (ending == ".parquet") {
    for (std::string& text : read_parquet_column(path, "text")) set.documents.push_back({std::move(text), {}});
  } else if (ending == ".npy") {
    set.sequences = read_token_ids_npy(path);
  } else {
    throw_input("{}: ends in '{}', expected .txt, .jsonl, .parquet or .npy", path, ending);
  }
  const bool has_content = std::any_of(set.documents.begin(), set.documents.end(), [](const Document& document) {
    return !document.messages.empty() || document.text.find_first_not_of(" \t\r\n") != std::string::npos;
  });
  if (!has_content && set.sequences.empty()) throw_input("{}: holds no text; expected some", path);
  set.sha256 = sha256_file(path);
  return set;
}

}  // namespace ockham
