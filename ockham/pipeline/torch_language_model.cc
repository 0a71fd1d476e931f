// Loading, tokenizing, log-likelihoods. Generation stands in torch_generate.cc.
#include "ockham/pipeline/torch_language_model.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/prefill.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Positions whose logits are held at once: 64 MB in float32, at least 16.
int64_t logit_positions(const Decoder& decoder) {
  return std::clamp<int64_t>((int64_t{1} << 24) / decoder.config.vocabulary, 16, 4096);
}

// log softmax in float32 of hidden states [n, H], at most logit_positions().
Tensor log_probabilities(const Decoder& decoder, const Tensor& hidden) {
  return at::log_softmax(decoder.logits(hidden).to(at::kFloat), -1);
}

// Log-probability and rank-one flag of the given next token at every position.
struct TokenScores {
  std::vector<float> logprobs;
  std::vector<bool> is_best;
};
TokenScores score_tokens(const Decoder& decoder, const Tensor& hidden, const std::vector<int64_t>& targets) {
  TokenScores result;
  const auto count = static_cast<int64_t>(targets.size());
  const int64_t positions = logit_positions(decoder);
  for (int64_t begin = 0; begin < count; begin += positions) {
    const int64_t part = std::min(positions, count - begin);
    const Tensor logs = log_probabilities(decoder, hidden.narrow(0, begin, part));
    const Tensor wanted =
        at::tensor(at::ArrayRef<int64_t>(targets.data() + begin, static_cast<size_t>(part))).to(logs.device());
    const Tensor chosen = logs.gather(1, wanted.unsqueeze(1)).squeeze(1).cpu(), best = logs.argmax(-1).cpu();
    const float* logprob = chosen.data_ptr<float>();
    const int64_t* id = best.data_ptr<int64_t>();
    for (int64_t i = 0; i < part; ++i) {
      result.logprobs.push_back(logprob[i]);
      result.is_best.push_back(id[i] == targets[static_cast<size_t>(begin + i)]);
    }
  }
  return result;
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
  decoder_->to(to_scalar_type(dtype), device);
  tokenizer_ = std::make_shared<const Tokenizer>(checkpoint.directory());
  eos_ids_ = tokenizer_->eos_ids();
  info_.name = std::filesystem::path(checkpoint.directory()).filename().string();
  info_.path = checkpoint.directory();
  info_.sha256 = checkpoint.sha256();
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
  eos_ids_ = tokenizer_->eos_ids();
  info_.context_length = decoder_->config.context_length;
  info_.vocabulary = decoder_->config.vocabulary;
}

TorchLanguageModel::~TorchLanguageModel() = default;

Prompt TorchLanguageModel::render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  if (tokenizer_->has_chat_template()) return {tokenizer_->render_chat(messages, add_generation_prompt), true};
  static std::once_flag told;
  std::call_once(told, [&] {
    log_warning(fmt::format("{}: has no chat template; prompts are written as \"role: content\" lines", info_.name));
  });
  std::string text;
  for (const ChatMessage& message : messages) text += message.role + ": " + message.content + "\n";
  return {text + (add_generation_prompt ? "assistant:" : ""), false};
}

std::vector<int32_t> TorchLanguageModel::tokenize(const std::string& text, bool add_special_tokens) const {
  return tokenizer_->encode(text, add_special_tokens, false);
}

std::vector<int32_t> TorchLanguageModel::encode(const Prompt& prompt) const {
  return tokenizer_->encode(prompt.text, !prompt.is_rendered, prompt.is_rendered);
}

std::vector<ScoreAnswer> TorchLanguageModel::score(std::span<const ScoreRequest> requests) {
  const size_t count = requests.size();
  std::vector<ScoreAnswer> answers(count);
  std::vector<TokenIds> contexts(count);
  std::vector<std::vector<TokenIds>> continuations(count);
  const int32_t start_token = tokenizer_->bos_id().value_or(eos_ids_.empty() ? 0 : eos_ids_[0]);
  parallel_for(static_cast<int64_t>(count), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      Prompt context = requests[i].context;
      const size_t cut = context.text.find_last_not_of(' ') + 1;
      const std::string blanks = context.text.substr(cut);
      context.text.resize(cut);
      TokenIds ids = encode(context);
      size_t longest = 0;
      for (const std::string& continuation : requests[i].continuations) {
        const TokenIds whole = encode({context.text + blanks + continuation, context.is_rendered});
        if (whole.size() <= ids.size())
          throw_input("continuation '{}' has no token of its own behind its context; make it longer", continuation);
        continuations[i].emplace_back(whole.begin() + static_cast<int64_t>(ids.size()), whole.end());
        longest = std::max(longest, continuations[i].back().size());
      }
      if (ids.empty()) ids.push_back(start_token);
      // The last token is only predicted, never read.
      const int64_t room = info_.context_length + 1 - static_cast<int64_t>(longest);
      if (room < 1)
        throw_input("a continuation has {} tokens, the model reads {}; shorten it", longest, info_.context_length);
      if (const int64_t over = static_cast<int64_t>(ids.size()) - room; over > 0) {
        ids.erase(ids.begin(), ids.begin() + over);
        answers[i].truncated_tokens = over;
      }
      contexts[i] = std::move(ids);
    }
  });
  int64_t tokens = 1;
  for (size_t i = 0; i < count; ++i) {
    int64_t own = static_cast<int64_t>(contexts[i].size());
    for (const TokenIds& continuation : continuations[i]) own += static_cast<int64_t>(continuation.size());
    tokens = std::max(tokens, own);
  }
  const std::vector<std::vector<size_t>> groups = group_by_prefix(contexts, group_rows(*decoder_, tokens));
  run_jobs(*decoder_, groups.size(), tokens,
           [&](size_t job) { score_group(requests, groups[job], contexts, continuations, answers); });
  return answers;
}

void TorchLanguageModel::score_group(std::span<const ScoreRequest> requests, std::span<const size_t> group,
                                     const std::vector<TokenIds>& contexts,
                                     const std::vector<std::vector<TokenIds>>& continuations,
                                     std::vector<ScoreAnswer>& answers) const {
  const at::NoGradGuard no_grad;
  std::vector<const TokenIds*> rows;
  std::vector<std::vector<TokenIds>> branches;  // what is read of the continuations: all but their last tokens
  int64_t width = 0;
  for (const size_t request : group) {
    rows.push_back(&contexts[request]);
    std::vector<TokenIds> read;
    int64_t tokens = 0;
    for (const TokenIds& continuation : continuations[request]) {
      read.emplace_back(continuation.begin(), continuation.end() - 1);
      tokens += static_cast<int64_t>(continuation.size()) - 1;
    }
    width = std::max(width, tokens);
    branches.push_back(std::move(read));
  }
  PrefilledRows prefilled = prefill(*decoder_, rows, width);
  const Tensor inner = width > 0 ? forward_branches(*decoder_, prefilled, branches) : Tensor();

  const auto positions = static_cast<size_t>(logit_positions(*decoder_));
  for (size_t first = 0; first < group.size(); first += positions) {
    const size_t part = std::min(positions, group.size() - first);
    const Tensor logs = log_probabilities(*decoder_, prefilled.last_hidden.narrow(0, static_cast<int64_t>(first),
                                                                                  static_cast<int64_t>(part)))
                            .cpu();
    const Tensor best = logs.argmax(-1);
    for (size_t r = 0; r < part; ++r) {
      const size_t request = group[first + r];
      const float* line = logs.data_ptr<float>() + static_cast<int64_t>(r) * logs.size(1);
      for (const TokenIds& continuation : continuations[request]) {
        ContinuationScore score;
        score.logprob = line[continuation[0]];
        score.tokens = static_cast<int64_t>(continuation.size());
        score.is_greedy = best.data_ptr<int64_t>()[r] == continuation[0];
        answers[request].scores.push_back(score);
      }
    }
  }
  if (!inner.defined()) return;

  std::vector<int64_t> places, targets;
  for (size_t r = 0; r < group.size(); ++r) {
    int64_t place = static_cast<int64_t>(r) * width;
    for (const TokenIds& continuation : continuations[group[r]]) {
      for (size_t j = 1; j < continuation.size(); ++j) {
        places.push_back(place++);
        targets.push_back(continuation[j]);
      }
    }
  }
  const Tensor hidden = inner.flatten(0, 1).index_select(0, at::tensor(places).to(inner.device()));
  const TokenScores scores = score_tokens(*decoder_, hidden, targets);
  size_t next = 0;
  for (const size_t request : group) {
    for (size_t c = 0; c < requests[request].continuations.size(); ++c) {
      ContinuationScore& score = answers[request].scores[c];
      for (int64_t j = 1; j < score.tokens; ++j, ++next) {
        score.logprob += scores.logprobs[next];
        score.is_greedy = score.is_greedy && scores.is_best[next];
      }
    }
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
    for (const int32_t id : sequences[i]) {
      if (id < 0 || id >= info_.vocabulary)
        throw_input("sequence {} holds the token id {}, the model's vocabulary has {}; it belongs to another tokenizer",
                    i, id, info_.vocabulary);
    }
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
