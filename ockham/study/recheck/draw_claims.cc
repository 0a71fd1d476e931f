// Claims about the calibration sample, and about how pruned versions follow ordinary quality.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ockham/core/rng.h"
#include "ockham/report/format.h"
#include "ockham/study/recheck/evidence.h"

namespace ockham {
namespace {

constexpr int kResamples = 2000;

double spread(const std::vector<double>& draws) {
  return standard_deviation(draws);
}

// Geometric mean over columns of the ratio of two spreads, with a bootstrap over the draws of both.
struct Ratio {
  double value = 1, low = 0, high = 0;
  size_t columns = 0;
};
Ratio spread_ratio(const std::vector<std::pair<std::vector<double>, std::vector<double>>>& pairs) {
  const auto mean_log = [](const std::vector<std::pair<std::vector<double>, std::vector<double>>>& sets) {
    double sum = 0;
    // A floor of a hundredth of a point keeps equal draws from deciding everything.
    for (const auto& [first, second] : sets)
      sum += std::log(std::max(0.01, spread(first)) / std::max(0.01, spread(second)));
    return sum / static_cast<double>(sets.size());
  };
  Ratio ratio;
  ratio.columns = pairs.size();
  if (pairs.empty()) return ratio;
  ratio.value = std::exp(mean_log(pairs));
  Rng rng(29);
  std::vector<double> values;
  for (int run = 0; run < kResamples; ++run) {
    auto sets = pairs;
    for (auto& [first, second] : sets)
      for (std::vector<double>* draws : {&first, &second}) {
        const std::vector<double> all = *draws;
        for (double& value : *draws) value = rng.pick(all);
      }
    values.push_back(mean_log(sets));
  }
  std::sort(values.begin(), values.end());
  ratio.low = std::exp(values[kResamples / 40]);
  ratio.high = std::exp(values[kResamples - 1 - kResamples / 40]);
  return ratio;
}

Recheck calib_spread(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  const Rows wide = quantized_to(comparison, 8);
  if (wide.empty()) return result;
  result.table = {{"column", "bits", "draws", "standard deviation", "coefficient of variation"}};
  std::vector<std::pair<std::vector<double>, std::vector<double>>> pairs;
  size_t fewest = 1000;
  for (const Column& column : comparison.columns) {
    const ComparisonCell* eight = cell_of(comparison, *wide.front(), column.id);
    if (eight == nullptr) continue;
    for (const int64_t bits : {8, 4, 3, 2})
      for (const ComparisonRow* row : quantized_to(comparison, bits)) {
        const ComparisonCell* cell = cell_of(comparison, *row, column.id);
        if (cell == nullptr || cell->draws.size() < 3) continue;
        fewest = std::min(fewest, cell->draws.size());
        const double deviation = spread(cell->draws);
        result.table.push_back({column.title, std::to_string(bits), std::to_string(cell->draws.size()),
                                fmt::format("{:.2f}", deviation),
                                cell->score > 0 ? fmt::format("{:.1f} %", 100 * deviation / cell->score) : "–"});
        if (bits == 3) pairs.emplace_back(cell->draws, eight->draws);
      }
  }
  if (pairs.empty()) return result;
  const Ratio ratio = spread_ratio(pairs);
  result.ruling = ratio.low > 1 ? Ruling::kHolds : ratio.high < 1 ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format(
      "Over {} columns and {} draws the spread at 3 bits is {:.1f} times that at 8 bits ({:.1f} to "
      "{:.1f}).",
      ratio.columns, fewest, ratio.value, ratio.low, ratio.high);
  return result;
}

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<double> ranks;
  for (const double value : values)
    ranks.push_back(
        static_cast<double>(std::count_if(values.begin(), values.end(), [&](double other) { return other < value; })) +
        0.5 * static_cast<double>(std::count(values.begin(), values.end(), value) - 1));
  return ranks;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size()), mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

// Mean over the dimensions of the rank correlation with knowledge, over the versions of a family.
double agreement(const Comparison& comparison, const Rows& rows) {
  double sum = 0;
  int columns = 0;
  for (const Column& column : comparison.columns) {
    if (column.group != ColumnGroup::kTrust) continue;
    std::vector<double> knowledge, trust;
    for (const ComparisonRow* row : rows) {
      const ComparisonCell* cell = cell_of(comparison, *row, column.id);
      if (cell == nullptr || !row->knowledge_mean) continue;
      knowledge.push_back(*row->knowledge_mean);
      trust.push_back(cell->score);
    }
    if (knowledge.size() < 4) continue;
    sum += correlation(ranks_of(knowledge), ranks_of(trust));
    ++columns;
  }
  return columns > 0 ? sum / columns : 0;
}

// Is trust less tied to ordinary quality over pruned versions than over quantized ones? Interval by jackknife over the
// versions of both families.
Recheck prune_variance(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  const Rows pruned = versions_where(comparison,
                                     [](const ComparisonRow&row) { return row.family == MethodFamily::kPruning; }),
             quantized = versions_where(
                 comparison, [](const ComparisonRow&row) { return row.family == MethodFamily::kQuantization; });
  if (pruned.size() < 5 || quantized.size() < 5) return result;
  const auto jackknife = [&](const Rows& rows) {
    Estimate estimate{agreement(comparison, rows), 0};
    const double n = static_cast<double>(rows.size());
    std::vector<double> left_out;
    for (size_t i = 0; i < rows.size(); ++i) {
      Rows others = rows;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      left_out.push_back(agreement(comparison, others));
    }
    const double mean = std::accumulate(left_out.begin(), left_out.end(), 0.0) / n;
    for (const double value : left_out) estimate.error += (value - mean) * (value - mean);
    estimate.error = std::sqrt(estimate.error * (n - 1) / n);
    return estimate;
  };
  const Estimate first = jackknife(quantized), second = jackknife(pruned), ahead = difference(first, second);
  result.table = {
      {"family", "versions", "mean rank correlation of the dimensions with knowledge"},
      {"quantized", std::to_string(quantized.size()), fmt::format("{:.2f} ± {:.2f}", first.value, first.error)},
      {"pruned", std::to_string(pruned.size()), fmt::format("{:.2f} ± {:.2f}", second.value, second.error)}};
  result.ruling = ruling_of(ahead);
  result.evidence = fmt::format(
      "Trust follows knowledge with rank correlation {:.2f} over quantized and {:.2f} over pruned "
      "versions (difference {:.2f} ± {:.2f}).",
      first.value, second.value, ahead.value, ahead.error);
  return result;
}

// More calibration text helps at high sparsity more than at half.
Recheck calib_count(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"sparsity", "perplexity with 4 sequences", "with 64 sequences", "gain in log perplexity"}};
  double gains[2] = {0, 0}, noise[2] = {0, 0};
  int found = 0;
  for (int i = 0; i < 2; ++i) {
    const double sparsity = i == 0 ? 0.5 : 0.7;
    const ComparisonRow *few = nullptr, *many = nullptr;
    for (const ComparisonRow* row : pruned_to(comparison, sparsity, false)) {
      if (row->recipe.ends_with("-few")) few = row;
      if (row->recipe.ends_with("-many")) many = row;
    }
    if (few == nullptr || many == nullptr || few->perplexity <= 0 || many->perplexity <= 0) continue;
    ++found;
    gains[i] = std::log(few->perplexity / many->perplexity);
    // The range over draws as an error: half of it on each side.
    for (const ComparisonRow* row : {few, many})
      noise[i] += std::pow(std::log(row->perplexity_high / row->perplexity_low) / 2, 2);
    result.table.push_back({percent(sparsity), fmt::format("{:.4g}", few->perplexity),
                            fmt::format("{:.4g}", many->perplexity),
                            fmt::format("{:.3f} ± {:.3f}", gains[i], std::sqrt(noise[i]))});
  }
  if (found < 2) return result;
  const Estimate ahead{gains[1] - gains[0], std::sqrt(noise[0] + noise[1])};
  result.ruling = ruling_of(ahead);
  result.evidence = fmt::format(
      "Sixteen times the calibration text lowers log perplexity by {:.3f} at 50 % and by {:.3f} at "
      "70 %.",
      gains[0], gains[1]);
  return result;
}

std::vector<VersionSpec> gptq_widths(const RecheckSettings&) {
  std::vector<VersionSpec> versions;
  for (const int bits : {8, 4, 3, 2})
    versions.push_back({fmt::format("gptq-{}", bits), "gptq",
                        fmt::format("{{bits: {}, group_size: 128, act_order: true, static_groups: true}}", bits)});
  return versions;
}

}  // namespace

std::vector<Claim> draw_claims() {
  return {
      {"calib-count",
       "More calibration text helps most at high sparsity",
       "Yin et al. 2024, AAAI tutorial on sparsity",
       "gain in log perplexity from 4 to 64 sequences, 70 against 50 %",
       "absolute and relative gains can disagree",
       false,
       3,
       [](const RecheckSettings&) {
         return std::vector<VersionSpec>{{"sparsegpt-50-few", "sparsegpt", "{sparsity: 0.5}"},
                                         {"sparsegpt-50-many", "sparsegpt", "{sparsity: 0.5}"},
                                         {"sparsegpt-70-few", "sparsegpt", "{sparsity: 0.7}"},
                                         {"sparsegpt-70-many", "sparsegpt", "{sparsity: 0.7}"}};
       },
       {"factworld/perplexity", "factworld/closed-book"},
       calib_count,
       false},
      {"calib-spread", "Below eight bits the calibration sample matters", kTrustPaper,
       "ratio of the spreads over draws, 3 against 8 bits, with its interval",
       "see the coefficient of variation beside it", false, 16, gptq_widths, all_tasks(), calib_spread, false},
      {"prune-variance", "Pruned models do not follow benign quality as quantized ones do", kTrustPaper,
       "rank correlation of the dimensions with knowledge, over pruned and over quantized versions",
       "few versions give wide intervals", false, 1,
       [](const RecheckSettings&) {
         std::vector<VersionSpec> versions = named_recipes(
             {"magnitude-30", "magnitude-50", "magnitude-70", "wanda-30", "wanda-50", "wanda-70", "sparsegpt-30",
              "sparsegpt-50", "sparsegpt-70", "wanda-2-4", "rtn-8", "rtn-4", "rtn-3", "rtn-2"});
         for (VersionSpec& version : gptq_widths({})) versions.push_back(std::move(version));
         return versions;
       },
       all_tasks(), prune_variance, false},
  };
}

}  // namespace ockham
