// Generation: prompts are prefilled together, then every step extends the rows that are still open.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/pipeline/prefill.h"
#include "ockham/pipeline/sampling.h"
#include "ockham/pipeline/torch_language_model.h"
#include "ockham/tensor/ops.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

// Keeps the rows at these places, in order.
void keep_rows(KvCache& cache, const std::vector<int64_t>& kept) {
  const Tensor index = at::tensor(kept).to(cache.keys[0].device());
  for (Tensor& keys : cache.keys) keys = keys.index_select(0, index);
  for (Tensor& values : cache.values) values = values.index_select(0, index);
  if (cache.padding.defined()) cache.padding = cache.padding.index_select(0, index);
}

}  // namespace

struct TorchLanguageModel::GeneratedRow {
  size_t request = 0;
  int64_t sample = 0;
  Rng rng;
  TokenIds ids;
  bool hit_limit = false;
};

std::vector<GenerateAnswer> TorchLanguageModel::generate(std::span<const GenerateRequest> requests) {
  const size_t count = requests.size();
  std::vector<GenerateAnswer> answers(count);
  std::vector<TokenIds> prompts(count);
  const int32_t start_token = tokenizer_->bos_id().value_or(eos_ids_.empty() ? 0 : eos_ids_[0]);
  size_t rows = 1;
  int64_t tokens = 1;
  parallel_for(static_cast<int64_t>(count), 8, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      prompts[i] = encode(requests[i].prompt);
      if (prompts[i].empty()) prompts[i].push_back(start_token);
      const int64_t room = info_.context_length - requests[i].max_tokens;
      if (room < 1)
        throw_error(ErrorKind::kUsage, "{} new tokens do not fit the model's context of {}; ask for fewer",
                    requests[i].max_tokens, info_.context_length);
      if (const int64_t over = static_cast<int64_t>(prompts[i].size()) - room; over > 0) {
        prompts[i].erase(prompts[i].begin(), prompts[i].begin() + over);
        answers[i].truncated_tokens = over;
      }
    }
  });
  for (size_t i = 0; i < count; ++i) {
    const auto samples = static_cast<size_t>(requests[i].samples);
    OCKHAM_CHECK(requests[i].samples > 0 && requests[i].max_tokens > 0);
    answers[i].texts.resize(samples);
    answers[i].hit_limit.resize(samples);
    rows = std::max(rows, samples);
    tokens = std::max(tokens, static_cast<int64_t>(prompts[i].size()) + requests[i].max_tokens);
  }
  const std::vector<std::vector<size_t>> groups =
      group_by_prefix(prompts, std::max<size_t>(1, group_rows(*decoder_, tokens) / rows), wanted_groups(*decoder_));
  run_jobs(*decoder_, groups.size(), tokens,
           [&](size_t job) { generate_group(requests, groups[job], prompts, answers); });
  return answers;
}

void TorchLanguageModel::generate_group(std::span<const GenerateRequest> requests, std::span<const size_t> group,
                                        const std::vector<TokenIds>& prompts,
                                        std::vector<GenerateAnswer>& answers) const {
  const at::NoGradGuard no_grad;
  std::vector<const TokenIds*> lines;
  std::vector<GeneratedRow> rows;
  std::vector<int64_t> sources;  // row of the prefilled batch behind each generated row
  int64_t longest = 0;
  for (size_t g = 0; g < group.size(); ++g) {
    const GenerateRequest& request = requests[group[g]];
    lines.push_back(&prompts[group[g]]);
    longest = std::max(longest, request.max_tokens);
    for (int64_t sample = 0; sample < request.samples; ++sample) {
      rows.push_back({group[g], sample, Rng(mix_seed(request.seed, static_cast<uint64_t>(sample))), {}, false});
      sources.push_back(static_cast<int64_t>(g));
    }
  }
  PrefilledRows prefilled = prefill(*decoder_, lines, longest);
  KvCache& cache = prefilled.cache;
  Tensor logits = decoder_->logits(prefilled.last_hidden);
  if (rows.size() != group.size()) {
    keep_rows(cache, sources);
    logits = logits.index_select(0, at::tensor(sources).to(logits.device()));
  }

  std::vector<size_t> open(rows.size());  // the generated row behind each row of the cache
  for (size_t i = 0; i < open.size(); ++i) open[i] = i;
  std::vector<char> is_done(rows.size(), 0);
  for (int64_t step = 0;; ++step) {
    std::vector<SamplingRow> sampling;
    for (const size_t row : open) {
      const GenerateRequest& request = requests[rows[row].request];
      sampling.push_back({request.temperature, request.top_p, &rows[row].rng});
    }
    const std::vector<int32_t> ids = sample_tokens(logits, sampling);
    for (size_t i = 0; i < open.size(); ++i) {
      GeneratedRow& row = rows[open[i]];
      if (is_done[open[i]] != 0) continue;
      const GenerateRequest& request = requests[row.request];
      if (std::find(eos_ids_.begin(), eos_ids_.end(), ids[i]) != eos_ids_.end()) {
        is_done[open[i]] = 1;
        continue;
      }
      row.ids.push_back(ids[i]);
      bool has_stop = false;
      if (!request.stop.empty()) {
        const std::string text = tokenizer_->decode(row.ids, true);
        has_stop = cut_at_stop(text, request.stop).size() < text.size();
      }
      row.hit_limit = !has_stop && static_cast<int64_t>(row.ids.size()) >= request.max_tokens;
      is_done[open[i]] = has_stop || row.hit_limit;
    }
    std::vector<int64_t> kept;
    for (size_t i = 0; i < open.size(); ++i)
      if (is_done[open[i]] == 0) kept.push_back(static_cast<int64_t>(i));
    if (kept.empty()) break;
    std::vector<int64_t> next(ids.begin(), ids.end());
    // Dropping rows copies the cache, which pays once a third of them is finished.
    if (3 * kept.size() <= 2 * open.size()) {
      keep_rows(cache, kept);
      std::vector<size_t> still;
      std::vector<int64_t> their;
      for (const int64_t i : kept) {
        still.push_back(open[static_cast<size_t>(i)]);
        their.push_back(next[static_cast<size_t>(i)]);
      }
      open = std::move(still);
      next = std::move(their);
    }
    const Tensor hidden = decoder_->forward(at::tensor(next).unsqueeze(1).to(decoder_->device()), &cache);
    logits = decoder_->logits(hidden.select(1, 0));
    check_interrupt();
  }
  for (const GeneratedRow& row : rows) {
    GenerateAnswer& answer = answers[row.request];
    answer.texts[static_cast<size_t>(row.sample)] =
        cut_at_stop(text_of(prompts[row.request], row.ids), requests[row.request].stop);
    answer.hit_limit[static_cast<size_t>(row.sample)] = row.hit_limit;
  }
}

// Decoders of SentencePiece kind drop the blank before a first word, so the text is what a few prompt tokens gain by
// it.
std::string TorchLanguageModel::text_of(const TokenIds& prompt, const TokenIds& generated) const {
  TokenIds tail(prompt.end() - std::min<int64_t>(4, static_cast<int64_t>(prompt.size())), prompt.end());
  const std::string before = tokenizer_->decode(tail, true);
  tail.insert(tail.end(), generated.begin(), generated.end());
  const std::string whole = tokenizer_->decode(tail, true);
  return whole.starts_with(before) ? whole.substr(before.size()) : tokenizer_->decode(generated, true);
}

}  // namespace ockham
