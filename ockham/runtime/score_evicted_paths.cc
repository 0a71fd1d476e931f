// Scores under a policy that drops tokens: a context is read and cut as a prompt is, once for all paths that begin with
// it; then every path goes on by itself, token by token, many side by side in a pass.
#include <algorithm>
#include <numeric>

#include "ockham/core/progress.h"
#include "ockham/runtime/vectors.h"
#include "ockham/runtime/wanted_scores.h"

namespace ockham {

void read_scores(Engine& engine, std::span<const WantedRow> rows) {
  const int64_t vocabulary = engine.config().vocabulary;
  const auto most = static_cast<size_t>(engine.logit_rows());
  std::vector<const float*> hidden;
  for (size_t first = 0; first < rows.size(); first += most) {
    const std::span<const WantedRow> part = rows.subspan(first, std::min(most, rows.size() - first));
    hidden.clear();
    for (const WantedRow& row : part) hidden.push_back(engine.hidden(row.row));
    const float* logits = engine.logits(hidden, false);
    engine.threads().run(static_cast<int64_t>(part.size()), [&](int64_t number, int) {
      const float* line = logits + number * vocabulary;
      const double all = vector_kernels().log_sum_exp(line, vocabulary);
      const int32_t best = first_maximum(line, vocabulary);
      for (const WantedScore& want : part[static_cast<size_t>(number)].wants) {
        *want.score = {static_cast<float>(line[want.target] - all), want.target == best};
        if (want.likely != nullptr) find_likely(line, vocabulary, all, want.likely_count, *want.likely);
      }
    });
  }
}

namespace {

class EvictedPathScorer {
 public:
  EvictedPathScorer(Engine& engine, std::span<const ScoredPath> paths, std::vector<std::vector<TokenScore>>& scores)
      : engine_(engine), paths_(paths), scores_(scores), text_policy_(kv_policy_of_text(engine.kv())) {}
  ~EvictedPathScorer() {
    close(runs_);
    close(bases_);
  }
  EvictedPathScorer(const EvictedPathScorer&) = delete;
  EvictedPathScorer& operator=(const EvictedPathScorer&) = delete;

  void run();

 private:
  // Tokens [at, end) of a path go through the engine; up to `prompt` they are cut as a prompt, behind it one by one.
  struct Run {
    const ScoredPath* path = nullptr;
    int32_t sequence = -1;
    int64_t at = 0, prompt = 0, end = 0;
    std::vector<WantedScore> wants;  // by row
    size_t next_want = 0;
  };
  // Paths order_[begin, end) have one context.
  struct Group {
    size_t begin, end;
  };
  static bool is_text(const ScoredPath& path) { return path.first_target == 1; }
  const KvPolicy& policy_of(const ScoredPath& path) const { return is_text(path) ? text_policy_ : engine_.kv(); }
  static int64_t read_of(const ScoredPath& path) { return static_cast<int64_t>(path.tokens.size()) - 1; }
  static int64_t prompt_of(const ScoredPath& path) { return is_text(path) ? read_of(path) : path.first_target; }
  int64_t pages_of(const ScoredPath& path, int64_t prompt) const {
    return PagedCache::claimed_pages(engine_.cache().shape(), policy_of(path), prompt, read_of(path)) + 1;
  }
  void sort();
  void run_bases(std::span<const Group> groups);
  void run_branches(std::span<const Group> groups);
  void run_all();
  void add_span(Run& run, int64_t room);
  void want(Run& run, size_t path, int64_t begin, int64_t end);
  void close(std::vector<Run>& runs);

  Engine& engine_;
  std::span<const ScoredPath> paths_;
  std::vector<std::vector<TokenScore>>& scores_;
  KvPolicy text_policy_;
  std::vector<size_t> order_;
  std::vector<Group> groups_;
  std::vector<Run> bases_, runs_;
  std::vector<TokenSpan> spans_;
  std::vector<WantedRow> rows_;
  int64_t tokens_ = 0;
};

void EvictedPathScorer::sort() {
  order_.resize(paths_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  const auto context = [&](size_t index) {
    return std::span(paths_[index].tokens).first(static_cast<size_t>(prompt_of(paths_[index])));
  };
  const auto is_before = [&](size_t a, size_t b) {
    const auto x = context(a), y = context(b);
    if (is_text(paths_[a]) != is_text(paths_[b])) return is_text(paths_[b]);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
  };
  std::stable_sort(order_.begin(), order_.end(), is_before);
  for (size_t i = 0; i < order_.size(); ++i) {
    if (i > 0 && !is_before(order_[i - 1], order_[i])) {
      groups_.back().end = i + 1;
    } else {
      groups_.push_back({i, i + 1});
    }
  }
}

// Groups in windows that leave half of the cache to what goes on from them.
void EvictedPathScorer::run() {
  sort();
  for (size_t begin = 0; begin < groups_.size();) {
    const int64_t room = engine_.cache().free_pages() / 2;
    int64_t claimed = 0;
    size_t end = begin;
    for (; end < groups_.size(); ++end) {
      const ScoredPath& path = paths_[order_[groups_[end].begin]];
      claimed += pages_of(path, prompt_of(path));
      if (claimed > room && end > begin) break;
    }
    const std::span<const Group> window(groups_.data() + begin, end - begin);
    run_bases(window);
    run_branches(window);
    close(bases_);
    begin = end;
  }
}

void EvictedPathScorer::want(Run& run, size_t index, int64_t begin, int64_t end) {
  const ScoredPath& path = paths_[index];
  std::vector<TokenScore>& scores = scores_[index];
  scores.resize(path.tokens.size() - static_cast<size_t>(path.first_target));
  if (path.likely != nullptr) path.likely->resize(scores.size());
  for (int64_t row = std::max(begin, path.first_target - 1); row < end; ++row) {
    const auto place = static_cast<size_t>(row + 1 - path.first_target);
    run.wants.push_back({row, path.tokens[static_cast<size_t>(row) + 1], &scores[place],
                         path.likely == nullptr ? nullptr : &(*path.likely)[place], path.likely_count});
  }
}

void EvictedPathScorer::run_bases(std::span<const Group> groups) {
  for (const Group& group : groups) {
    Run& run = runs_.emplace_back();
    run.path = &paths_[order_[group.begin]];
    run.prompt = run.end = prompt_of(*run.path);
    run.sequence = engine_.open(policy_of(*run.path), run.prompt, read_of(*run.path));
    for (size_t i = group.begin; i < group.end; ++i) want(run, order_[i], 0, run.end);
    std::stable_sort(run.wants.begin(), run.wants.end(),
                     [](const WantedScore& a, const WantedScore& b) { return a.row < b.row; });
  }
  run_all();
  bases_ = std::move(runs_);
  runs_.clear();
}

void EvictedPathScorer::run_branches(std::span<const Group> groups) {
  int64_t claimed = 0;
  const auto finish = [&] {
    run_all();
    close(runs_);
    claimed = 0;
  };
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = groups[g].begin; i < groups[g].end; ++i) {
      const ScoredPath& path = paths_[order_[i]];
      if (read_of(path) <= bases_[g].end) continue;
      const int64_t own = pages_of(path, 0);
      if (!runs_.empty() && claimed + own > engine_.cache().free_pages()) finish();
      claimed += own;
      Run& run = runs_.emplace_back();
      run.path = &path;
      run.at = run.prompt = bases_[g].end;
      run.end = read_of(path);
      run.sequence = engine_.cache().fork(bases_[g].sequence, run.at);
      want(run, order_[i], run.at, run.end);
    }
  }
  finish();
}

void EvictedPathScorer::add_span(Run& run, int64_t room) {
  const int64_t next = next_kv_cut(policy_of(*run.path), run.at, run.prompt);
  const int64_t count = std::min({room, next - run.at, run.end - run.at});
  const KvCut cut = run.at + count < next ? KvCut::kNone : run.at < run.prompt ? KvCut::kPrompt : KvCut::kStep;
  spans_.push_back({run.sequence,
                    std::span(run.path->tokens).subspan(static_cast<size_t>(run.at), static_cast<size_t>(count)),
                    read_of(*run.path), false, cut});
  while (run.next_want < run.wants.size() && run.wants[run.next_want].row < run.at + count) {
    const int64_t row = run.wants[run.next_want].row;
    size_t end = run.next_want;
    while (end < run.wants.size() && run.wants[end].row == row) ++end;
    rows_.push_back({tokens_ + row - run.at, std::span(run.wants).subspan(run.next_want, end - run.next_want)});
    run.next_want = end;
  }
  run.at += count;
  tokens_ += count;
}

// Passes with at most one span of each run, in turns.
void EvictedPathScorer::run_all() {
  for (bool goes_on = true; goes_on;) {
    goes_on = false;
    const auto pass = [&] {
      if (spans_.empty()) return;
      check_interrupt();
      engine_.forward(spans_);
      read_scores(engine_, rows_);
      spans_.clear();
      rows_.clear();
      tokens_ = 0;
    };
    for (Run& run : runs_) {
      if (run.at == run.end) continue;
      if (tokens_ == engine_.pass_tokens()) pass();
      add_span(run, engine_.pass_tokens() - tokens_);
      goes_on = true;
    }
    pass();
  }
}

void EvictedPathScorer::close(std::vector<Run>& runs) {
  for (const Run& run : runs)
    if (run.sequence >= 0) engine_.cache().close(run.sequence);
  runs.clear();
}

}  // namespace

void score_evicted_paths(Engine& engine, std::span<const ScoredPath> paths,
                         std::vector<std::vector<TokenScore>>& scores) {
  EvictedPathScorer(engine, paths, scores).run();
}

}  // namespace ockham
