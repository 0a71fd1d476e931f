// Claims about what a mean hides: demonstrations, subjects that suffer unevenly, layer errors that do not order models.
#include <algorithm>
#include <cmath>

#include "ockham/report/format.h"
#include "ockham/study/recheck/evidence.h"

namespace ockham {
namespace {

// What demonstrations add to a version, beyond what they add to the dense model, at 70 against 50 % zeros.
Recheck fewshot(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"version", "without demonstrations", "with", "gain beyond dense"}};
  std::vector<Estimate> gains[2];
  for (int i = 0; i < 2; ++i) {
    for (const ComparisonRow* row : pruned_to(comparison, i == 0 ? 0.5 : 0.7, false)) {
      const ComparisonCell *with = cell_of(comparison, *row, "few_shot"),
                           *without = cell_of(comparison, *row, "zero_shot");
      if (with == nullptr || without == nullptr) continue;
      gains[i].push_back(difference(change_of(*with), change_of(*without)));
      result.table.push_back(
          {row->label(), shown(change_of(*without)), shown(change_of(*with)), shown(gains[i].back())});
    }
  }
  if (gains[0].empty() || gains[1].empty()) return result;
  const Estimate ahead = difference(mean_of(gains[1]), mean_of(gains[0]));
  result.ruling = ruling_of(ahead);
  result.evidence = fmt::format(
      "Demonstrations change the versions with 70 % zeros by {} points more than those with 50 %, each beyond what "
      "they "
      "change in the dense model.",
      shown(ahead));
  return result;
}

// Cochran's Q over the parts of each knowledge task.
Recheck subject_gap(const Comparison& comparison, const RecheckSettings& settings) {
  Recheck result;
  const double margin = settings.margin > 0 ? settings.margin : comparison.study.margin;
  result.table = {{"version", "task", "least change", "most", "p of evenness (Holm)"}};
  struct Tested {
    const ComparisonRow* row;
    const Column* column;
    const PartChange *least, *most;
    double p_value;
  };
  std::vector<Tested> tested;
  bool all_even = true;
  for (const ComparisonRow* row : versions_where(comparison, [](const ComparisonRow&) { return true; })) {
    for (const Column& column : comparison.columns) {
      const ComparisonCell* cell = cell_of(comparison, *row, column.id);
      if (cell == nullptr || cell->parts.size() < 2) continue;
      double sum = 0, weights = 0, misfit = 0;
      for (const PartChange& part : cell->parts) {
        const double weight = 1 / std::max(1e-6, part.error * part.error);
        sum += weight * part.value;
        weights += weight;
      }
      for (const PartChange& part : cell->parts) {
        const double error = std::max(1e-3, part.error), distance = part.value - sum / weights;
        misfit += distance * distance / (error * error);
        all_even = all_even && std::abs(distance) + 1.645 * part.error < margin;
      }
      const auto [least, most] =
          std::minmax_element(cell->parts.begin(), cell->parts.end(),
                              [](const PartChange& a, const PartChange& b) { return a.value > b.value; });
      tested.push_back(
          {row, &column, &*least, &*most, chi_square_tail(misfit, static_cast<double>(cell->parts.size() - 1))});
    }
  }
  if (tested.empty()) return result;
  std::vector<double> p_values;
  for (const Tested& one : tested) p_values.push_back(one.p_value);
  const std::vector<double> adjusted = holm(p_values);
  std::vector<std::string> uneven;
  for (size_t i = 0; i < tested.size(); ++i) {
    const Tested& one = tested[i];
    const auto text = [](const PartChange& part) { return part.part + " " + signed_points(part.value); };
    result.table.push_back(
        {one.row->label(), one.column->title, text(*one.least), text(*one.most), p_text(adjusted[i])});
    if (adjusted[i] < 0.05) uneven.push_back(one.row->label() + " " + one.column->title);
  }
  result.ruling = !uneven.empty() ? Ruling::kHolds : all_even ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = uneven.empty()
                        ? fmt::format("In none of {} cases are the parts shown to change differently.", tested.size())
                        : fmt::format("Parts change differently in {} of {} cases: {}.", uneven.size(), tested.size(),
                                      listed(uneven));
  return result;
}

// A pair of versions whose perplexities differ beyond the noise of the text. It is discordant where the version with
// the smaller layer error is the worse one.
struct Pair {
  size_t first, second;
  bool is_discordant;
};

std::vector<Pair> decided_pairs(const Rows& rows) {
  std::vector<Pair> pairs;
  std::vector<double> p_values;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = i + 1; j < rows.size(); ++j) {
      std::vector<double> differences;
      for (size_t k = 0; k < rows[i]->perplexity_items.size(); ++k)
        differences.push_back(rows[i]->perplexity_items[k] - rows[j]->perplexity_items[k]);
      const double n = static_cast<double>(differences.size()), nats = mean(differences),
                   error = standard_deviation(differences) / std::sqrt(n),
                   layers = rows[i]->layer_error - rows[j]->layer_error;
      if (!(error > 0) || layers == 0) continue;
      pairs.push_back({i, j, (nats > 0) != (layers > 0)});
      p_values.push_back(student_tail(nats / error, n - 1));
    }
  const std::vector<double> adjusted = holm(p_values);
  std::vector<Pair> decided;
  for (size_t i = 0; i < pairs.size(); ++i)
    if (adjusted[i] < 0.05) decided.push_back(pairs[i]);
  return decided;
}

// Share of discordant pairs, without one version (rows.size(): with all).
double discordant_share(const std::vector<Pair>& pairs, size_t left_out) {
  double discordant = 0, all = 0;
  for (const Pair& pair : pairs) {
    if (pair.first == left_out || pair.second == left_out) continue;
    discordant += pair.is_discordant;
    ++all;
  }
  return all > 0 ? discordant / all : 0;
}

// " (3 of them searched)", or "" where all are random.
std::string searched_text(const Rows& rows) {
  const auto searched = std::count_if(rows.begin(), rows.end(),
                                      [](const ComparisonRow* row) { return row->recipe.starts_with("searched-"); });
  return searched == 0 ? "" : fmt::format(" ({} of them searched)", searched);
}

Recheck monotone_error(const Comparison& comparison, const RecheckSettings&) {
  constexpr double kFew = 0.05;
  constexpr size_t kFewestVersions = 8, kFewestPairs = 60;  // none of them discordant bounds the share by 5 %
  Recheck result;
  Rows rows = versions_where(comparison, [](const ComparisonRow& row) {
    return (row.recipe.starts_with("random-") || row.recipe.starts_with("searched-")) && row.layer_error > 0 &&
           row.perplexity_items.size() > 2;
  });
  std::erase_if(rows, [&](const ComparisonRow* row) {
    return row->perplexity_items.size() != rows.front()->perplexity_items.size();
  });
  if (rows.size() < kFewestVersions) return result;
  std::sort(rows.begin(), rows.end(),
            [](const ComparisonRow* a, const ComparisonRow* b) { return a->layer_error < b->layer_error; });
  result.table = {{"allocation", "mean layer error", "perplexity"}};
  for (const ComparisonRow* row : rows)
    result.table.push_back(
        {row->label(), fmt::format("{:.4f}", row->layer_error), fmt::format("{:.4g}", row->perplexity)});
  const std::vector<Pair> pairs = decided_pairs(rows);
  const size_t possible = rows.size() * (rows.size() - 1) / 2;
  if (pairs.size() < kFewestPairs) {
    result.evidence = fmt::format("Only {} of {} pairs of allocations differ in perplexity beyond the noise.",
                                  pairs.size(), possible);
    return result;
  }
  // Pairs share versions, so the error comes from leaving out one version at a time.
  Estimate share{discordant_share(pairs, rows.size()), 0};
  std::vector<double> left_out;
  for (size_t i = 0; i < rows.size(); ++i) left_out.push_back(discordant_share(pairs, i));
  const double n = static_cast<double>(rows.size());
  share.error = standard_deviation(left_out) * (n - 1) / std::sqrt(n);
  result.ruling = share.low() > kFew ? Ruling::kHolds : share.high() < kFew ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format(
      "Of {} pairs of {} allocations{} {} differ in perplexity beyond the noise; in {} ({} to {}) of them the one "
      "with the smaller layer error is the worse one (Kendall's tau {:.2f}).",
      possible, rows.size(), searched_text(rows), pairs.size(), percent(share.value),
      percent(std::max(0.0, share.low())), percent(std::min(1.0, share.high())), 1 - 2 * share.value);
  return result;
}

std::vector<VersionSpec> random_allocations(const RecheckSettings& settings) {
  std::vector<VersionSpec> versions;
  for (int seed = 0; seed < 24; ++seed)
    versions.push_back(
        {fmt::format("random-{}", seed), "random", fmt::format("{{mean: 0.5, spread: 0.3, seed: {}}}", seed)});
  for (size_t i = 0; i < settings.searched.size(); ++i)
    versions.push_back({fmt::format("searched-{}", i), "\"" + settings.searched[i] + "\"", ""});
  return versions;
}

}  // namespace

std::vector<Claim> structure_claims() {
  return {
      {"fewshot",
       "Demonstrations help most at high sparsity",
       "Jaiswal et al. 2024, AAAI tutorial on sparsity",
       "gain from four demonstrations beyond the dense model's, 70 against 50 % zeros",
       "at chance nothing helps; look at the scores too",
       false,
       3,
       [](const RecheckSettings&) {
         return named_recipes({"wanda-50", "wanda-70", "sparsegpt-50", "sparsegpt-70"});
       },
       {"factworld/perplexity", "fewshot/zero", "fewshot/four"},
       fewshot},
      {"monotone-error", "The sum of layer errors does not order models", "Sieberling et al. 2025, EvoPress",
       "share of discordant pairs of random (and searched) allocations among those whose perplexities differ, against "
       "5 %",
       "errors of the weights, not of the layers' outputs", false, 1, random_allocations,
       std::vector<std::string>{"factworld/perplexity"}, monotone_error, false},
      {"subject-gap", "Subjects suffer unevenly from compression", "Jaiswal et al. 2024, LLM-KICK",
       "heterogeneity of the parts' changes (Cochran's Q, Holm); fails where every part is within the margin of the "
       "mean",
       "FactWorld's parts are how often a fact was told", false, 3,
       [](const RecheckSettings&) {
         return named_recipes({"wanda-50", "wanda-2-4", "gptq-3", "rtn-3"});
       },
       knowledge_tasks(), subject_gap},
  };
}

}  // namespace ockham
