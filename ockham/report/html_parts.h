// Building blocks of the page: escaping, and one function per section or chart. Each returns HTML; "" where there is
// nothing to show.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ockham/report/html_page.h"
#include "ockham/report/published_scores.h"
#include "ockham/report/summary.h"

namespace ockham {

// What a tooltip says about a cell, one fact per line.
std::string cell_facts(const Comparison& comparison, const ComparisonRow& row, size_t column);
std::string row_detail(const Comparison& comparison, const ComparisonRow& row);  // "1.13 MB · 29 %"
// Strength of the colour that stands for a change in points, 0 to 82: the style variable --t of a cell of class "lose"
// or "gain".
int tint(double change);
// Colour of a method, the same in every chart: "var(--s2)".
std::string method_colour(const Comparison& comparison, const ComparisonRow& row);

std::string heat_map(const Comparison& comparison);
std::string radar_chart(const Comparison& comparison);
std::string quality_charts(const Comparison& comparison);
std::string change_panels(const Comparison& comparison);
std::string dimension_table(const Comparison& comparison);
std::string cost_table(const Comparison& comparison);
// What compressed KV caches hold; "" where none is compressed.
std::string cache_table(const Comparison& comparison);
std::string refusal_table(const Comparison& comparison);
// Every change with its interval, p-values (bootstrap, Holm, exact McNemar), noise units and verdict.
std::string change_table(const Comparison& comparison);
// Changes in units of what noise of rounding size does to each score.
std::string noise_map(const Comparison& comparison);
// Measured against published, figure by figure.
std::string published_figures(const PublishedComparison& published);
// Score of every part of every dimension (subjects, relations, attacks): change to dense, no verdicts.
std::string part_maps(const StudyResults& results, const Comparison& comparison);
// Refused, wrong, leaked and other answers about private data as stacked bars.
std::string privacy_bars(const StudyResults& results, const Comparison& comparison);
// Per scenario the questions on which the configurations differ most, with the answers of all of them.
std::string answer_gallery(const StudyResults& results, const Comparison& comparison);
std::string provenance(const Comparison& comparison);
std::string about_models(const Comparison& comparison);

}  // namespace ockham
