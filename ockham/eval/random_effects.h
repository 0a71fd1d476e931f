// One effect over several trained models, each of which knows its own only up to an error: the models are a sample too.
#pragma once

#include <cstdint>
#include <vector>

#include "ockham/eval/statistics.h"

namespace ockham {

struct PooledEffect {
  double value = 0;
  double error = 0;    // such that value +- 1.96 error is the 95 % interval
  double between = 0;  // standard deviation of the true effects over models
  double q_p = 1;      // of equal true effects (Cochran's Q)
  Interval interval, interval90;
  double p_value = 1;  // of no mean effect, Student's t
  int64_t models = 0;
};
// Random effects: between-model variance by DerSimonian and Laird (1986), interval by Hartung and Knapp (2001) with
// models - 1 degrees of freedom, never narrower than the items' errors alone leave it. One model: its own interval.
// `values` and `errors` (standard errors, >= 0) have the same size, at least 1.
PooledEffect random_effects(const std::vector<double>& values, const std::vector<double>& errors);

// Two-sided exact probability of a split as uneven as this where both outcomes are equally likely; 1 for no outcomes.
double sign_test(int64_t first, int64_t second);
// The t with which `tail` (two-sided) is left beyond +-t.
double student_quantile(double tail, double degrees);

}  // namespace ockham
