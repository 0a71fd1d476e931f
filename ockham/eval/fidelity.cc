// Divergences between models, and flips.
#include "ockham/eval/fidelity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/eval/data.h"

namespace ockham {
namespace {

constexpr int64_t kChunkFloats = int64_t{1} << 24;

// KL(p || q) of two rows of log-probabilities, in double; terms with p = 0 count nothing.
double row_divergence(const float* p, const float* q, int64_t vocabulary) {
  double sum = 0;
  for (int64_t v = 0; v < vocabulary; ++v) {
    const double log_p = p[v];
    const double weight = std::exp(log_p);
    if (weight > 0) sum += weight * (log_p - static_cast<double>(q[v]));
  }
  return std::max(0.0, sum);  // rounding may leave a little below zero
}

// All tokens by size, each with its window, so that a resample's quantile is one walk with the windows' weights.
struct SortedTokens {
  std::vector<float> kl;
  std::vector<int32_t> window;
};

SortedTokens sort_tokens(std::span<const WindowDivergence> windows) {
  std::vector<std::pair<float, int32_t>> all;
  for (size_t w = 0; w < windows.size(); ++w)
    for (const float value : windows[w].kl) all.emplace_back(value, static_cast<int32_t>(w));
  std::sort(all.begin(), all.end());
  SortedTokens sorted;
  for (const auto& [value, window] : all) {
    sorted.kl.push_back(value);
    sorted.window.push_back(window);
  }
  return sorted;
}

// The smallest value that at least `share` of the picked windows' tokens do not exceed.
double quantile(const SortedTokens& tokens, const std::vector<double>& weights, double total, double share) {
  double seen = 0;
  for (size_t i = 0; i < tokens.kl.size(); ++i) {
    seen += weights[static_cast<size_t>(tokens.window[i])];
    if (seen >= share * total) return tokens.kl[i];
  }
  return tokens.kl.back();
}

FidelityValue estimate(const Statistic& statistic, int64_t n, uint64_t seed) {
  std::vector<int32_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return {statistic(all), bootstrap_interval(statistic, n, kIntervalResamples, seed)};
}

}  // namespace

WindowDivergence divergence(LanguageModel& dense, LanguageModel& compressed, const Window& window) {
  const int64_t vocabulary = dense.info().vocabulary;
  if (compressed.info().vocabulary != vocabulary)
    throw_input("{} has a vocabulary of {}, {} one of {}: their distributions cannot be compared", dense.info().name,
                vocabulary, compressed.info().name, compressed.info().vocabulary);
  const std::unique_ptr<Distributions> before = dense.distributions(window.ids),
                                       after = compressed.distributions(window.ids);
  const int64_t positions = before->positions();
  OCKHAM_CHECK(after->positions() == positions && window.first_scored >= 1);
  const int64_t chunk = std::clamp<int64_t>(kChunkFloats / vocabulary, 1, positions);
  std::vector<float> p(static_cast<size_t>(chunk * vocabulary)), q(p.size());
  WindowDivergence result;
  for (int64_t first = window.first_scored - 1; first < positions; first += chunk) {
    const int64_t count = std::min(chunk, positions - first);
    before->read(first, count, p.data());
    after->read(first, count, q.data());
    for (int64_t i = 0; i < count; ++i) {
      const float* p_row = p.data() + i * vocabulary;
      const float* q_row = q.data() + i * vocabulary;
      const double kl = row_divergence(p_row, q_row, vocabulary);
      if (!std::isfinite(kl))
        throw_input(
            "{} against {}: a divergence is not finite; a model's weights overflow this type, try --dtype "
            "float32",
            compressed.info().name, dense.info().name);
      result.kl.push_back(static_cast<float>(kl));
      result.agreements +=
          std::max_element(p_row, p_row + vocabulary) - p_row == std::max_element(q_row, q_row + vocabulary) - q_row;
    }
    check_interrupt();
  }
  return result;
}

Fidelity combine_divergences(std::span<const WindowDivergence> windows, uint64_t seed) {
  Fidelity result;
  std::vector<double> sums, sizes, agreements;
  for (const WindowDivergence& window : windows) {
    sums.push_back(std::accumulate(window.kl.begin(), window.kl.end(), 0.0));
    sizes.push_back(static_cast<double>(window.kl.size()));
    agreements.push_back(static_cast<double>(window.agreements));
    result.tokens += static_cast<int64_t>(window.kl.size());
  }
  result.windows = static_cast<int64_t>(windows.size());
  OCKHAM_CHECK(result.tokens > 0);
  const SortedTokens tokens = sort_tokens(windows);
  const auto ratio = [&](const std::vector<double>& top) -> Statistic {
    return [&top, &sizes](const std::vector<int32_t>& picked) {
      double sum = 0, count = 0;
      for (const int32_t w : picked) {
        sum += top[static_cast<size_t>(w)];
        count += sizes[static_cast<size_t>(w)];
      }
      return count > 0 ? sum / count : 0;
    };
  };
  const auto share = [&](double wanted) -> Statistic {
    return [&tokens, &sizes, wanted](const std::vector<int32_t>& picked) {
      std::vector<double> weights(sizes.size());
      double total = 0;
      for (const int32_t w : picked) {
        weights[static_cast<size_t>(w)] += 1;
        total += sizes[static_cast<size_t>(w)];
      }
      return quantile(tokens, weights, total, wanted);
    };
  };
  result.kl_mean = estimate(ratio(sums), result.windows, seed);
  result.kl_median = estimate(share(0.5), result.windows, seed);
  result.kl_p99 = estimate(share(0.99), result.windows, seed);
  result.top1_agreement = estimate(ratio(agreements), result.windows, seed);
  return result;
}

Fidelity measure_fidelity(LanguageModel& dense, LanguageModel& compressed, const Task& task,
                          const EvalOptions& options) {
  std::string sha256;
  TextWindows text = read_windows(dense, task, options, sha256);
  if (const int64_t limit = item_limit(task, options); limit > 0) {
    if (text.documents.empty())
      text.windows.resize(std::min(text.windows.size(), static_cast<size_t>(limit)));
    else
      std::erase_if(text.windows, [&](const Window& w) { return static_cast<int64_t>(w.document) >= limit; });
  }
  std::vector<WindowDivergence> windows;
  for (const Window& window : text.windows) {
    if (window.ids.size() < 2) continue;
    windows.push_back(divergence(dense, compressed, window));
    report_progress({"divergence on " + task.name, static_cast<int64_t>(windows.size()),
                     static_cast<int64_t>(text.windows.size()), "windows"});
  }
  return combine_divergences(windows, hash_seed(task.name));
}

std::optional<Flips> count_flips(const std::vector<ItemResult>& dense, const std::vector<ItemResult>& compressed) {
  if (dense.size() != compressed.size())
    throw_input("{} items of the dense model and {} of the compressed one, expected the same ones", dense.size(),
                compressed.size());
  Flips flips;
  std::vector<double> lost, gained;
  for (size_t i = 0; i < dense.size(); ++i) {
    if (dense[i].id != compressed[i].id)
      throw_input("item '{}' of the dense model stands beside '{}' of the compressed one, expected the same items",
                  dense[i].id, compressed[i].id);
    const double before = dense[i].score, after = compressed[i].score;
    if ((before != 0 && before != 1) || (after != 0 && after != 1)) return std::nullopt;
    lost.push_back(before > after ? 1 : 0);
    gained.push_back(after > before ? 1 : 0);
    flips.lost += before > after;
    flips.gained += after > before;
  }
  flips.n = static_cast<int64_t>(dense.size());
  if (flips.n == 0) return std::nullopt;
  const auto mean_of = [](const std::vector<double>& values) -> Statistic {
    return [&values](const std::vector<int32_t>& picked) {
      double sum = 0;
      for (const int32_t i : picked) sum += values[static_cast<size_t>(i)];
      return picked.empty() ? 0 : sum / static_cast<double>(picked.size());
    };
  };
  flips.lost_share = bootstrap_interval(mean_of(lost), flips.n, kIntervalResamples, 1);
  flips.gained_share = bootstrap_interval(mean_of(gained), flips.n, kIntervalResamples, 2);
  return flips;
}

}  // namespace ockham
