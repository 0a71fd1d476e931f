// Documents to token ids to packed batches.
#include "ockham/train/data.h"

#include <algorithm>
#include <deque>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/train/vocabulary.h"

namespace ockham {
namespace {

constexpr size_t kLookAhead = 64;         // documents that wait for a row with room
constexpr double kDocumentsPerChain = 5;  // about

// Weight 1 where the target belongs to an assistant's turn (its end included), else `prompt_weight`.
std::vector<float> chat_weights(const std::vector<int32_t>& ids, double prompt_weight) {
  const SpecialTokens special;
  std::vector<float> weights(ids.size(), static_cast<float>(prompt_weight));
  bool is_answer = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (is_answer) weights[i] = 1;
    if (ids[i] == special.assistant_id) is_answer = true;
    if (ids[i] == special.turn_end_id) is_answer = false;
  }
  return weights;
}

}  // namespace

DocumentSource make_document_source(const TrainConfig& config, const std::shared_ptr<const World>& world) {
  if (config.is_world) return [world, lookups = config.lookups](int64_t pass) { return world->corpus(pass, lookups); };
  std::vector<Document> documents;
  for (const std::string& file : config.files) {
    DocumentSet set = read_documents(file);
    if (!set.sequences.empty()) {
      throw_input(
          "{}: holds token ids, expected texts; a new model gets its own tokenizer, so give .txt, .jsonl or .parquet",
          file);
    }
    std::move(set.documents.begin(), set.documents.end(), std::back_inserter(documents));
  }
  return [documents = std::move(documents)](int64_t) { return documents; };
}

std::vector<TokenizedDocument> tokenize_documents(std::span<const Document> documents, const Tokenizer& tokenizer,
                                                  int64_t longest, double prompt_weight) {
  std::vector<std::string> texts;
  for (const Document& document : documents) {
    // The template writes <s> itself, and so does this line; the tokenizer adds nothing.
    texts.push_back(document.messages.empty() ? "<s>" + document.text + "</s>"
                                              : tokenizer.render_chat(document.messages, false));
  }
  const std::vector<std::vector<int32_t>> all = tokenizer.encode_batch(texts, false);
  std::vector<TokenizedDocument> result;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<int32_t>& ids = all[i];
    const std::vector<float> weights =
        documents[i].messages.empty() ? std::vector<float>(ids.size(), 1.0f) : chat_weights(ids, prompt_weight);
    for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(longest)) {
      const size_t end = std::min(ids.size(), begin + static_cast<size_t>(longest));
      if (end - begin < 2) continue;  // nothing to predict
      result.push_back({{ids.begin() + static_cast<int64_t>(begin), ids.begin() + static_cast<int64_t>(end)},
                        {weights.begin() + static_cast<int64_t>(begin), weights.begin() + static_cast<int64_t>(end)}});
    }
  }
  return result;
}

std::vector<TokenizedDocument> chain_documents(std::vector<TokenizedDocument> documents, double share, int64_t longest,
                                               Rng& rng) {
  std::vector<TokenizedDocument> result;
  size_t next = 0;
  while (next < documents.size()) {
    TokenizedDocument document = std::move(documents[next++]);
    // Chains hold several documents, so they start less often than documents join them.
    const bool starts_chain = rng.uniform() * ((1 - share) * kDocumentsPerChain + share) < share;
    if (starts_chain) {
      const size_t wanted = static_cast<size_t>(longest) / 8 + rng.below(static_cast<uint64_t>(longest) * 3 / 8 + 1);
      while (next < documents.size() && document.ids.size() < wanted &&
             document.ids.size() + documents[next].ids.size() <= static_cast<size_t>(longest)) {
        const TokenizedDocument& more = documents[next++];
        document.ids.insert(document.ids.end(), more.ids.begin(), more.ids.end());
        document.weights.insert(document.weights.end(), more.weights.begin(), more.weights.end());
      }
    }
    result.push_back(std::move(document));
  }
  return result;
}

std::vector<std::vector<size_t>> pack_documents(const std::vector<TokenizedDocument>& documents, int64_t rows) {
  std::vector<std::vector<size_t>> batches;
  std::deque<size_t> waiting;
  size_t next = 0;
  while (next < documents.size() || !waiting.empty()) {
    std::vector<size_t> batch;
    int64_t left = rows;
    const auto take = [&](size_t index) {
      const auto length = static_cast<int64_t>(documents[index].ids.size());
      OCKHAM_CHECK(length <= rows);
      if (length > left) return false;
      left -= length;
      batch.push_back(index);
      return true;
    };
    std::deque<size_t> still_waiting;
    for (const size_t index : waiting) {
      if (!take(index)) still_waiting.push_back(index);
    }
    waiting = std::move(still_waiting);
    while (next < documents.size() && waiting.size() < kLookAhead && left > 8) {
      if (!take(next)) waiting.push_back(next);
      ++next;
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

PackedBatch make_batch(const std::vector<TokenizedDocument>& documents, const std::vector<size_t>& chosen,
                       int64_t rows) {
  PackedBatch batch;
  const auto size = static_cast<size_t>(rows);
  batch.ids.assign(size, 0);
  batch.targets.assign(size, -1);
  batch.weights.assign(size, 0.0f);
  batch.positions.assign(size, 0);
  size_t row = 0;
  for (const size_t index : chosen) {
    const TokenizedDocument& document = documents[index];
    const size_t length = document.ids.size();
    batch.segments.push_back({static_cast<int64_t>(row), static_cast<int64_t>(length)});
    for (size_t i = 0; i < length; ++i, ++row) {
      batch.ids[row] = document.ids[i];
      batch.positions[row] = static_cast<int32_t>(i);
      if (i + 1 == length) continue;
      batch.targets[row] = document.ids[i + 1];
      batch.weights[row] = document.weights[i + 1];
      batch.target_weight += document.weights[i + 1];
    }
  }
  batch.tokens = static_cast<int64_t>(row);
  return batch;
}

BatchStream::BatchStream(DocumentSource source, const Tokenizer& tokenizer, const TrainConfig& config, bool reads_ahead)
    : source_(std::move(source)),
      tokenizer_(tokenizer),
      rows_(config.row_tokens),
      longest_(std::min(config.row_tokens, config.model.context_length)),
      prompt_weight_(config.prompt_weight),
      chained_(config.chained),
      seed_(config.seed),
      reads_ahead_(reads_ahead) {}

BatchStream::Pass BatchStream::prepare(int64_t number) const {
  Pass pass;
  pass.number = number;
  pass.documents = tokenize_documents(source_(number), tokenizer_, longest_, prompt_weight_);
  Rng rng(mix_seed(mix_seed(seed_, hash_seed("pass")), static_cast<uint64_t>(number)));
  rng.shuffle(pass.documents);
  if (chained_ > 0) pass.documents = chain_documents(std::move(pass.documents), chained_, longest_, rng);
  pass.batches = pack_documents(pass.documents, rows_);
  // Look-ahead fills the last batches with what did not fit before: mix them in.
  rng.shuffle(pass.batches);
  if (pass.batches.empty()) throw_input("the training data holds no document of two tokens or more; give more text");
  for (const TokenizedDocument& document : pass.documents) pass.tokens += static_cast<int64_t>(document.ids.size());
  return pass;
}

void BatchStream::load(int64_t number) {
  if (ahead_.valid()) pass_ = ahead_.get();
  if (pass_.number != number) pass_ = prepare(number);
}

PackedBatch BatchStream::next() {
  if (pass_.number != position_.pass) load(position_.pass);
  const auto count = static_cast<int64_t>(pass_.batches.size());
  if (position_.batch >= count) {
    position_ = {position_.pass + 1, 0};
    load(position_.pass);
  }
  if (reads_ahead_ && !ahead_.valid() && position_.batch >= count / 2)
    ahead_ = std::async(std::launch::async, [this, next = position_.pass + 1] { return prepare(next); });
  return make_batch(pass_.documents, pass_.batches[static_cast<size_t>(position_.batch++)], rows_);
}

}  // namespace ockham
