// The handwritten pass against autograd through Decoder, and AMX attention against the portable loops.
#include "ockham/train/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/rng.h"
#include "ockham/tensor/device.h"
#include "ockham/train/config.h"

namespace ockham {
namespace {

ModelConfig small_model(bool tied, int64_t kv_heads) {
  return parse_train_config(
             fmt::format("model: {{hidden: 64, intermediate: 96, blocks: 2, heads: 2, kv_heads: {}, vocabulary: 320, "
                         "context: 128, tied: {}}}\ndata: {{files: [x.txt]}}\nschedule: {{tokens: 1}}",
                         kv_heads, tied),
             "test.yaml")
      .model;
}

std::vector<float> random_weights(const ParameterLayout& layout) {
  Rng rng(3);
  std::vector<float> values(static_cast<size_t>(layout.elements));
  for (const ParameterSpan& span : layout.spans) {
    for (int64_t i = 0; i < span.elements(); ++i) {
      values[static_cast<size_t>(span.offset + i)] =
          static_cast<float>(span.columns ? 0.15 * rng.normal() : 1 + 0.2 * rng.normal());
    }
  }
  return values;
}

// Documents of 37, 1, 16 and 40 tokens, then padding up to `rows`.
PackedBatch sample_batch(int64_t rows, int64_t vocabulary) {
  Rng rng(4);
  PackedBatch batch;
  const auto size = static_cast<size_t>(rows);
  batch.ids.assign(size, 0);
  batch.targets.assign(size, -1);
  batch.weights.assign(size, 0.0f);
  batch.positions.assign(size, 0);
  for (const int64_t length : {37, 1, 16, 40}) {
    batch.segments.push_back({batch.tokens, length});
    for (int64_t i = 0; i < length; ++i) {
      const auto row = static_cast<size_t>(batch.tokens++);
      batch.ids[row] = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary)));
      batch.positions[row] = static_cast<int32_t>(i);
      if (i + 1 == length) continue;
      batch.targets[row] = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary)));
      batch.weights[row] = i % 3 == 0 ? 0.5f : 1.0f;
      batch.target_weight += batch.weights[row];
    }
  }
  return batch;
}

double norm_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}
double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return norm_of(difference) / norm_of(b);
}

struct Outcome {
  double loss = 0;
  std::vector<float> gradients;
};
Outcome run(TrainEngine& engine, const ParameterLayout& layout, const PackedBatch& batch) {
  engine.load_weights(random_weights(layout).data());
  Outcome outcome;
  outcome.gradients.assign(static_cast<size_t>(layout.elements), 0.0f);
  outcome.loss = engine.add_gradients({&batch, 1}, 0.01f, outcome.gradients.data());
  EXPECT_NEAR(engine.loss(batch), outcome.loss, 1e-3 * outcome.loss);
  return outcome;
}

class EngineTest : public ::testing::TestWithParam<std::pair<bool, int>> {};

TEST_P(EngineTest, Float32GradientsAreAutogradsOwn) {
  const ModelConfig model = small_model(GetParam().first, GetParam().second);
  const ParameterLayout layout = ParameterLayout::of(model);
  const PackedBatch batch = sample_batch(128, model.vocabulary);
  const Outcome expected = run(*make_autograd_engine(model, DType::kF32, at::kCPU), layout, batch);
  const Outcome found = run(*make_fused_engine(model, 128, DType::kF32), layout, batch);
  EXPECT_NEAR(found.loss, expected.loss, 1e-4 * expected.loss);
  for (const ParameterSpan& span : layout.spans) {
    const auto part = [&](const Outcome& outcome) {
      return std::vector<float>(outcome.gradients.begin() + span.offset,
                                outcome.gradients.begin() + span.offset + span.elements());
    };
    EXPECT_GT(norm_of(part(expected)), 0) << span.name;
    EXPECT_LT(relative_difference(part(found), part(expected)), 1e-4) << span.name;
  }
}

TEST_P(EngineTest, Bfloat16GradientsAreClose) {
  const ModelConfig model = small_model(GetParam().first, GetParam().second);
  const ParameterLayout layout = ParameterLayout::of(model);
  const PackedBatch batch = sample_batch(128, model.vocabulary);
  const Outcome expected = run(*make_autograd_engine(model, DType::kF32, at::kCPU), layout, batch);
  const Outcome found = run(*make_fused_engine(model, 128, DType::kBF16), layout, batch);
  EXPECT_NEAR(found.loss, expected.loss, 0.01 * expected.loss);
  EXPECT_LT(relative_difference(found.gradients, expected.gradients), 0.05);
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineTest,
                         ::testing::Values(std::pair{true, 2}, std::pair{true, 1}, std::pair{false, 1}));

Outcome run_all(TrainEngine& engine, const ParameterLayout& layout, std::span<const PackedBatch> batches) {
  engine.load_weights(random_weights(layout).data());
  Outcome outcome;
  outcome.gradients.assign(static_cast<size_t>(layout.elements), 0.0f);
  outcome.loss = engine.add_gradients(batches, 0.01f, outcome.gradients.data());
  return outcome;
}

TEST(AutogradEngine, BatchesAddUp) {
  const ModelConfig model = small_model(true, 1);
  const ParameterLayout layout = ParameterLayout::of(model);
  const std::vector<PackedBatch> batches(3, sample_batch(128, model.vocabulary));
  for (const bool is_fused : {false, true}) {
    const auto engine =
        is_fused ? make_fused_engine(model, 128, DType::kF32) : make_autograd_engine(model, DType::kF32, at::kCPU);
    const Outcome one = run(*engine, layout, batches[0]), all = run_all(*engine, layout, batches);
    EXPECT_NEAR(all.loss, 3 * one.loss, 1e-5 * all.loss);
    std::vector<float> thrice = one.gradients;
    for (float& value : thrice) value *= 3;
    EXPECT_LT(relative_difference(all.gradients, thrice), 1e-5);
  }
}

// Attention takes another way there: over documents, without a mask.
TEST(AutogradEngine, CudaGradientsAreTheProcessors) {
  if (!has_cuda()) GTEST_SKIP() << "no CUDA device, or a libtorch without CUDA";
  for (const int kv_heads : {2, 1}) {
    const ModelConfig model = small_model(kv_heads == 2, kv_heads);
    const ParameterLayout layout = ParameterLayout::of(model);
    // The second is filled to its last row, so that no padding separates it from the third.
    std::vector<PackedBatch> batches = {sample_batch(128, model.vocabulary), sample_batch(128, model.vocabulary),
                                        sample_batch(128, model.vocabulary)};
    batches[1].segments.push_back({batches[1].tokens, 128 - batches[1].tokens});
    for (int64_t row = batches[1].tokens; row < 128; ++row)
      batches[1].positions[static_cast<size_t>(row)] = static_cast<int32_t>(row - batches[1].tokens);
    batches[1].tokens = 128;
    const Outcome expected = run_all(*make_autograd_engine(model, DType::kF32, at::kCPU), layout, batches);
    const Outcome exact = run_all(*make_autograd_engine(model, DType::kF32, open_device("cuda")), layout, batches);
    EXPECT_NEAR(exact.loss, expected.loss, 1e-4 * expected.loss);
    EXPECT_LT(relative_difference(exact.gradients, expected.gradients), 1e-3);
    const Outcome rounded = run_all(*make_autograd_engine(model, DType::kBF16, open_device("cuda")), layout, batches);
    EXPECT_NEAR(rounded.loss, expected.loss, 0.01 * expected.loss);
    EXPECT_LT(relative_difference(rounded.gradients, expected.gradients), 0.02);
  }
}

TEST(FusedEngine, OneThreadAndTwoGiveTheSameGradients) {
  const ModelConfig model = small_model(true, 1);
  const ParameterLayout layout = ParameterLayout::of(model);
  const PackedBatch batch = sample_batch(1024, model.vocabulary);
  const int threads = thread_count();
  set_thread_count(1);
  const Outcome one = run(*make_fused_engine(model, 1024, DType::kF32), layout, batch);
  set_thread_count(2);
  const Outcome two = run(*make_fused_engine(model, 1024, DType::kF32), layout, batch);
  set_thread_count(threads);
  EXPECT_EQ(one.gradients, two.gradients);
}

TEST(FusedEngine, RefusesShapesItCannotCompute) {
  ModelConfig model = small_model(true, 2);
  model.head_dim = 20;
  try {
    make_fused_engine(model, 64, DType::kF32);
    FAIL() << "head_dim 20 was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("engine: autograd"), std::string::npos);
  }
}

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
std::vector<float> widened(const std::vector<uint16_t>& values, size_t n) {
  std::vector<float> wide(n);
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(values[i]) << 16;
    std::memcpy(&wide[i], &bits, sizeof(bits));
  }
  return wide;
}

TEST(BlockedAttention, AgreesWithTheLoopsOverPairs) {
  // Documents shorter than a block of queries, of several, and of one row more than some.
  const std::vector<Segment> segments = {{0, 130}, {130, 1}, {131, 5}, {136, 65}, {201, 64}};
  const AttentionShape shape{4, 2, 32, 265, 0.17f};
  const auto rows = static_cast<size_t>(shape.rows), slack = rows + kAttentionSlack;
  const auto width = static_cast<size_t>(shape.width()), stride = static_cast<size_t>(shape.stride());
  Rng rng(6);
  const auto random = [&](size_t columns) {
    std::vector<uint16_t> values(slack * columns);
    for (uint16_t& value : values) value = to_bf16(static_cast<float>(2 * rng.normal()));
    return values;
  };
  const std::vector<uint16_t> qkv = random(stride), grad_out = random(width);
  std::vector<uint16_t> out(slack * width), grad(slack * stride);
  std::vector<float> sums(rows * 4), wide_sums(rows * 4), wide_out(slack * width), wide_grad(slack * stride, 7.0f);
  set_amx_enabled(false);
  attention_forward(shape, segments, qkv.data(), out.data(), sums.data());
  attention_backward(shape, segments, qkv.data(), out.data(), sums.data(), grad_out.data(), grad.data());
  set_amx_enabled(true);
  const std::vector<float> wide_qkv = widened(qkv, qkv.size()), wide_grad_out = widened(grad_out, grad_out.size());
  attention_forward(shape, segments, wide_qkv.data(), wide_out.data(), wide_sums.data());
  attention_backward(shape, segments, wide_qkv.data(), wide_out.data(), wide_sums.data(), wide_grad_out.data(),
                     wide_grad.data());
  EXPECT_LT(relative_difference(wide_sums, sums), 1e-5);
  wide_out.resize(rows * width);
  wide_grad.resize(rows * stride);
  EXPECT_LT(relative_difference(wide_out, widened(out, rows * width)), 0.005);
  EXPECT_LT(relative_difference(wide_grad, widened(grad, rows * stride)), 0.01);
}

TEST(AmxAttention, AgreesWithThePortableLoops) {
  if (!amx_available()) GTEST_SKIP() << "this processor has no AMX tiles";
  const std::vector<Segment> segments = {{0, 33}, {33, 1}, {34, 100}, {134, 64}};
  const AttentionShape shape{4, 2, 32, 198, 0.17f};
  const auto rows = static_cast<size_t>(shape.rows), slack = rows + kAttentionSlack;
  Rng rng(5);
  const auto random = [&](int64_t width) {
    std::vector<uint16_t> values(slack * static_cast<size_t>(width));
    for (uint16_t& value : values) value = to_bf16(static_cast<float>(2 * rng.normal()));
    return values;
  };
  const std::vector<uint16_t> qkv = random(shape.stride()), grad_out = random(shape.width());
  struct Result {
    std::vector<uint16_t> out, grad;
    std::vector<float> log_sums;
  };
  const auto compute = [&](bool amx) {
    set_amx_enabled(amx);
    Result result;
    result.out.assign(slack * static_cast<size_t>(shape.width()), 0);
    result.grad.assign(slack * static_cast<size_t>(shape.stride()), 0);
    result.log_sums.assign(rows * static_cast<size_t>(shape.heads), 0);
    attention_forward(shape, segments, qkv.data(), result.out.data(), result.log_sums.data());
    attention_backward(shape, segments, qkv.data(), result.out.data(), result.log_sums.data(), grad_out.data(),
                       result.grad.data());
    set_amx_enabled(true);
    return result;
  };
  const Result tiles = compute(true), loops = compute(false);
  const auto out_size = rows * static_cast<size_t>(shape.width()),
             grad_size = rows * static_cast<size_t>(shape.stride());
  EXPECT_LT(relative_difference(tiles.log_sums, loops.log_sums), 1e-4);
  EXPECT_LT(relative_difference(widened(tiles.out, out_size), widened(loops.out, out_size)), 0.01);
  EXPECT_LT(relative_difference(widened(tiles.grad, grad_size), widened(loops.grad, grad_size)), 0.02);
}

}  // namespace
}  // namespace ockham
