// HiGHS, a solver for linear and mixed-integer programmes, opened at run time where it is installed: libhighs.so of the
// distribution (libhighs-dev) or of a wheel, or the file that OCKHAM_HIGHS names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ockham {

// Minimizes cost x under row_lower <= A x <= row_upper and 0 <= x <= 1; A by columns.
struct LinearProgram {
  std::vector<double> cost;                  // [columns]
  std::vector<double> row_lower, row_upper;  // [rows]
  std::vector<int32_t> starts, rows;         // of each column's entries, and their rows
  std::vector<double> values;                // of the entries
  bool is_integer = true;                    // every x is 0 or 1
};
struct LinearSolution {
  std::vector<double> values;  // [columns]
  std::vector<double> duals;   // [rows], of a programme without integers: change of the optimum per unit of the bound
};

bool has_highs();
// Error(kUnsupported) where there is no HiGHS, Error(kInput) where the programme is infeasible.
LinearSolution solve(const LinearProgram& program);

}  // namespace ockham
