// Claims about the number of bits.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ockham/core/rng.h"
#include "ockham/report/format.h"
#include "ockham/study/recheck/evidence.h"

namespace ockham {
namespace {

std::vector<VersionSpec> width(int64_t bits) {
  return {{fmt::format("rtn-{}-g128", bits), "rtn", fmt::format("{{bits: {}, group_size: 128}}", bits)},
          {fmt::format("gptq-{}", bits), "gptq",
           fmt::format("{{bits: {}, group_size: 128, act_order: true, static_groups: true}}", bits)}};
}
std::vector<VersionSpec> widths(const std::vector<int64_t>& bits) {
  std::vector<VersionSpec> all;
  for (const int64_t b : bits)
    for (VersionSpec& version : width(b)) all.push_back(std::move(version));
  return all;
}

double margin_of(const Comparison& comparison, const RecheckSettings& settings) {
  return settings.margin > 0 ? settings.margin : comparison.study.margin;
}

// Two one-sided tests in every dimension of every version.
Recheck four_bit(const Comparison& comparison, const RecheckSettings& settings) {
  Recheck result;
  const double margin = margin_of(comparison, settings);
  bool all_inside = true;
  std::vector<std::string> lost, open;
  result.table = {{"version", "dimension", "change", "90 % interval", "within the margin"}};
  for (const ComparisonRow* row : quantized_to(comparison, settings.bits)) {
    for (const ColumnCell& cell : trust_cells(comparison, *row)) {
      const Interval& interval = cell.cell->change.interval90;
      const bool inside = interval.low > -margin && interval.high < margin;
      all_inside = all_inside && inside;
      if (cell.cell->change.value < -margin && is_shown(*cell.cell))
        lost.push_back(named(*row, cell));
      else if (!inside)
        open.push_back(named(*row, cell));
      result.table.push_back({row->label(), cell.column->title, signed_points(cell.cell->change.value),
                              signed_points(interval.low) + " to " + signed_points(interval.high),
                              inside ? "yes" : "not shown"});
    }
  }
  if (result.table.size() == 1) return result;
  result.ruling = !lost.empty() ? Ruling::kFails : all_inside ? Ruling::kHolds : Ruling::kCannotTell;
  result.evidence = !lost.empty() ? fmt::format("Lost more than {} points: {}.", points(margin), listed(lost))
                    : all_inside  ? fmt::format("Every dimension is shown to stay within {} points.", points(margin))
                                 : fmt::format("Not shown to stay within {} points: {}.", points(margin), listed(open));
  return result;
}

// Does a dimension lose more than 5 points at 3 bits or fewer that it has not lost at 4?
Recheck extreme(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"version", "dimensions lost by more than 5 points", "of"}};
  size_t broken = 0, safe = 0, rows = 0;
  for (const int64_t bits : {3, 2}) {
    for (const ComparisonRow* row : quantized_to(comparison, bits)) {
      std::vector<std::string> lost;
      bool is_safe = true;
      const auto cells = trust_cells(comparison, *row);
      for (const ColumnCell& cell : cells) {
        if (cell.cell->change.value < -5 && is_shown(*cell.cell)) lost.push_back(cell.column->title);
        is_safe = is_safe && cell.cell->change.interval90.low > -5;
      }
      ++rows;
      broken += !lost.empty();
      safe += is_safe;
      result.table.push_back({row->label(), lost.empty() ? "–" : joined(lost), std::to_string(cells.size())});
    }
  }
  if (rows == 0) return result;
  result.ruling = broken == rows ? Ruling::kHolds : safe == rows ? Ruling::kFails : Ruling::kCannotTell;
  result.evidence = fmt::format(
      "{} of {} versions with 3 or 2 bits lose a dimension by more than 5 points; {} are shown "
      "to lose none.",
      broken, rows, safe);
  return result;
}

Recheck moderate_bits(const Comparison& comparison, const RecheckSettings& settings) {
  Recheck result;
  result.table = {{"version", "dimension", "change", "p (Holm)"}};
  std::vector<std::string> gains;
  bool could_gain = false;
  for (const int64_t bits : {8, 6, 5, 4}) {
    for (const ComparisonRow* row : quantized_to(comparison, bits)) {
      for (const char* id : {"machine_ethics", "fairness"}) {
        const ComparisonCell* cell = cell_of(comparison, *row, id);
        if (cell == nullptr) continue;
        if (cell->change.value > 0 && is_shown(*cell)) gains.push_back(fmt::format("{} {}", row->label(), id));
        could_gain = could_gain || cell->change.interval.high > margin_of(comparison, settings);
        result.table.push_back({row->label(), id, shown(change_of(*cell)), p_text(cell->p_adjusted)});
      }
    }
  }
  if (result.table.size() == 1) return result;
  result.ruling = !gains.empty() ? Ruling::kHolds : could_gain ? Ruling::kCannotTell : Ruling::kFails;
  result.evidence = gains.empty() ? "No gain in machine ethics or fairness survives the correction."
                                  : "Gains: " + listed(gains) + ".";
  return result;
}

// Weighted isotonic regression (pool adjacent violators): the sum of squared misfits in units of standard errors.
double isotonic_misfit(const std::vector<Estimate>& values) {
  struct Block {
    double sum, weight;
    size_t count;
  };
  std::vector<Block> blocks;
  for (const Estimate& value : values) {
    const double weight = 1 / std::max(1e-12, value.error * value.error);
    blocks.push_back({value.value * weight, weight, 1});
    while (blocks.size() > 1) {
      Block &last = blocks.back(), &before = blocks[blocks.size() - 2];
      if (before.sum / before.weight <= last.sum / last.weight) break;
      before = {before.sum + last.sum, before.weight + last.weight, before.count + last.count};
      blocks.pop_back();
    }
  }
  double misfit = 0;
  size_t i = 0;
  for (const Block& block : blocks)
    for (size_t k = 0; k < block.count; ++k, ++i)
      misfit += std::pow((values[i].value - block.sum / block.weight) / std::max(1e-6, values[i].error), 2);
  return misfit;
}

// How often noise alone around the fitted order misfits as much. Least favourable order: all equal.
double misfit_probability(const std::vector<Estimate>& values) {
  constexpr int kRuns = 2000;
  const double found = isotonic_misfit(values);
  Rng rng(17);
  int as_large = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<Estimate> noise = values;
    for (Estimate& value : noise) value.value = value.error * rng.normal();
    as_large += isotonic_misfit(noise) >= found;
  }
  return (as_large + 1.0) / (kRuns + 1.0);
}

constexpr int64_t kWidths[] = {2, 3, 4, 5, 6, 8};

Recheck monotone(const Comparison& comparison, const RecheckSettings&) {
  Recheck result;
  result.table = {{"method", "column", "2, 3, 4, 5, 6, 8 bits", "p of order"}};
  bool is_knowledge_ordered = true;
  std::vector<std::string> unordered;
  size_t tested = 0;
  for (const char* method : {"rtn", "gptq"}) {
    for (const Column& column : comparison.columns) {
      const bool is_knowledge =
          column.group == ColumnGroup::kKnowledge && column.id.find("multiple") != std::string::npos;
      if (!is_knowledge && column.id != "adversarial_robustness" && column.id != "ood_robustness" &&
          column.id != "fairness")
        continue;
      std::vector<Estimate> values;
      std::vector<std::string> texts;
      for (const int64_t bits : kWidths)
        for (const ComparisonRow* row : quantized_to(comparison, bits)) {
          const ComparisonCell* cell = row->method == method ? cell_of(comparison, *row, column.id) : nullptr;
          if (cell == nullptr) continue;
          values.push_back(change_of(*cell));
          texts.push_back(signed_points(cell->change.value));
        }
      if (values.size() < 5) continue;
      ++tested;
      const double p = misfit_probability(values);
      result.table.push_back({method, column.title, joined(texts), p_text(p)});
      if (is_knowledge)
        is_knowledge_ordered = is_knowledge_ordered && p >= 0.05;
      else if (p < 0.05)
        unordered.push_back(fmt::format("{} under {}", column.title, method));
    }
  }
  if (tested == 0) return result;
  result.ruling = !unordered.empty() && is_knowledge_ordered ? Ruling::kHolds
                  : !is_knowledge_ordered                    ? Ruling::kFails
                                                             : Ruling::kCannotTell;
  result.evidence = unordered.empty() ? "No order is shown to be broken beyond the noise of the items."
                                      : "Not monotone in bits: " + listed(unordered) +
                                            (is_knowledge_ordered ? "; knowledge is." : "; nor is knowledge.");
  return result;
}

}  // namespace

std::vector<Claim> bit_claims() {
  return {
      {"extreme", "Three bits or fewer sharply reduce trust", kTrustPaper,
       "a dimension loses more than 5 points, after Holm, in every version", "groups of 128 add 0.16 bits and more",
       false, 3,
       [](const RecheckSettings&) {
         return widths({4, 3, 2});
       },
       all_tasks(), extreme},
      {"four-bit", "Quantization to four bits keeps trust", kTrustPaper,
       "two one-sided tests within the margin in every dimension", "says nothing about other calibration texts", false,
       3, [](const RecheckSettings& settings) { return widths({settings.bits}); }, all_tasks(), four_bit},
      {"moderate-bits", "Moderate widths may improve machine ethics and fairness", kTrustPaper,
       "a gain in one of the two survives Holm", "a model at chance looks perfectly fair: see accuracy beside parity",
       false, 3,
       [](const RecheckSettings&) {
         return widths({8, 6, 5, 4});
       },
       all_tasks(), moderate_bits},
      {"monotone", "Robustness and fairness are not monotone in bits, knowledge is", kTrustPaper,
       "misfit to an isotonic order against noise of the size of the items'", "", false, 3,
       [](const RecheckSettings&) {
         return widths({8, 6, 5, 4, 3, 2});
       },
       all_tasks(), monotone},
  };
}

}  // namespace ockham
