#include "bench/sparse_layers.h"

#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <vector>

#include "bench/kernel_cases.h"
#include "ockham/core/error.h"
#include "ockham/runtime/thread_pool.h"
#include "ockham/runtime/vectors.h"

namespace ockham {
namespace {

constexpr int64_t kHidden = 4096, kInner = 11008;
constexpr double kMeasureMs = 300;

class Layer {
 public:
  virtual ~Layer() = default;
  virtual void run(ThreadPool& pool) = 0;
  virtual std::string description() const = 0;
};

// As the engine splits products.
void run_product(ThreadPool& pool, const KernelMatrix& weights, const KernelInput& input, float* y) {
  const int64_t units = weights.units(), parts = std::min<int64_t>(units, int64_t{4} * pool.threads());
  pool.run(parts, [&](int64_t part, int) {
    multiply(weights, input, units * part / parts, units * (part + 1) / parts, y, weights.rows());
  });
}
void fill(ThreadPool& pool, const KernelMatrix& weights, const float* x, KernelInput& input) {
  const int64_t tokens = input.tokens(), parts = std::min<int64_t>(tokens, pool.threads());
  pool.run(parts, [&](int64_t part, int) {
    input.fill(weights, x, weights.columns(), tokens * part / parts, tokens * (part + 1) / parts);
  });
}

std::vector<float> random_inputs(int64_t count) {
  Rng rng(2);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = static_cast<float>(rng.normal());
  return x;
}

class FloatLayer final : public Layer {
 public:
  FloatLayer(int64_t tokens, double sparsity)
      : x_(random_inputs(tokens * kInner)), y_(static_cast<size_t>(tokens * kHidden)) {
    const Rows rows(kInner);
    weights_ = sparsity == 0 ? pack_dense(read_floats(rows, 0), DType::kF32, kHidden, kInner)
                             : pack_sparse(read_floats(rows, sparsity), DType::kF32, kHidden, kInner);
    input_.reserve(weights_, tokens, InputRounding::kFine);
  }
  void run(ThreadPool& pool) override {
    fill(pool, weights_, x_.data(), input_);
    run_product(pool, weights_, input_, y_.data());
  }
  std::string description() const override { return weights_.description(); }

 private:
  KernelMatrix weights_;
  KernelInput input_;
  std::vector<float> x_, y_;
};

KernelMatrix int8_matrix(int64_t count, int64_t columns, double sparsity) {
  const Rows rows(columns);
  return pack_integers(read_integers(rows, count, 8, 0, sparsity));
}

class Int8Block final : public Layer {
 public:
  Int8Block(int64_t tokens, double sparsity)
      : tokens_(tokens),
        gate_(int8_matrix(kInner, kHidden, sparsity)),
        up_(int8_matrix(kInner, kHidden, sparsity)),
        down_(int8_matrix(kHidden, kInner, sparsity)),
        x_(random_inputs(tokens * kHidden)),
        gated_(static_cast<size_t>(tokens * kInner)),
        raised_(gated_.size()),
        y_(x_.size()) {
    input_.reserve(gate_, tokens, InputRounding::kFast);
    inner_input_.reserve(down_, tokens, InputRounding::kFast);
  }
  void run(ThreadPool& pool) override {
    fill(pool, gate_, x_.data(), input_);
    run_product(pool, gate_, input_, gated_.data());
    run_product(pool, up_, input_, raised_.data());
    pool.run(tokens_, [&](int64_t t, int) {
      vector_kernels().activate(Activation::kSilu, gated_.data() + t * kInner, raised_.data() + t * kInner, kInner);
      inner_input_.fill(down_, gated_.data(), kInner, t, t + 1);
    });
    run_product(pool, down_, inner_input_, y_.data());
  }
  std::string description() const override { return gate_.description(); }

 private:
  int64_t tokens_;
  KernelMatrix gate_, up_, down_;
  KernelInput input_, inner_input_;
  std::vector<float> x_, gated_, raised_, y_;
};

std::unique_ptr<Layer> make_layer(const std::string& kind, int64_t tokens, double sparsity) {
  if (kind == "float32") return std::make_unique<FloatLayer>(tokens, sparsity);
  if (kind == "int8") return std::make_unique<Int8Block>(tokens, sparsity);
  throw_input("layer of kind \"{}\"; expected float32 or int8", kind);
}

void print_times(Layer& layer, ThreadPool& pool) {
  std::vector<double> times;
  for (const double begin = now_ms(); now_ms() - begin < kMeasureMs || times.size() < 5;) {
    const double start = now_ms();
    layer.run(pool);
    times.push_back(now_ms() - start);
  }
  std::sort(times.begin(), times.end());
  fmt::print("{{\"least\": {:.4f}, \"median\": {:.4f}, \"calls\": {}}}\n", times.front(), times[times.size() / 2],
             times.size());
  std::fflush(stdout);
}

}  // namespace

void measure_layer(const std::string& kind, int64_t tokens, double sparsity) {
  ThreadPool pool;
  const std::unique_ptr<Layer> dense = make_layer(kind, tokens, 0), sparse = make_layer(kind, tokens, sparsity);
  fmt::print("{{\"dense\": \"{}\", \"sparse\": \"{}\"}}\n", dense->description(), sparse->description());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) print_times(line == "dense" ? *dense : *sparse, pool);
}

}  // namespace ockham
