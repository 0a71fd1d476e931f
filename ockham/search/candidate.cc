#include "ockham/search/candidate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/search/candidate_state.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"

namespace ockham {

CandidateEvaluator::CandidateEvaluator(const Checkpoint& checkpoint, const LevelDatabase& database, LevelOrder order,
                                       const Tensor& ids, const Options& options)
    : state_(new State{database,
                       std::move(order),
                       options,
                       checkpoint.config(),
                       nullptr,
                       {},
                       {},
                       2,
                       {},
                       {},
                       {},
                       {},
                       1,
                       {},
                       0,
                       {},
                       {}}) {
  const at::NoGradGuard no_grad;
  State& s = *state_;
  const DType arithmetic = arithmetic_dtype(s.config.dtype, at::kCPU) == DType::kF32 || s.config.dtype != DType::kF32
                               ? DType::kF32
                               : s.config.dtype;
  s.frame = checkpoint.read_frame(arithmetic);
  s.frame->make_panels();
  for (int64_t index = 0; index < s.config.blocks; ++index) {
    s.blocks.push_back(checkpoint.read_block(index, arithmetic));
    s.blocks.back().config = &s.config;
    for (Linear& linear : s.blocks.back().linears) {
      linear.weight = weight_unpacked(linear.weight, at::kFloat);
      linear.prepared = prepare_weight(linear.weight);
    }
  }
  s.halves = s.blocks.front().has_halves() ? 2 : 1;
  s.units_of_block.resize(s.blocks.size());
  for (size_t u = 0; u < database.units().size(); ++u) {
    const LevelUnit& unit = database.units()[u];
    const auto block = static_cast<size_t>(unit.block);
    const LinearRole role = s.blocks[block].linears[unit.places.front()].role;
    s.first_step.push_back(block * s.halves + (s.halves == 2 && role >= kGate ? 1 : 0));
    s.units_of_block[block].push_back(u);
  }
  s.context = s.frame->make_context(1, ids.size(1), nullptr, {});
  const int64_t sequences = std::max<int64_t>(1, options.chunk_tokens / ids.size(1));
  for (int64_t begin = 0; begin < ids.size(0); begin += sequences) {
    auto chunk = std::make_unique<Chunk>();
    chunk->ids = ids.narrow(0, begin, std::min(sequences, ids.size(0) - begin)).contiguous();
    chunk->targets = chunk->ids.narrow(1, 1, ids.size(1) - 1).reshape({-1, 1});
    s.chunks.push_back(std::move(chunk));
  }
  const int64_t positions = ids.size(0) * (ids.size(1) - 1);
  const bool keeps_probabilities = positions * s.config.vocabulary * 4 <= options.cache_bytes;
  const int64_t step_bytes = ids.numel() * s.config.hidden_size * 4;
  s.stride = static_cast<size_t>(std::max<int64_t>(
      1, (static_cast<int64_t>(s.steps()) * step_bytes + options.cache_bytes - 1) / options.cache_bytes));
  for_each_task(s.chunks.size(), [&](size_t c) {
    Chunk& chunk = *s.chunks[c];
    Tensor hidden = s.frame->embed(chunk.ids);
    for (const Block& block : s.blocks) hidden = block.forward(hidden, s.context);
    const int64_t length = chunk.ids.size(1) - 1;
    chunk.dense = s.frame->finish(hidden).narrow(1, 0, length).reshape({-1, s.config.hidden_size}).contiguous();
    const Tensor logs = at::log_softmax(s.frame->logits(chunk.dense).to(at::kFloat), -1);
    const Tensor shares = logs.exp();
    chunk.entropy = -(shares * logs).sum(-1).sum(at::kDouble).item<double>();
    chunk.nll = -logs.gather(1, chunk.targets).sum(at::kDouble).item<double>();
    if (keeps_probabilities) chunk.probabilities = shares;
  });
}

CandidateEvaluator::~CandidateEvaluator() = default;

int64_t CandidateEvaluator::tokens() const {
  int64_t sum = 0;
  for (const auto& chunk : state_->chunks) sum += chunk->ids.numel();
  return sum;
}

CandidateEvaluator::Speed CandidateEvaluator::speed() const {
  return state_->speed;
}

std::vector<int64_t> CandidateEvaluator::chunks_of(int64_t tokens, uint64_t draw) const {
  const State& s = *state_;
  std::vector<int64_t> chunks(s.chunks.size());
  std::iota(chunks.begin(), chunks.end(), int64_t{0});
  const int64_t per_chunk = s.chunks.front()->ids.numel();
  const auto wanted = static_cast<size_t>(std::max<int64_t>(1, (tokens + per_chunk - 1) / per_chunk));
  if (wanted >= chunks.size()) return chunks;
  Rng rng(mix_seed(draw, hash_seed("chunks")));
  rng.shuffle(chunks);
  chunks.resize(wanted);
  std::sort(chunks.begin(), chunks.end());
  return chunks;
}

std::vector<ChunkValue> CandidateEvaluator::chunk_values(std::span<const Assignment> candidates,
                                                         std::span<const int64_t> chunks) {
  State& s = *state_;
  if (s.parent.empty()) set_parent(candidates.front());
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return candidates[a] < candidates[b]; });
  // Pieces of the sorted candidates, where there are fewer chunks than threads.
  const std::span<const size_t> own = share_of(order);
  const size_t threads = static_cast<size_t>(thread_count());
  const size_t pieces =
      std::clamp<size_t>((threads + chunks.size() - 1) / chunks.size(), 1, std::max<size_t>(1, own.size()));
  std::vector<ChunkValue> values(candidates.size() * chunks.size());  // [chunk][candidate]
  for_each_task(chunks.size() * pieces, [&](size_t task) {
    const size_t c = task / pieces, piece = task % pieces;
    const size_t first = own.size() * piece / pieces, last = own.size() * (piece + 1) / pieces;
    run_candidates(candidates, own.subspan(first, last - first), chunks[c],
                   std::span(values).subspan(c * candidates.size(), candidates.size()));
  });
  if (s.options.ranks != nullptr) add_up(values);
  for (const int64_t chunk : chunks)
    spent_ += static_cast<int64_t>(candidates.size()) * s.chunks[static_cast<size_t>(chunk)]->ids.numel();
  return values;
}

// Neighbours in the order stay together, since they share most.
std::span<const size_t> CandidateEvaluator::share_of(std::span<const size_t> order) const {
  const Ranks* ranks = state_->options.ranks;
  if (ranks == nullptr) return order;
  const auto rank = static_cast<size_t>(ranks->rank()), size = static_cast<size_t>(ranks->size());
  const size_t first = order.size() * rank / size;
  return order.subspan(first, order.size() * (rank + 1) / size - first);
}

void CandidateEvaluator::add_up(std::vector<ChunkValue>& values) {
  std::vector<double> numbers;
  for (const ChunkValue& value : values) numbers.insert(numbers.end(), {value.kl, value.nll});
  state_->options.ranks->add_up(numbers);
  for (size_t i = 0; i < values.size(); ++i) values[i] = {numbers[2 * i], numbers[2 * i + 1]};
}

double CandidateEvaluator::combine(std::span<const ChunkValue> values, std::span<const int64_t> chunks) const {
  ChunkValue sum;
  double positions = 0;
  for (size_t c = 0; c < chunks.size(); ++c) {
    sum.kl += values[c].kl;
    sum.nll += values[c].nll;
    positions += static_cast<double>(state_->chunks[static_cast<size_t>(chunks[c])]->targets.size(0));
  }
  return (state_->options.fitness == FitnessKind::kKl ? sum.kl : sum.nll) / positions;
}

std::vector<double> CandidateEvaluator::evaluate(std::span<const Assignment> candidates, int64_t tokens,
                                                 uint64_t draw) {
  const std::vector<int64_t> chunks = chunks_of(tokens, draw);
  const std::vector<ChunkValue> values = chunk_values(candidates, chunks);
  std::vector<double> fitness;
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::vector<ChunkValue> own;
    for (size_t c = 0; c < chunks.size(); ++c) own.push_back(values[c * candidates.size() + i]);
    fitness.push_back(combine(own, chunks));
  }
  // A few times, so that the gain of sharing is measured and not assumed.
  constexpr int64_t kScratchMeasurements = 24, kEvery = 37;
  State& s = *state_;
  if (s.options.ranks == nullptr && candidates.size() > 1 && s.speed.scratch_measured < kScratchMeasurements &&
      s.speed.measured > s.speed.scratch_measured * kEvery) {
    const ChunkValue alone = evaluate_from_scratch(candidates.back(), chunks.front());
    OCKHAM_CHECK(std::abs(alone.kl - values[candidates.size() - 1].kl) <= 1e-3 * (1 + std::abs(alone.kl)));
  }
  return fitness;
}

void CandidateEvaluator::set_parent(const Assignment& parent) {
  State& s = *state_;
  if (parent == s.parent) return;
  const size_t shared = s.parent.empty() ? 0 : shared_steps(parent, s.parent);
  for (const auto& chunk : s.chunks) {
    for (size_t step = shared + 1; step < chunk->states.size(); ++step) chunk->states[step] = Tensor();
    chunk->parent.reset();
  }
  s.parent = parent;
}

std::unique_ptr<Decoder> decoder_of(const Checkpoint& checkpoint, const LevelDatabase& database,
                                    const LevelOrder& order, const Assignment& assignment) {
  std::unique_ptr<Decoder> decoder = checkpoint.read_all(DType::kF32);
  for (size_t u = 0; u < assignment.size(); ++u) {
    const LevelUnit& unit = database.units()[u];
    const size_t level = order[u][static_cast<size_t>(assignment[u])];
    for (size_t i = 0; i < unit.places.size(); ++i) {
      Linear& linear = decoder->blocks[static_cast<size_t>(unit.block)].linears[unit.places[i]];
      linear.weight = weight_unpacked(database.read(u, level, i), at::kFloat);
    }
  }
  return decoder;
}

CandidateValue CandidateEvaluator::value(const Assignment& candidate) {
  std::vector<int64_t> chunks(state_->chunks.size());
  std::iota(chunks.begin(), chunks.end(), int64_t{0});
  const std::vector<ChunkValue> values = chunk_values({&candidate, 1}, chunks);
  double kl = 0, nll = 0, positions = 0;
  for (size_t c = 0; c < chunks.size(); ++c) {
    kl += values[c].kl;
    nll += values[c].nll;
    positions += static_cast<double>(state_->chunks[c]->targets.size(0));
  }
  return {kl / positions, std::exp(nll / positions)};
}

CandidateValue CandidateEvaluator::dense_value() const {
  double nll = 0, positions = 0;
  for (const auto& chunk : state_->chunks) {
    nll += chunk->nll;
    positions += static_cast<double>(chunk->targets.size(0));
  }
  return {0, std::exp(nll / positions)};
}

}  // namespace ockham
