// Loading, tokenizing, log-likelihoods of sequences. Continuations stand in torch_score.cc, generation in
// torch_generate.cc.
#include "ockham/pipeline/torch_language_model.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/prefill.h"
#include "ockham/pipeline/token_scores.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

void add_rounding_noise(Decoder& decoder, uint64_t seed) {
  constexpr double kUlp = 1.0 / 256;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto disturb = [&](Tensor& values) {
    if (!values.defined()) return;
    const Tensor noise = at::empty(values.sizes(), at::kFloat).uniform_(1 - kUlp, 1 + kUlp, generator);
    values = values.to(at::kFloat).mul(noise).to(values.scalar_type());
  };
  disturb(decoder.embedding);
  disturb(decoder.head);
  for (Block& block : decoder.blocks)
    for (Linear& linear : block.linears) disturb(std::get<DenseWeight>(linear.weight).values);
}

bool has_packed_weight(const Decoder& decoder) {
  for (const Block& block : decoder.blocks)
    for (const Linear& linear : block.linears)
      if (!std::holds_alternative<DenseWeight>(linear.weight)) return true;
  return false;
}

}  // namespace

TorchLanguageModel::TorchLanguageModel(const std::string& model, const Options& options) {
  const at::Device device = open_device(options.device);
  const Checkpoint checkpoint(model);
  const at::NoGradGuard no_grad;
  const DType stored = checkpoint.config().dtype, dtype = options.dtype.value_or(arithmetic_dtype(stored, device));
  static std::atomic<bool> is_said = false;
  if (!options.dtype && dtype != stored && !is_said.exchange(true))
    log_info(
        fmt::format("{}: {} weights are computed in {}, since this processor has no {} products; --dtype {} computes "
                    "in their own type",
                    model, dtype_config_name(stored), dtype_config_name(dtype), dtype_config_name(stored),
                    dtype_config_name(stored)));
  decoder_ = checkpoint.read_all(dtype);
  if (has_packed_weight(*decoder_)) decoder_->make_dense();
  if (options.noise_seed) add_rounding_noise(*decoder_, *options.noise_seed);
  decoder_->to(to_scalar_type(dtype), device);
  decoder_->make_panels();
  tokenizer_ = std::make_shared<const Tokenizer>(checkpoint.directory());
  eos_ids_ = tokenizer_->eos_ids();
  info_.name = std::filesystem::path(checkpoint.directory()).filename().string();
  info_.path = checkpoint.directory();
  info_.sha256 = checkpoint.sha256();
  if (options.noise_seed) info_.sha256 = sha256_text(fmt::format("{} noise {}", info_.sha256, *options.noise_seed));
  info_.arithmetic = fmt::format("{} on {}", dtype_config_name(dtype), device.is_cuda() ? "cuda" : "cpu");
  info_.parameters = checkpoint.parameters();
  info_.bytes = checkpoint.bytes();
  info_.context_length = checkpoint.config().context_length;
  info_.vocabulary = checkpoint.config().vocabulary;
}

TorchLanguageModel::TorchLanguageModel(const Decoder& decoder, std::shared_ptr<const Tokenizer> tokenizer,
                                       ModelInfo info)
    : decoder_(std::make_unique<Decoder>(decoder)), tokenizer_(std::move(tokenizer)), info_(std::move(info)) {
  const at::NoGradGuard no_grad;
  for (Block& block : decoder_->blocks) block.config = &decoder_->config;
  if (has_packed_weight(*decoder_)) decoder_->make_dense();
  decoder_->make_panels();
  eos_ids_ = tokenizer_->eos_ids();
  info_.context_length = decoder_->config.context_length;
  info_.vocabulary = decoder_->config.vocabulary;
}

TorchLanguageModel::~TorchLanguageModel() = default;

Prompt TorchLanguageModel::render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  return render_chat(*tokenizer_, messages, add_generation_prompt, info_.name);
}

std::vector<int32_t> TorchLanguageModel::tokenize(const std::string& text, bool add_special_tokens) const {
  return tokenizer_->encode(text, add_special_tokens, false);
}

std::vector<std::string> TorchLanguageModel::neighbors(const std::string& word, int64_t count) const {
  const at::NoGradGuard no_grad;
  std::vector<std::string> words;
  // A word inside a sentence, then one at its beginning; SentencePiece writes the blank itself.
  for (const std::string prefix : {" ", ""}) {
    const TokenIds ids = tokenizer_->encode(prefix + word, false, false);
    if (ids.size() != 1) continue;
    const Tensor& table = decoder_->embedding;
    const Tensor cosines = at::mv(table, table[ids[0]]).to(at::kFloat) /
                           at::linalg_vector_norm(table, 2, {1}, false, at::kFloat).clamp_min(1e-12);
    // Pieces of words stand among the nearest too.
    const int64_t looked_at = std::min(table.size(0), 8 * count + 1);
    const Tensor order = std::get<1>(cosines.topk(looked_at)).cpu();
    for (int64_t i = 0; i < looked_at && static_cast<int64_t>(words.size()) < count; ++i) {
      const auto id = static_cast<int32_t>(order[i].item<int64_t>());
      std::string text = tokenizer_->decode(std::vector<int32_t>{id}, true);
      text.erase(0, text.find_first_not_of(' '));
      const bool is_word = text.size() > 1 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
                             return std::isalpha(c) != 0 || c >= 0x80;
                           });
      if (id != ids[0] && is_word && tokenizer_->encode(prefix + text, false, false) == TokenIds{id})
        words.push_back(std::move(text));
    }
    break;
  }
  return words;
}

std::vector<int32_t> TorchLanguageModel::encode(const Prompt& prompt) const {
  return encode_prompt(*tokenizer_, prompt, info_.name);
}

namespace {

class TorchDistributions final : public Distributions {
 public:
  TorchDistributions(const Decoder& decoder, const std::vector<int32_t>& sequence) : decoder_(decoder) {
    const at::NoGradGuard no_grad;
    const Tensor ids = at::tensor(sequence).to(at::kLong).unsqueeze(0).to(decoder.device());
    hidden_ = decoder.forward(ids)[0].narrow(0, 0, static_cast<int64_t>(sequence.size()) - 1).clone();
  }
  int64_t positions() const override { return hidden_.size(0); }
  void read(int64_t first, int64_t count, float* logprobs) const override {
    OCKHAM_CHECK(first >= 0 && count > 0 && first + count <= positions());
    const at::NoGradGuard no_grad;
    const Tensor logs = log_probabilities(decoder_, hidden_.narrow(0, first, count)).cpu().contiguous();
    std::copy_n(logs.data_ptr<float>(), logs.numel(), logprobs);
  }

 private:
  const Decoder& decoder_;
  Tensor hidden_;  // [positions, H]
};

}  // namespace

std::unique_ptr<Distributions> TorchLanguageModel::distributions(const std::vector<int32_t>& sequence) {
  if (sequence.size() < 2)
    throw_input("a sequence of {} tokens predicts nothing, expected at least 2", sequence.size());
  check_ids(sequence, 0);
  return std::make_unique<TorchDistributions>(*decoder_, sequence);
}

void TorchLanguageModel::check_ids(const std::vector<int32_t>& sequence, size_t index) const {
  for (const int32_t id : sequence) {
    if (id >= 0 && id < info_.vocabulary) continue;
    throw_input("sequence {} holds the token id {}, the model's vocabulary has {}; it belongs to another tokenizer",
                index, id, info_.vocabulary);
  }
}

std::vector<SequenceScore> TorchLanguageModel::score_sequences(std::span<const std::vector<int32_t>> sequences) {
  constexpr int64_t kTokens = 4096;  // per batch
  std::vector<SequenceScore> result(sequences.size());
  struct Batch {
    size_t begin = 0, end = 0, width = 0;
  };
  std::vector<Batch> batches;
  size_t longest = 2;
  for (size_t i = 0; i < sequences.size(); ++i) {
    check_ids(sequences[i], i);
    longest = std::max(longest, sequences[i].size());
    const bool fits = !batches.empty() && static_cast<int64_t>(std::max(batches.back().width, sequences[i].size()) *
                                                               (i + 1 - batches.back().begin)) <= kTokens;
    if (!fits) batches.push_back({i, i, 0});
    batches.back().end = i + 1;
    batches.back().width = std::max(batches.back().width, sequences[i].size());
  }
  run_jobs(*decoder_, batches.size(), static_cast<int64_t>(longest), [&](size_t job) {
    const auto [begin, end, width] = batches[job];
    score_batch(sequences.subspan(begin, end - begin), std::span(result).subspan(begin, end - begin),
                static_cast<int64_t>(width));
    check_interrupt();
  });
  return result;
}

void TorchLanguageModel::score_batch(std::span<const std::vector<int32_t>> sequences, std::span<SequenceScore> result,
                                     int64_t width) const {
  const at::NoGradGuard no_grad;
  // Padding stands on the right, where the causal mask keeps it from every real token.
  Tensor ids = at::zeros({static_cast<int64_t>(sequences.size()), width}, at::kLong);
  std::vector<int64_t> places, targets;
  for (size_t r = 0; r < sequences.size(); ++r) {
    const auto row = static_cast<int64_t>(r);
    std::copy(sequences[r].begin(), sequences[r].end(), ids.data_ptr<int64_t>() + row * width);
    for (size_t t = 1; t < sequences[r].size(); ++t) {
      places.push_back(row * width + static_cast<int64_t>(t) - 1);
      targets.push_back(sequences[r][t]);
    }
  }
  if (places.empty()) return;
  const Tensor hidden = decoder_->forward(ids.to(decoder_->device())).flatten(0, 1);
  const TokenScores scores =
      score_tokens(*decoder_, hidden.index_select(0, at::tensor(places).to(hidden.device())), targets);
  auto next = scores.logprobs.begin();
  for (size_t r = 0; r < sequences.size(); ++r) {
    const auto predicted = static_cast<int64_t>(sequences[r].size()) - 1;
    if (predicted < 1) continue;
    result[r].logprobs.assign(next, next + predicted);
    next += predicted;
  }
}

}  // namespace ockham
