// Calibration sequences: drawn once by a seed from a text or a file, before any block is read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ockham/io/documents.h"
#include "ockham/io/families/config.h"
#include "ockham/pipeline/recipe.h"
#include "ockham/tensor/tensor.h"

namespace ockham {

// Documents of a generated text by name ("factworld"); empty where the name is unknown.
using TextSource = std::function<std::vector<Document>(const std::string& name)>;

struct Calibration {
  Tensor ids;               // int64 [samples, tokens]
  std::string data_sha256;  // of the file or of the generated text
  std::vector<std::string> warnings;
};

// `directory` holds the model's tokenizer. A file of token ids is used as it is, or a seeded subset of its rows where
// it has more than `samples`; a text is cut into random windows: from documents longer than `tokens`, one each, where
// there are enough of them (as Wanda and SparseGPT do), otherwise from all documents joined in random order. A
// generated text is always joined: its long documents are not like its short ones. Error(kInput): no data, too few
// tokens, ids outside the vocabulary.
Calibration draw_calibration(const CalibrationSpec& spec, const ModelConfig& config, const std::string& directory,
                             const TextSource& text_source);

}  // namespace ockham
