// error-dp: one width or sparsity for every linear, so that the sum of their errors is least at a mean.
// Paper: Hubara et al., "Accurate Post Training Quantization With Small Calibration Sets" (ICML 2021), section 4, whose
// integer program is solved here by dynamic programming, as Markov et al., "L-GreCo" (2023), do. Every linear is tried
// with every option by the method `trial`; its error is that of its output, relative to the output's own size, on the
// dense model's inputs. Needs: the Gram matrix, and what the trial needs. Errors of layers are taken to add up, which
// they need not (compare results).
#include "ockham/methods/allocation/error_dp.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/tensor/ops.h"

namespace ockham {

std::vector<size_t> choose_options(const std::vector<std::vector<double>>& errors,
                                   const std::vector<std::vector<int64_t>>& costs, int64_t budget) {
  constexpr int64_t kMostUnits = 1'000'000;
  OCKHAM_CHECK(errors.size() == costs.size());
  if (budget < 0) return {};
  int64_t unit = 0;
  for (const auto& row : costs)
    for (const int64_t cost : row) unit = std::gcd(unit, cost);
  unit = std::max<int64_t>({unit, 1, (budget + kMostUnits - 1) / kMostUnits});
  const size_t states = static_cast<size_t>(budget / unit) + 1;
  constexpr double kNever = std::numeric_limits<double>::infinity();
  constexpr uint8_t kNone = 255;
  // least[s]: the smallest sum of errors of the items so far at a cost of exactly s units.
  std::vector<double> least(states, kNever), next;
  least[0] = 0;
  std::vector<std::vector<uint8_t>> chosen;
  for (size_t item = 0; item < errors.size(); ++item) {
    OCKHAM_CHECK(errors[item].size() == costs[item].size() && errors[item].size() < kNone);
    next.assign(states, kNever);
    chosen.emplace_back(states, kNone);
    for (size_t option = 0; option < errors[item].size(); ++option) {
      const size_t units = static_cast<size_t>((costs[item][option] + unit - 1) / unit);
      for (size_t state = units; state < states; ++state) {
        const double sum = least[state - units] + errors[item][option];
        if (sum >= next[state]) continue;
        next[state] = sum;
        chosen[item][state] = static_cast<uint8_t>(option);
      }
    }
    least.swap(next);
  }
  size_t state = static_cast<size_t>(std::min_element(least.begin(), least.end()) - least.begin());
  if (least[state] == kNever) return {};
  std::vector<size_t> result(errors.size());
  for (size_t item = errors.size(); item-- > 0;) {
    result[item] = chosen[item][state];
    state -= static_cast<size_t>((costs[item][result[item]] + unit - 1) / unit);
  }
  return result;
}

namespace {

// Costs are whole numbers: weights times thousandths.
constexpr double kThousandths = 1000;

std::vector<double> read_options(const Params& params) {
  const std::string& text = params.text("options");
  std::vector<double> options;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    double value = 0;
    const auto parsed = std::from_chars(at, end, value);
    if (parsed.ec != std::errc() || !std::isfinite(value) || value < 0 || value > 64) break;
    options.push_back(value);
    at = parsed.ptr;
    if (at < end && *at++ != ',') break;
    while (at < end && *at == ' ') ++at;
    if (at == end) return options;
  }
  throw_input("{}: key 'options' is '{}', expected numbers with commas between, as in \"8,4,3,2\"; correct it",
              params.where(), text);
}

class ErrorDp final : public Allocation {
 public:
  explicit ErrorDp(const Params& params)
      : where_(params.where()),
        mean_(params.real("mean")),
        parameter_(params.text("parameter")),
        options_(read_options(params)),
        trial_(find_method(params.text("trial"), params.where())) {
    if (trial_.allocate)
      throw_input("{}: key 'trial' is '{}', expected a method that changes weights", where_, trial_.name);
    std::map<std::string, ParamValue> given;
    if (params.integer("group_size") != 0) given["group_size"] = params.integer("group_size");
    for (const double option : options_) {
      // Checks the name and the range.
      std::map<std::string, ParamValue> values = given;
      if (option == std::floor(option) && parameter_ == "bits")
        values[parameter_] = static_cast<int64_t>(option);
      else
        values[parameter_] = option;
      trials_.push_back(trial_.make(Params(where_ + ", trial " + trial_.name, trial_.parameters, values)));
    }
  }

  unsigned needs() const override {
    unsigned needs = kNeedsGram;
    for (const auto& trial : trials_) needs |= trial->needs();
    return needs;
  }

  void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>& stats) override {
    for (size_t i = 0; i < linears.size(); ++i) {
      const Tensor before = weight_to_dense(linears[i]->weight, at::kFloat);
      const double size = quadratic_error(before, stats[i].gram);
      LayerStats given = stats[i];
      given.original = before;
      names_.push_back(linears[i]->name);
      weights_.push_back(before.numel());
      errors_.emplace_back();
      for (const auto& trial : trials_) {
        Linear copy = *linears[i];
        trial->compress(copy, given);
        const double error = quadratic_error(weight_to_dense(copy.weight, at::kFloat) - before, stats[i].gram);
        errors_.back().push_back(size > 0 ? error / size : 0);
      }
    }
  }

  std::map<std::string, double> values() const override {
    // A sparsity costs what it leaves.
    const bool is_share = parameter_ == "sparsity";
    const auto cost = [&](double value) { return is_share ? 1 - value : value; };
    std::vector<std::vector<int64_t>> costs;
    double total = 0;
    for (const int64_t weights : weights_) {
      costs.emplace_back();
      for (const double option : options_)
        costs.back().push_back(weights * static_cast<int64_t>(std::llround(cost(option) * kThousandths)));
      total += static_cast<double>(weights);
    }
    const double budget = total * cost(mean_) * kThousandths;
    const std::vector<size_t> chosen = choose_options(errors_, costs, static_cast<int64_t>(budget * (1 + 1e-12)));
    if (chosen.empty() && !names_.empty())
      throw_input(
          "{}: no choice among the options has a mean of {}, expected a reachable one; correct `mean` or `options`",
          where_, mean_);
    std::map<std::string, double> values;
    for (size_t i = 0; i < names_.size(); ++i) values[names_[i]] = options_[chosen[i]];
    return values;
  }

 private:
  std::string where_;
  double mean_;
  std::string parameter_;
  std::vector<double> options_;
  const MethodEntry& trial_;
  std::vector<std::unique_ptr<Method>> trials_;  // by option
  std::vector<std::string> names_;
  std::vector<int64_t> weights_;
  std::vector<std::vector<double>> errors_;  // by linear and option
};

}  // namespace

const MethodEntry& error_dp_entry() {
  static const MethodEntry kEntry = {
      "error-dp",
      "allocation",
      "Chooses a width or sparsity for every linear so that the sum of output errors is least at a mean.",
      "Hubara et al., Accurate Post Training Quantization With Small Calibration Sets, ICML 2021",
      {real_spec("mean",
                 "mean over weights that the choice must keep: at most so many bits, or at least so much sparsity", 4.0,
                 0, 16),
       text_spec("parameter", "what is chosen", "bits", {"bits", "sparsity"}),
       text_spec("options", "values to choose from", "8,4,3,2"),
       text_spec("trial", "method that errors are measured with", "rtn"),
       int_spec("group_size", "group_size of the trial; 0: its default", 0, -1, 65536)},
      {},
      [](const Params& params) { return std::make_unique<ErrorDp>(params); }};
  return kEntry;
}

}  // namespace ockham
