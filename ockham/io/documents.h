// Text to calibrate or to measure on: .txt (one document), .jsonl (`text`, or `messages` for a chat template), .parquet
// (column `text`), and .npy of token ids used as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/core/language_model.h"

namespace ockham {

struct Document {
  std::string text;  // empty when `messages` is given
  std::vector<ChatMessage> messages;
};
struct DocumentSet {
  std::vector<Document> documents;
  std::vector<std::vector<int32_t>> sequences;  // from .npy; then `documents` is empty
  std::string sha256;                           // of the file
};
// Error(kInput): unknown ending, empty, binary, not UTF-8, a line without text.
DocumentSet read_documents(const std::string& path);

}  // namespace ockham
