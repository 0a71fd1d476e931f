// The statistic behind every difference in a report.
#include "ockham/eval/paired.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"

namespace ockham {
namespace {

using Items = std::vector<ItemResult>;

std::vector<int32_t> everything(size_t n) {
  std::vector<int32_t> all(n);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

struct Side {
  std::vector<std::vector<Statistic>> tasks;  // [scenario][draw]

  double score(const std::vector<std::vector<int32_t>>& picks) const {
    double total = 0;
    for (size_t t = 0; t < tasks.size(); ++t) {
      double sum = 0;
      for (const Statistic& statistic : tasks[t]) sum += statistic(picks[t]);
      total += sum / static_cast<double>(tasks[t].size());
    }
    return total / static_cast<double>(tasks.size());
  }
};

// What n items that all agree leave open at a one-sided level alpha: a share of 1 - alpha^(1/n), in points.
void widen_to_unseen(Difference& difference) {
  const auto widen = [&](Interval& interval, double alpha) {
    const double share = 100 * (1 - std::pow(alpha, 1 / static_cast<double>(difference.n)));
    interval.low = std::min(interval.low, difference.value - share);
    interval.high = std::max(interval.high, difference.value + share);
  };
  widen(difference.interval, 0.025);
  widen(difference.interval90, 0.05);
}

// Exact McNemar over the items of all scenarios, where every score is right or wrong and each side has one draw.
double mcnemar_of(const std::vector<PairedTask>& tasks) {
  int64_t only_first = 0, only_second = 0;
  for (const PairedTask& task : tasks) {
    if (task.first.size() != 1 || task.second.size() != 1) return -1;
    for (size_t i = 0; i < task.first[0].size(); ++i) {
      const double a = task.first[0][i].score, b = task.second[0][i].score;
      if ((a != 0 && a != 1) || (b != 0 && b != 1)) return -1;
      only_first += a > b;
      only_second += b > a;
    }
  }
  return mcnemar_exact(only_first, only_second);
}

// statistics.h draws one list of picks from all items; scenarios need one each. A single scenario takes it as it is,
// several draw their own from a seed that the list gives, so that both sides still see the same items. The full sample
// stays full.
std::vector<std::vector<int32_t>> split(const std::vector<int32_t>& picked, const std::vector<size_t>& sizes) {
  if (sizes.size() == 1) return {picked};
  bool is_full = true;
  uint64_t seed = 0;
  for (size_t i = 0; i < picked.size(); ++i) {
    is_full = is_full && picked[i] == static_cast<int32_t>(i);
    seed = mix_seed(seed, static_cast<uint64_t>(picked[i]));
  }
  std::vector<std::vector<int32_t>> result;
  Rng rng(seed);
  for (size_t size : sizes) {
    result.push_back(everything(size));
    if (is_full) continue;
    for (int32_t& index : result.back()) index = static_cast<int32_t>(rng.below(size));
  }
  return result;
}

}  // namespace

double standard_error(const Difference& difference) {
  return difference.smallest_effect / 2.8;
}

void align(PairedTask& task) {
  std::vector<Items*> lists;
  for (Items& items : task.first) lists.push_back(&items);
  for (Items& items : task.second) lists.push_back(&items);
  std::vector<std::string> common;
  for (size_t i = 0; i < lists.size(); ++i) {
    std::sort(lists[i]->begin(), lists[i]->end(), [](const ItemResult& a, const ItemResult& b) { return a.id < b.id; });
    std::vector<std::string> ids, both;
    for (const ItemResult& item : *lists[i]) ids.push_back(item.id);
    if (i == 0) {
      common = ids;
    } else {
      std::set_intersection(common.begin(), common.end(), ids.begin(), ids.end(), std::back_inserter(both));
      common = both;
    }
  }
  for (Items* items : lists)
    std::erase_if(*items,
                  [&](const ItemResult& item) { return !std::binary_search(common.begin(), common.end(), item.id); });
}

double noise_floor(double value, const std::vector<double>& noisy) {
  double sum = 0;
  for (const double other : noisy) sum += (other - value) * (other - value);
  return noisy.empty() ? 0 : std::sqrt(sum / static_cast<double>(noisy.size()));
}

std::string in_noise_units(double change, double floor) {
  if (!(floor > 0)) return "–";
  return fmt::format("{:.1f}", std::abs(change) / floor);
}

Difference paired_change(const std::vector<PairedTask>& tasks, int64_t resamples, uint64_t seed,
                         const ScoreStatistic& statistic) {
  Side first, second;
  std::vector<size_t> sizes;
  for (const PairedTask& task : tasks) {
    OCKHAM_CHECK(!task.first.empty() && !task.second.empty() && !task.first[0].empty());
    sizes.push_back(task.first[0].size());
    for (Side* side : {&first, &second}) {
      side->tasks.emplace_back();
      for (const Items& items : side == &first ? task.first : task.second)
        side->tasks.back().push_back(statistic(*task.task, items));
    }
  }
  const auto n = static_cast<int64_t>(std::accumulate(sizes.begin(), sizes.end(), size_t{0}));
  const auto score_of_side = [&](const Side& side) {
    return [&side, &sizes](const std::vector<int32_t>& picked) { return side.score(split(picked, sizes)); };
  };
  Difference result = paired_difference(score_of_side(second), score_of_side(first), n, resamples, seed);
  const double error = standard_error(result);
  if (error > 0) {
    result.p_value = std::erfc(std::abs(result.value) / error / std::sqrt(2.0));
  } else {
    // Every resample agrees: either nothing changed, or every item moved alike (a sign test's probability).
    result.p_value = result.value == 0 ? 1 : std::pow(2.0, 1 - static_cast<double>(std::min<int64_t>(n, 1000)));
  }
  if (tasks[0].task->kind != RequestKind::kPerplexity) widen_to_unseen(result);
  result.mcnemar_p = mcnemar_of(tasks);
  return result;
}

}  // namespace ockham
