// Products of a pass with weights of any format: inputs are prepared once for all that share them, then units of rows
// are shared out over the threads.
#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/runtime/engine_state.h"

namespace ockham {
namespace {

// Whether inputs become integers, which kFast would make coarser.
bool matrix_rounds_inputs(const KernelMatrix& matrix) {
  const auto rounds = [](const auto& layout) { return layout.form.is_rounded; };
  return std::any_of(matrix.parts().begin(), matrix.parts().end(),
                     [&](const MatrixPart& part) { return std::visit(rounds, part.layout); });
}

}  // namespace

void Engine::State::reserve_inputs() {
  int64_t widest = 0, tallest = 0, most_kept = 0;
  bool has_rule = false;
  const auto reserve = [&](const KernelMatrix& matrix, const InputRule* rule, int64_t rows) {
    if (matrix.rows() == 0) return;
    if (rule == nullptr || !rule->rounds_tokens) {
      for (const InputRounding rounding : {InputRounding::kFine, InputRounding::kFast, InputRounding::kExact})
        for (KernelInput& input : inputs) input.reserve(matrix, rows, rounding);
      return;
    }
    has_rule = true;
    widest = std::max(widest, matrix.columns());
    tallest = std::max(tallest, matrix.rows());
    most_kept = std::max(most_kept, static_cast<int64_t>(rule->kept.size()));
    rounded_input.reserve(matrix, rows, InputRounding::kToken);
    fine_input.reserve(matrix, rows, InputRounding::kFine);
    if (rule->kept_weights.rows() > 0) kept_input.reserve(rule->kept_weights, rows, InputRounding::kFine);
  };
  const int64_t most = options.pass_tokens + kMostFiller;
  const auto reserve_mlp = [&](const EngineMlp& mlp) {
    for (const EngineLinear* linear : {&mlp.gate, &mlp.up, &mlp.down}) reserve(linear->weight, &linear->rule, most);
  };
  for (const EngineBlock& block : model.blocks) {
    for (const EngineLinear* linear : {&block.query, &block.key, &block.value, &block.output})
      reserve(linear->weight, &linear->rule, most);
    for (const EngineMlp& mlp : block.mlps) reserve_mlp(mlp);
    reserve_mlp(block.shared_expert);
    reserve(block.router, nullptr, most);
    reserve(block.shared_gate, nullptr, most);
  }
  reserve(model.project_in, nullptr, most);
  reserve(model.project_out, nullptr, logit_rows + kMostFiller);
  reserve(model.head, nullptr, logit_rows + kMostFiller);
  if (!has_rule) return;
  small = FloatRoom(most * widest);
  large = FloatRoom(most * widest);
  kept = FloatRoom(most * most_kept);
  partial = FloatRoom(most * tallest);
}

// Prepares x for every product; those that need the same share one.
void Engine::State::fill(std::span<const Product> products, const float* x, const Part& part,
                         size_t (&input_of)[kMostProducts]) {
  for (size_t i = 0; i < products.size(); ++i) {
    const KernelMatrix& matrix = *products[i].matrix;
    input_of[i] = i;
    for (size_t earlier = 0; earlier < i; ++earlier)
      if (same_input(*products[earlier].matrix, matrix)) input_of[i] = input_of[earlier];
    if (input_of[i] != i) continue;
    KernelInput& input = inputs[i];
    const bool keeps_integers = options.precision != ReadPrecision::kFast && matrix_rounds_inputs(matrix);
    input.reserve(matrix, part.rows, keeps_integers ? InputRounding::kFine : part.rounding);
    const int64_t columns = matrix.columns();
    for_rows(part.asked, 4 * columns,
             [&](int64_t begin, int64_t end) { input.fill(matrix, x + part.first * columns, columns, begin, end); });
  }
}

void Engine::State::multiply(std::span<const Product> products, const float* x, int64_t rows, int64_t exact) {
  OCKHAM_CHECK(products.size() <= kMostProducts);
  const auto is_rounded = [](const Product& one) { return one.rule != nullptr && one.rule->rounds_tokens; };
  if (std::any_of(products.begin(), products.end(), is_rounded)) {
    for (const Product& product : products) {
      if (is_rounded(product)) {
        multiply_rounded(product, x, rows);
      } else {
        multiply({&product, 1}, x, rows, exact);
      }
    }
    return;
  }
  if (exact > 0) multiply_part(products, x, {InputRounding::kFine, 0, exact, exact});
  // Few rows would be computed by other kernels, with other rounding.
  const int64_t others = rows - exact;
  const bool is_exact = options.precision == ReadPrecision::kExact;
  const InputRounding rounding = is_exact ? InputRounding::kExact : InputRounding::kFast;
  if (others > 0) multiply_part(products, x, {rounding, exact, others, std::max(others, kFewTokens + 1)});
  for (const Product& product : products) {
    if (product.bias == nullptr || product.bias->empty()) continue;
    const int64_t width = product.matrix->rows();
    for_rows(rows, width, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        vector_kernels().add_scaled(product.out + row * width, product.bias->data(), 1, width);
    });
  }
}

void Engine::State::multiply_part(std::span<const Product> products, const float* x, const Part& part) {
  size_t input_of[kMostProducts];
  fill(products, x, part, input_of);
  int64_t work = 0;
  for (const Product& product : products) work += part.rows * product.matrix->rows() * product.matrix->columns();
  constexpr int64_t kWorth = 100'000;  // operations that outweigh waking the threads
  // Kernels for many tokens take some units at once: pieces end where they do, as long as there is one for each thread.
  const auto count = [&](int64_t step) {
    int64_t steps = 0;
    for (const Product& product : products) steps += (product.matrix->units() + step - 1) / step;
    return steps;
  };
  int64_t step = part.rows > kFewTokens ? kUnitsOfPrefill : 1;
  while (step > 1 && count(step) < int64_t{2} * pool.threads()) step /= 2;
  const int64_t steps = count(step), pieces = work < kWorth ? 1 : std::min<int64_t>(steps, int64_t{4} * pool.threads());
  pool.run(pieces, [&](int64_t number, int) {
    int64_t begin = steps * number / pieces, end = steps * (number + 1) / pieces;
    for (size_t i = 0; i < products.size(); ++i) {
      const KernelMatrix& matrix = *products[i].matrix;
      const int64_t own = (matrix.units() + step - 1) / step, last = std::min(end, own);
      if (begin < last) {
        ockham::multiply(matrix, inputs[input_of[i]], begin * step, std::min(last * step, matrix.units()),
                         products[i].out + part.first * matrix.rows(), matrix.rows());
      }
      begin = std::max<int64_t>(begin - own, 0);
      end = std::max<int64_t>(end - own, 0);
    }
  });
}

// See InputRule; which columns stay exact is decided for each token by itself, so that no token depends on its company.
void Engine::State::multiply_rounded(const Product& product, const float* x, int64_t rows) {
  const KernelMatrix& matrix = *product.matrix;
  const InputRule& rule = *product.rule;
  const int64_t columns = matrix.columns(), width = matrix.rows(), exact = static_cast<int64_t>(rule.kept.size());
  rounded_input.reserve(matrix, rows, InputRounding::kToken);
  fine_input.reserve(matrix, rows, InputRounding::kFine);
  const bool has_kept = rule.kept_weights.rows() > 0;
  if (has_kept) kept_input.reserve(rule.kept_weights, rows, InputRounding::kFine);
  const auto threshold = static_cast<float>(rule.threshold);
  for_rows(rows, 8 * columns, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * columns;
      float *below = small.data() + row * columns, *above = large.data() + row * columns;
      for (int64_t c = 0; c < columns; ++c) {
        const bool is_large = std::fabs(from[c]) >= threshold;
        above[c] = is_large ? from[c] : 0;
        below[c] = is_large ? 0 : from[c];
      }
      for (int64_t i = 0; i < exact; ++i) {
        const int32_t c = rule.kept[static_cast<size_t>(i)];
        kept.data()[row * exact + i] = from[c];
        below[c] = above[c] = 0;
      }
    }
    rounded_input.fill(matrix, small.data(), columns, begin, end);
    fine_input.fill(matrix, large.data(), columns, begin, end);
    if (has_kept) kept_input.fill(rule.kept_weights, kept.data(), exact, begin, end);
  });
  const auto run = [&](const KernelMatrix& weights, const KernelInput& input, float* to) {
    const int64_t units = weights.units(), parts = std::min<int64_t>(units, int64_t{4} * pool.threads());
    pool.run(parts, [&](int64_t number, int) {
      ockham::multiply(weights, input, units * number / parts, units * (number + 1) / parts, to, width);
    });
  };
  const auto add_product = [&](const KernelMatrix& weights, const KernelInput& input) {
    run(weights, input, partial.data());
    vector_kernels().add_scaled(product.out, partial.data(), 1, rows * width);
  };
  run(matrix, rounded_input, product.out);
  add_product(matrix, fine_input);
  if (has_kept) add_product(rule.kept_weights, kept_input);
  if (product.bias == nullptr || product.bias->empty()) return;
  for (int64_t row = 0; row < rows; ++row)
    vector_kernels().add_scaled(product.out + row * width, product.bias->data(), 1, width);
}

}  // namespace ockham
