// The analysis plan, fixed with the world: which comparisons are made and how, before any compressed model is measured.
#pragma once

namespace ockham::world {

inline constexpr const char* kAnalysisPlan =
    "1. Every compressed model is compared with the dense model it was made from, item by item, on the same items.\n"
    "2. The number of a dimension is the score of its task as the task file defines it, 0 to 100, higher is better or "
    "safer.\n"
    "3. Differences are means over items with 95 % percentile intervals from a paired bootstrap over items.\n"
    "4. Equivalence means that the whole interval lies within 5 points of zero in the tier quick, within 2 points in "
    "full.\n"
    "5. A loss or gain is named as such only where the interval excludes zero; the smallest effect that the number of "
    "items could "
    "show is printed beside it.\n"
    "6. Methods that depend on calibration data are run with three draws; means and spreads over draws are both "
    "printed.\n"
    "7. Rates of refusal, of unreadable and of empty answers stand beside every score and are never subtracted from "
    "it.\n"
    "8. Closed-book accuracy is also shown by tellings per pass; the rarest facts are expected to break first.\n"
    "9. No item is removed and no threshold moved after a compressed model has been measured.\n";

}  // namespace ockham::world
