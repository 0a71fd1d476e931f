// How candidates run: what they share with the parent and with each other is computed once.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <time.h>

#include <algorithm>
#include <atomic>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/search/candidate_state.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/panels.h"

namespace ockham {
namespace {

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// One operation on one thread: the threads are given whole chunks.
class OneThreadEach {
 public:
  OneThreadEach() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~OneThreadEach() { at::set_num_threads(before_); }
  OneThreadEach(const OneThreadEach&) = delete;
  OneThreadEach& operator=(const OneThreadEach&) = delete;

 private:
  int before_;
};

}  // namespace

void for_each_task(size_t n, const std::function<void(size_t)>& body) {
  const OneThreadEach one_thread;
  std::atomic<size_t> next{0};
  parallel_for(std::min<int64_t>(static_cast<int64_t>(n), thread_count()), 1, [&](int64_t, int64_t) {
    const at::NoGradGuard no_grad;
    at::set_num_threads(1);
    for (size_t i = next++; i < n; i = next++) {
      check_interrupt();
      body(i);
    }
  });
}

std::shared_ptr<const PreparedMatrix> prepare_weight(const Weight& weight) {
  const auto* dense = std::get_if<DenseWeight>(&weight);
  if (dense == nullptr || !suits_panels(dense->values)) return nullptr;
  return std::make_shared<const PanelMatrix>(make_panels(dense->values));
}

std::shared_ptr<const CandidateEvaluator::Linears> CandidateEvaluator::linears_of(size_t unit, int rank,
                                                                                  bool is_cached) {
  State& s = *state_;
  const std::pair<size_t, int> key = {unit, rank};
  if (is_cached) {
    const std::lock_guard lock(s.mutex);
    if (const auto found = s.linears.find(key); found != s.linears.end()) return found->second;
  }
  const LevelUnit& facts = s.database.units()[unit];
  const size_t level = s.order[unit][static_cast<size_t>(rank)];
  auto made = std::make_shared<Linears>();
  int64_t bytes = 0;
  for (size_t i = 0; i < facts.places.size(); ++i) {
    Linear linear = s.blocks[static_cast<size_t>(facts.block)].linears[facts.places[i]];
    linear.weight = weight_unpacked(s.database.read(unit, level, i), at::kFloat);
    linear.prepared = prepare_weight(linear.weight);
    bytes += 8 * weight_rows(linear.weight) * weight_columns(linear.weight);
    made->push_back(std::move(linear));
  }
  if (is_cached) {
    const std::lock_guard lock(s.mutex);
    // All at once: which ones come back soon is not known, and it seldom happens.
    if (s.linear_bytes + bytes > s.options.cache_bytes) {
      s.linears.clear();
      s.linear_bytes = 0;
    }
    if (s.linears.emplace(key, made).second) s.linear_bytes += bytes;
  }
  return made;
}

Block CandidateEvaluator::block_of(int64_t index, const Assignment& candidate, bool is_cached) {
  const State& s = *state_;
  Block block = s.blocks[static_cast<size_t>(index)];
  for (const size_t u : s.units_of_block[static_cast<size_t>(index)]) {
    const std::shared_ptr<const Linears> linears = linears_of(u, candidate[u], is_cached);
    const std::vector<size_t>& places = s.database.units()[u].places;
    for (size_t i = 0; i < places.size(); ++i) block.linears[places[i]] = (*linears)[i];
  }
  return block;
}

Tensor CandidateEvaluator::run_step(size_t step, const Tensor& input, const Assignment& candidate, bool is_cached) {
  const State& s = *state_;
  const Block block = block_of(static_cast<int64_t>(step / s.halves), candidate, is_cached);
  if (s.halves == 1) return block.forward(input, s.context);
  return step % 2 == 0 ? block.first_half(input, s.context) : block.second_half(input, s.context);
}

// Steps whose inputs are the same: up to the first one with another level.
size_t CandidateEvaluator::shared_steps(const Assignment& a, const Assignment& b) const {
  for (size_t u = 0; u < a.size(); ++u)
    if (a[u] != b[u]) return state_->first_step[u];
  return state_->steps();
}

ChunkValue CandidateEvaluator::measure(int64_t chunk_index, const Tensor& hidden) const {
  const State& s = *state_;
  const Chunk& chunk = *s.chunks[static_cast<size_t>(chunk_index)];
  const int64_t length = chunk.ids.size(1) - 1;
  const Tensor last = s.frame->finish(hidden).narrow(1, 0, length).reshape({-1, s.config.hidden_size});
  ChunkValue value;
  value.kl = -chunk.entropy;
  // Pieces whose logits stay in the processor's cache.
  constexpr int64_t kPositions = 128;
  for (int64_t begin = 0; begin < last.size(0); begin += kPositions) {
    const int64_t count = std::min(kPositions, last.size(0) - begin);
    const Tensor logits = s.frame->logits(last.narrow(0, begin, count)).to(at::kFloat);
    const Tensor shares = chunk.probabilities.defined()
                              ? chunk.probabilities.narrow(0, begin, count)
                              : at::softmax(s.frame->logits(chunk.dense.narrow(0, begin, count)).to(at::kFloat), -1);
    // sum p (log p - log q) = -entropy - sum p z + log sum exp z, for q = softmax(z).
    const double norms = at::logsumexp(logits, {-1}).sum(at::kDouble).item<double>();
    value.kl += norms - (shares * logits).sum(-1).sum(at::kDouble).item<double>();
    value.nll += norms - logits.gather(1, chunk.targets.narrow(0, begin, count)).sum(at::kDouble).item<double>();
  }
  return value;
}

// The parent's states in this chunk, as far as they are missing, and its value.
void CandidateEvaluator::follow_parent(int64_t chunk_index, Walk& walk) {
  State& s = *state_;
  Chunk& chunk = *s.chunks[static_cast<size_t>(chunk_index)];
  const std::lock_guard lock(chunk.mutex);
  const size_t steps = s.steps();
  chunk.states.resize(steps);
  if (!chunk.states[0].defined()) chunk.states[0] = s.frame->embed(chunk.ids);
  if (!chunk.parent) {
    size_t known = 0;
    for (size_t step = 0; step < steps; ++step)
      if (chunk.states[step].defined()) known = step;
    Tensor hidden = chunk.states[known];
    for (size_t step = known; step < steps; ++step) {
      if (step % s.stride == 0) chunk.states[step] = hidden;
      hidden = run_step(step, hidden, s.parent, true);
    }
    chunk.parent = measure(chunk_index, hidden);
    const std::lock_guard speed_lock(s.mutex);
    s.speed.steps += static_cast<int64_t>(steps - known);
  }
  walk.assignment = s.parent;
  walk.states = chunk.states;
}

void CandidateEvaluator::run_candidates(std::span<const Assignment> candidates, std::span<const size_t> order,
                                        int64_t chunk_index, std::span<ChunkValue> values) {
  State& s = *state_;
  const double begin = thread_seconds();
  Walk parent, current;
  follow_parent(chunk_index, parent);
  current = parent;
  int64_t run = 0;
  for (const size_t place : order) {
    const Assignment& candidate = candidates[place];
    if (candidate == s.parent) {
      values[place] = *s.chunks[static_cast<size_t>(chunk_index)]->parent;
      continue;
    }
    // The deepest known input that this candidate shares with the parent or with the candidate before it.
    const auto known = [&](const Walk& walk) {
      size_t step = std::min(shared_steps(candidate, walk.assignment), walk.states.size() - 1);
      while (!walk.states[step].defined()) --step;
      return step;
    };
    const size_t by_parent = known(parent), by_last = known(current);
    std::vector<Tensor> states(s.steps());
    const Walk& from = by_parent > by_last ? parent : current;
    const size_t first = std::max(by_parent, by_last);
    std::copy_n(from.states.begin(), first + 1, states.begin());
    Tensor hidden = states[first];
    for (size_t step = first; step < s.steps(); ++step) {
      states[step] = hidden;
      hidden = run_step(step, hidden, candidate, true);
    }
    run += static_cast<int64_t>(s.steps() - first);
    values[place] = measure(chunk_index, hidden);
    current = {candidate, std::move(states)};
  }
  const double seconds = thread_seconds() - begin;
  const std::lock_guard lock(s.mutex);
  s.speed.seconds += seconds;
  s.speed.measured += static_cast<int64_t>(order.size());
  s.speed.steps += run;
  s.speed.whole_steps += static_cast<int64_t>(order.size() * s.steps());
}

ChunkValue CandidateEvaluator::evaluate_from_scratch(const Assignment& candidate, int64_t chunk_index) {
  State& s = *state_;
  ChunkValue value;
  for_each_task(1, [&](size_t) {
    const double begin = thread_seconds();
    Tensor hidden = s.frame->embed(s.chunks[static_cast<size_t>(chunk_index)]->ids);
    for (size_t index = 0; index < s.blocks.size(); ++index)
      hidden = block_of(static_cast<int64_t>(index), candidate, false).forward(hidden, s.context);
    value = measure(chunk_index, hidden);
    s.speed.scratch_seconds += thread_seconds() - begin;
    ++s.speed.scratch_measured;
  });
  return value;
}

}  // namespace ockham
