// Log-likelihoods of continuations: contexts with a common prefix are prefilled together, their continuations branch
// off the one cache.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/pipeline/prefill.h"
#include "ockham/pipeline/token_scores.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/tensor/ops.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {

// Continuations of a request behind the same tokens. A request has several rows where its context must be cut and its
// continuations differ in length.
struct TorchLanguageModel::ScoredRow {
  size_t request = 0;
  TokenIds context;
  std::vector<TokenIds> continuations;
  std::vector<size_t> places;  // of each in the answer
};

std::vector<TorchLanguageModel::ScoredRow> TorchLanguageModel::scored_rows(const ScoreRequest& request, size_t index,
                                                                           ScoreAnswer& answer) const {
  Prompt context = request.context;
  const std::string blanks = take_trailing_blanks(context);
  const TokenIds ids = encode(context);
  const int32_t start_token = tokenizer_->bos_id().value_or(eos_ids_.empty() ? 0 : eos_ids_[0]);
  std::map<int64_t, ScoredRow> rows;  // by tokens cut off
  for (size_t place = 0; place < request.continuations.size(); ++place) {
    const std::string& text = request.continuations[place];
    TokenIds continuation = continuation_tokens(*tokenizer_, context, ids, blanks + text, info_.name);
    // The last token is only predicted, never read.
    const int64_t room = info_.context_length + 1 - static_cast<int64_t>(continuation.size());
    if (room < 1)
      throw_input("a continuation has {} tokens, the model reads {}; shorten it", continuation.size(),
                  info_.context_length);
    const int64_t over = std::max<int64_t>(0, static_cast<int64_t>(ids.size()) - room);
    answer.truncated_tokens = std::max(answer.truncated_tokens, over);
    ScoredRow& row = rows[over];
    row.continuations.push_back(std::move(continuation));
    row.places.push_back(place);
  }
  std::vector<ScoredRow> result;
  for (auto& [over, row] : rows) {
    row.request = index;
    row.context.assign(ids.begin() + over, ids.end());
    if (row.context.empty()) row.context.push_back(start_token);
    result.push_back(std::move(row));
  }
  answer.scores.resize(request.continuations.size());
  return result;
}

std::vector<ScoreAnswer> TorchLanguageModel::score(std::span<const ScoreRequest> requests) {
  const size_t count = requests.size();
  std::vector<ScoreAnswer> answers(count);
  std::vector<std::vector<ScoredRow>> by_request(count);
  parallel_for(static_cast<int64_t>(count), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      by_request[i] = scored_rows(requests[i], i, answers[i]);
  });
  std::vector<ScoredRow> rows;
  std::vector<TokenIds> contexts;
  int64_t tokens = 1;
  for (std::vector<ScoredRow>& own : by_request) {
    for (ScoredRow& row : own) {
      int64_t length = static_cast<int64_t>(row.context.size());
      for (const TokenIds& continuation : row.continuations) length += static_cast<int64_t>(continuation.size());
      tokens = std::max(tokens, length);
      contexts.push_back(row.context);
      rows.push_back(std::move(row));
    }
  }
  const std::vector<std::vector<size_t>> groups =
      group_by_prefix(contexts, group_rows(*decoder_, tokens), wanted_groups(*decoder_));
  run_jobs(*decoder_, groups.size(), tokens, [&](size_t job) { score_group(rows, groups[job], answers); });
  return answers;
}

void TorchLanguageModel::score_group(const std::vector<ScoredRow>& rows, std::span<const size_t> group,
                                     std::vector<ScoreAnswer>& answers) const {
  const at::NoGradGuard no_grad;
  std::vector<const TokenIds*> contexts;
  std::vector<std::vector<TokenIds>> branches;  // what is read of the continuations: all but their last tokens
  int64_t width = 0;
  for (const size_t index : group) {
    contexts.push_back(&rows[index].context);
    std::vector<TokenIds> read;
    int64_t tokens = 0;
    for (const TokenIds& continuation : rows[index].continuations) {
      read.emplace_back(continuation.begin(), continuation.end() - 1);
      tokens += static_cast<int64_t>(continuation.size()) - 1;
    }
    width = std::max(width, tokens);
    branches.push_back(std::move(read));
  }
  PrefilledRows prefilled = prefill(*decoder_, contexts, width);
  const Tensor inner = width > 0 ? forward_branches(*decoder_, prefilled, branches) : Tensor();
  const auto score_of = [&](const ScoredRow& row, size_t c) -> ContinuationScore& {
    return answers[row.request].scores[row.places[c]];
  };

  const auto positions = static_cast<size_t>(logit_positions(*decoder_));
  for (size_t first = 0; first < group.size(); first += positions) {
    const size_t part = std::min(positions, group.size() - first);
    const Tensor logs = log_probabilities(*decoder_, prefilled.last_hidden.narrow(0, static_cast<int64_t>(first),
                                                                                  static_cast<int64_t>(part)))
                            .cpu();
    const Tensor best = logs.argmax(-1);
    for (size_t r = 0; r < part; ++r) {
      const ScoredRow& row = rows[group[first + r]];
      const float* line = logs.data_ptr<float>() + static_cast<int64_t>(r) * logs.size(1);
      for (size_t c = 0; c < row.continuations.size(); ++c) {
        const TokenIds& continuation = row.continuations[c];
        score_of(row, c) = {line[continuation[0]], static_cast<int64_t>(continuation.size()),
                            best.data_ptr<int64_t>()[r] == continuation[0]};
      }
    }
  }
  if (!inner.defined()) return;

  std::vector<int64_t> places, targets;
  for (size_t r = 0; r < group.size(); ++r) {
    int64_t place = static_cast<int64_t>(r) * width;
    for (const TokenIds& continuation : rows[group[r]].continuations) {
      for (size_t j = 1; j < continuation.size(); ++j) {
        places.push_back(place++);
        targets.push_back(continuation[j]);
      }
    }
  }
  const Tensor hidden = inner.flatten(0, 1).index_select(0, at::tensor(places).to(inner.device()));
  const TokenScores scores = score_tokens(*decoder_, hidden, targets);
  size_t next = 0;
  for (const size_t index : group) {
    for (size_t c = 0; c < rows[index].continuations.size(); ++c) {
      ContinuationScore& score = score_of(rows[index], c);
      for (int64_t j = 1; j < score.tokens; ++j, ++next) {
        score.logprob += scores.logprobs[next];
        score.is_greedy = score.is_greedy && scores.is_best[next];
      }
    }
  }
}

}  // namespace ockham
