// The training data as packed batches: documents become token ids once per pass, are shuffled and packed without
// cutting.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "ockham/core/rng.h"
#include "ockham/io/documents.h"
#include "ockham/text/tokenizer.h"
#include "ockham/train/config.h"
#include "ockham/train/engine.h"

namespace ockham {

// Documents of pass 0, 1, ...
using DocumentSource = std::function<std::vector<Document>(int64_t pass)>;
// FactWorld, or the files of the configuration (the same documents in every pass).
DocumentSource make_document_source(const TrainConfig& config, const std::shared_ptr<const World>& world);

struct TokenizedDocument {
  std::vector<int32_t> ids;
  std::vector<float> weights;  // of each id as a target
};
// Plain texts: <s> text </s>; chats as the chat template writes them. Pieces of at most `longest` tokens.
std::vector<TokenizedDocument> tokenize_documents(std::span<const Document> documents, const Tokenizer& tokenizer,
                                                  int64_t longest, double prompt_weight);

// Joins about `share` of the documents, in the order given, to spans of up to `longest` tokens, so that a model also
// sees other documents before one's own, as in the windows of joined texts that perplexity and calibration use.
std::vector<TokenizedDocument> chain_documents(std::vector<TokenizedDocument> documents, double share, int64_t longest,
                                               Rng& rng);

// First fit with a short look-ahead, in the order given; each list holds indices of documents of at most `rows` tokens.
std::vector<std::vector<size_t>> pack_documents(const std::vector<TokenizedDocument>& documents, int64_t rows);
PackedBatch make_batch(const std::vector<TokenizedDocument>& documents, const std::vector<size_t>& chosen,
                       int64_t rows);

// An endless stream of batches; position() and seek() make it resumable.
class BatchStream {
 public:
  struct Position {
    int64_t pass = 0, batch = 0;  // the next batch
  };
  // With `reads_ahead` a thread prepares the next pass behind the middle of each one, for engines that leave the
  // processor idle; the batches are the same.
  BatchStream(DocumentSource source, const Tokenizer& tokenizer, const TrainConfig& config, bool reads_ahead = false);
  PackedBatch next();
  Position position() const { return position_; }
  void seek(const Position& position) { position_ = position; }
  int64_t tokens_per_pass() const { return pass_.tokens; }

 private:
  struct Pass {
    int64_t number = -1, tokens = 0;
    std::vector<TokenizedDocument> documents;
    std::vector<std::vector<size_t>> batches;
  };
  Pass prepare(int64_t number) const;
  void load(int64_t number);

  DocumentSource source_;
  const Tokenizer& tokenizer_;
  int64_t rows_, longest_;
  double prompt_weight_, chained_;
  uint64_t seed_;
  bool reads_ahead_;
  Position position_;
  Pass pass_;
  std::future<Pass> ahead_;
};

}  // namespace ockham
