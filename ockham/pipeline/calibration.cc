// Drawing of calibration sequences.
#include "ockham/pipeline/calibration.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/io/documents.h"
#include "ockham/io/file.h"
#include "ockham/tensor/ops.h"
#include "ockham/text/alignment.h"
#include "ockham/text/tokenizer.h"

namespace ockham {
namespace {

using Ids = std::vector<int32_t>;

Tensor to_tensor(const std::vector<Ids>& rows, const ModelConfig& config, const std::string& where) {
  const Tensor ids =
      at::empty({static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size())}, at::kLong);
  int64_t* out = ids.mutable_data_ptr<int64_t>();
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const int32_t id : rows[row]) {
      if (id < 0 || id >= config.vocabulary) {
        throw_input("{}: sequence {} holds token id {}, expected 0 to {}; the data belongs to another tokenizer", where,
                    row, id, config.vocabulary - 1);
      }
      *out++ = id;
    }
  }
  return ids;
}

Ids window(const Ids& ids, int64_t tokens, Rng& rng) {
  const auto begin = ids.begin() + static_cast<int64_t>(rng.below(ids.size() - static_cast<size_t>(tokens) + 1));
  return Ids(begin, begin + tokens);
}

Ids encode(const Tokenizer& tokenizer, const Document& document) {
  if (document.messages.empty()) return tokenizer.encode(document.text, true, false);
  return tokenizer.encode(tokenizer.render_chat(document.messages, false), false);
}

std::vector<Ids> draw_windows(const std::vector<Document>& documents, const Tokenizer& tokenizer,
                              const CalibrationSpec& spec, int64_t tokens, bool is_joined) {
  Rng rng(mix_seed(hash_seed("calibration"), spec.seed));
  std::vector<size_t> order(documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  rng.shuffle(order);

  const size_t wanted = static_cast<size_t>(spec.samples), length = static_cast<size_t>(tokens);
  std::vector<Ids> encoded, windows;
  size_t long_documents = 0;
  for (const size_t index : order) {
    encoded.push_back(encode(tokenizer, documents[index]));
    if (is_joined || encoded.back().size() <= length) continue;
    ++long_documents;
    windows.push_back(window(encoded.back(), tokens, rng));
    if (windows.size() == wanted) return windows;
  }
  if (long_documents < encoded.size()) {
    Ids joined;
    for (const Ids& ids : encoded) joined.insert(joined.end(), ids.begin(), ids.end());
    encoded = {std::move(joined)};
  }
  if (encoded.front().size() < length) {
    throw_input(
        "{}: holds {} tokens, expected at least {} for one calibration sequence; lower `tokens` or give more text",
        spec.data, encoded.front().size(), tokens);
  }
  windows.clear();
  while (windows.size() < wanted) windows.push_back(window(rng.pick(encoded), tokens, rng));
  return windows;
}

std::string plain_text(const Document& document) {
  std::string text = document.text;
  for (const ChatMessage& message : document.messages) text += (text.empty() ? "" : "\n") + message.content;
  return text;
}

// The documents that compress best together with those of the target, four for every sequence that is drawn: some
// chance must remain between seeds.
void choose_aligned(std::vector<Document>& documents, const CalibrationSpec& spec) {
  constexpr size_t kCandidates = 4;
  const DocumentSet targets = read_documents(spec.target);
  if (targets.documents.empty())
    throw_input("{}: holds token ids, expected texts to align with; give a .txt, .jsonl or .parquet file", spec.target);
  std::vector<std::string> candidates, wanted;
  for (const Document& document : documents) candidates.push_back(plain_text(document));
  for (const Document& document : targets.documents) wanted.push_back(plain_text(document));
  const std::vector<double> scores = alignments(candidates, wanted);
  std::vector<size_t> order(documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), kCandidates * static_cast<size_t>(spec.samples)));
  std::sort(order.begin(), order.end());
  std::vector<Document> chosen;
  for (const size_t index : order) chosen.push_back(std::move(documents[index]));
  documents = std::move(chosen);
}

// Rows of a file of ids: all of them, or a seeded choice in file order.
std::vector<Ids> choose_rows(const std::vector<Ids>& rows, const CalibrationSpec& spec) {
  const size_t wanted = static_cast<size_t>(spec.samples);
  if (rows.size() <= wanted) return rows;
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Rng rng(mix_seed(hash_seed("calibration rows"), spec.seed));
  rng.shuffle(order);
  order.resize(wanted);
  std::sort(order.begin(), order.end());
  std::vector<Ids> chosen;
  for (const size_t index : order) chosen.push_back(rows[index]);
  return chosen;
}

}  // namespace

Calibration draw_calibration(const CalibrationSpec& spec, const ModelConfig& config, const std::string& directory,
                             const TextSource& text_source) {
  if (spec.data.empty()) {
    throw_input(
        "calibration: key 'data' is missing, expected a .txt, .jsonl, .parquet or .npy file; name one in the recipe or "
        "with "
        "--calibration");
  }
  Calibration result;
  DocumentSet set;
  bool is_generated = false;
  if (std::filesystem::exists(spec.data)) {
    set = read_documents(spec.data);
  } else if (text_source) {
    is_generated = true;
    set.documents = text_source(spec.data);
    std::string all;
    for (const Document& document : set.documents) {
      all += document.text + "\n";
      for (const ChatMessage& message : document.messages) all += message.role + ": " + message.content + "\n";
    }
    set.sha256 = sha256_text(all);
  }
  if (set.documents.empty() && set.sequences.empty()) {
    throw_input("calibration: data '{}' does not exist, expected a .txt, .jsonl, .parquet or .npy file; check the path",
                spec.data);
  }
  result.data_sha256 = set.sha256;
  if (spec.select == "zipfit" && set.documents.empty())
    throw_input("{}: holds token ids, expected texts for select zipfit; give texts or remove `select`", spec.data);
  if (!set.sequences.empty()) {
    const size_t width = set.sequences.front().size();
    if (width == 0 || static_cast<int64_t>(width) > config.context_length) {
      throw_input("{}: sequences have {} tokens, expected 1 to the model's {}; cut them", spec.data, width,
                  config.context_length);
    }
    result.ids = to_tensor(choose_rows(set.sequences, spec), config, spec.data);
    return result;
  }
  const int64_t tokens = std::min(spec.tokens, config.context_length);
  if (tokens < spec.tokens) {
    result.warnings.push_back(fmt::format(
        "calibration sequences have {} tokens instead of {}, the model's context length", tokens, spec.tokens));
  }
  if (spec.select == "zipfit") choose_aligned(set.documents, spec);
  const Tokenizer tokenizer(directory);
  result.ids = to_tensor(draw_windows(set.documents, tokenizer, spec, tokens, is_generated), config, spec.data);
  return result;
}

}  // namespace ockham
