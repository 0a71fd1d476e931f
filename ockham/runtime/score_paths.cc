// Paths are sorted, so the one before shares the longest prefix with each. A path branches off an earlier one, its
// parent, where that prefix ends, and computes the rest; paths at the same depth below their first ancestor go through
// the engine together.
#include "ockham/runtime/score_paths.h"

#include <algorithm>
#include <compare>
#include <numeric>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/runtime/wanted_scores.h"

namespace ockham {
namespace {

constexpr int64_t kNone = -1;

// A path as part of the tree.
struct Branch {
  const ScoredPath* path = nullptr;
  int64_t read = 0;   // tokens that are computed for it at all: all but the last
  int64_t first = 0;  // of these its own ones begin here
  int64_t parent = kNone;
  int64_t depth = 0;
  int32_t sequence = -1;
  std::vector<WantedScore> wants;  // by row

  bool has_own() const { return first < read; }
};

int64_t common_tokens(const ScoredPath& a, const ScoredPath& b) {
  const auto most = static_cast<std::ptrdiff_t>(std::min(a.tokens.size(), b.tokens.size())) - 1;
  return std::mismatch(a.tokens.begin(), a.tokens.begin() + most, b.tokens.begin()).first - a.tokens.begin();
}

// Enough to fill most passes of a window; pages that were just closed are in the processor's caches, and fresh ones
// have to be cleared by the system first.
constexpr int64_t kPassesOfWindow = 48;

class PathScorer {
 public:
  PathScorer(Engine& engine, std::span<const ScoredPath> paths, std::vector<std::vector<TokenScore>>& scores)
      : engine_(engine), paths_(paths), scores_(scores) {}
  ~PathScorer() { release(kNone); }
  PathScorer(const PathScorer&) = delete;
  PathScorer& operator=(const PathScorer&) = delete;

  void run() {
    sort();
    for (size_t begin = 0; begin < order_.size();) begin = run_window(begin);
  }

 private:
  // Rotations of the two kinds are no common prefix.
  bool is_long(const ScoredPath& path) const {
    const RopeConfig& rope = engine_.config().rope;
    return rope.depends_on_length() && engine_.config().has_rope &&
           static_cast<int64_t>(path.tokens.size()) - 1 > rope.original_max_position_embeddings;
  }
  void sort();
  size_t run_window(size_t begin);
  size_t grow(size_t begin);
  void add_branch(size_t index, int64_t shared);
  bool add_wants(size_t branch, std::vector<TokenScore>& scores);
  void run_depth(int64_t depth);
  void run_pass();
  void release(int64_t kept);
  int64_t holder(int64_t branch) const {
    while (!branches_[static_cast<size_t>(branch)].has_own()) branch = branches_[static_cast<size_t>(branch)].parent;
    return branch;
  }

  Engine& engine_;
  std::span<const ScoredPath> paths_;
  std::vector<std::vector<TokenScore>>& scores_;
  std::vector<size_t> order_;
  std::vector<Branch> branches_;  // of the window; the first may be the last one of the window before
  std::vector<int64_t> chain_;    // the ancestors of the branch that was added last, and itself
  bool has_base_ = false;
  // The pass: spans, and the rows of which scores are wanted.
  std::vector<TokenSpan> spans_;
  std::vector<WantedRow> rows_;
  int64_t tokens_ = 0;
};

void PathScorer::sort() {
  order_.resize(paths_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
    const ScoredPath &x = paths_[a], &y = paths_[b];
    if (is_long(x) != is_long(y)) return is_long(y);
    const auto compared = std::lexicographical_compare_three_way(x.tokens.begin(), x.tokens.end() - 1, y.tokens.begin(),
                                                                 y.tokens.end() - 1);
    return std::is_lt(compared) || (std::is_eq(compared) && a < b);
  });
}

void PathScorer::add_branch(size_t index, int64_t shared) {
  Branch branch;
  branch.path = &paths_[index];
  branch.read = static_cast<int64_t>(branch.path->tokens.size()) - 1;
  while (!chain_.empty() && branches_[static_cast<size_t>(chain_.back())].first >= shared) chain_.pop_back();
  if (shared > 0 && !chain_.empty()) {
    branch.parent = chain_.back();
    branch.first = shared;
    // What is wanted of the window before is not there any more.
    if (has_base_ && branch.parent == 0)
      branch.first = engine_.cache().shareable(std::min(shared, branch.path->first_target - 1));
    branch.depth = branches_[static_cast<size_t>(branch.parent)].depth + 1;
  }
  branches_.push_back(std::move(branch));
  if (branches_.back().has_own()) chain_.push_back(static_cast<int64_t>(branches_.size()) - 1);
}

// False where a score would have to be read off what the window before has computed.
bool PathScorer::add_wants(size_t branch, std::vector<TokenScore>& scores) {
  const ScoredPath& path = *branches_[branch].path;
  scores.resize(path.tokens.size() - static_cast<size_t>(path.first_target));
  if (path.likely != nullptr) path.likely->resize(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t row = path.first_target - 1 + static_cast<int64_t>(i);
    size_t owner = branch;
    while (row < branches_[owner].first) owner = static_cast<size_t>(branches_[owner].parent);
    if (has_base_ && owner == 0) return false;
    branches_[owner].wants.push_back({row, path.tokens[static_cast<size_t>(row) + 1], &scores[i],
                                      path.likely == nullptr ? nullptr : &(*path.likely)[i], path.likely_count});
  }
  return true;
}

// Adds as many paths as the cache holds; returns the first that it does not.
size_t PathScorer::grow(size_t begin) {
  PagedCache& cache = engine_.cache();
  const int64_t free = std::min(cache.free_pages(), cache.needed_pages(kPassesOfWindow * engine_.pass_tokens()));
  int64_t claimed = 0;
  size_t end = begin;
  for (; end < order_.size(); ++end) {
    const ScoredPath& path = paths_[order_[end]];
    const bool is_related = !branches_.empty() && is_long(path) == is_long(*branches_.back().path);
    const int64_t shared = is_related ? cache.shareable(common_tokens(*branches_.back().path, path)) : 0;
    const auto read = static_cast<int64_t>(path.tokens.size()) - 1;
    // A base gives nothing behind the first token that is wanted.
    const int64_t certain = has_base_ ? std::min(shared, path.first_target - 1) : shared;
    claimed += cache.needed_pages(read, certain);
    if (claimed > free && end > begin) break;
    add_branch(order_[end], shared);
    if (!add_wants(branches_.size() - 1, scores_[order_[end]])) {
      release(kNone);
      return grow(begin);
    }
  }
  return end;
}

size_t PathScorer::run_window(size_t begin) {
  const size_t end = grow(begin);
  int64_t deepest = 0;
  for (const Branch& branch : branches_) deepest = std::max(deepest, branch.depth);
  for (Branch& branch : branches_)
    std::stable_sort(branch.wants.begin(), branch.wants.end(),
                     [](const WantedScore& a, const WantedScore& b) { return a.row < b.row; });
  for (int64_t depth = 0; depth <= deepest; ++depth) run_depth(depth);
  release(end < order_.size() ? holder(static_cast<int64_t>(branches_.size()) - 1) : kNone);
  return end;
}

void PathScorer::run_depth(int64_t depth) {
  PagedCache& cache = engine_.cache();
  const int64_t most = engine_.pass_tokens();
  for (Branch& branch : branches_) {
    if (branch.depth != depth || !branch.has_own() || branch.sequence >= 0) continue;
    branch.sequence = branch.parent == kNone
                          ? cache.open()
                          : cache.fork(branches_[static_cast<size_t>(holder(branch.parent))].sequence, branch.first);
    auto want = branch.wants.begin();
    for (int64_t at = branch.first; at < branch.read;) {
      const int64_t count = std::min(branch.read - at, most - tokens_);
      spans_.push_back({branch.sequence,
                        std::span(branch.path->tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
                        branch.read});
      while (want != branch.wants.end() && want->row < at + count) {
        const auto last =
            std::find_if(want, branch.wants.end(), [&](const WantedScore& next) { return next.row != want->row; });
        rows_.push_back({tokens_ + want->row - at, {want, last}});
        want = last;
      }
      at += count;
      tokens_ += count;
      if (tokens_ == most) run_pass();
    }
  }
  run_pass();
}

void PathScorer::run_pass() {
  if (spans_.empty()) return;
  check_interrupt();
  engine_.forward(spans_);
  read_scores(engine_, rows_);
  spans_.clear();
  rows_.clear();
  tokens_ = 0;
}

// Closes all sequences but the one that the next window begins with.
void PathScorer::release(int64_t kept) {
  for (size_t i = 0; i < branches_.size(); ++i) {
    if (branches_[i].sequence >= 0 && static_cast<int64_t>(i) != kept) engine_.cache().close(branches_[i].sequence);
  }
  chain_.clear();
  has_base_ = kept != kNone;
  if (!has_base_) return branches_.clear();
  Branch base = std::move(branches_[static_cast<size_t>(kept)]);
  base.wants.clear();
  base.parent = kNone;
  base.depth = base.first = 0;
  branches_.clear();
  branches_.push_back(std::move(base));
  chain_.push_back(0);
}

}  // namespace

std::vector<std::vector<TokenScore>> score_paths(Engine& engine, std::span<const ScoredPath> paths) {
  const int64_t vocabulary = engine.config().vocabulary;
  for (const ScoredPath& path : paths) {
    OCKHAM_CHECK(path.first_target >= 1 && path.first_target <= static_cast<int64_t>(path.tokens.size()) &&
                 path.tokens.size() > 1);
    for (const int32_t id : path.tokens)
      if (id < 0 || id >= vocabulary)
        throw_input("a token id is {}, the model's vocabulary has {}; it belongs to another tokenizer", id, vocabulary);
  }
  std::vector<std::vector<TokenScore>> scores(paths.size());
  if (engine.kv().evicts()) {
    score_evicted_paths(engine, paths, scores);
  } else {
    PathScorer(engine, paths, scores).run();
  }
  return scores;
}

}  // namespace ockham
