// Attention of every target against plain loops in double precision.
#include <cmath>
#include <limits>
#include <random>

#include "ockham/core/half.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/paged_cache.h"
#include "ockham/runtime/vectors.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

struct Case {
  int64_t dim, group, kv_heads, before, tokens;  // `before`: tokens in the cache when the queries' own come
  int64_t window = 0;
  double softcap = 0;
  DType type = DType::kF32;
};

class Attention {
 public:
  explicit Attention(const Case& one) : case_(one), cache_({1, one.kv_heads, one.dim, one.type}, 64, 2048) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const int64_t all = one.before + one.tokens;
    sequence_ = cache_.open();
    cache_.append(sequence_, all);
    for (int64_t i = 0; i < all; ++i) {
      for (std::vector<float>* side : {&keys_, &values_}) {
        for (int64_t d = 0; d < width(); ++d) side->push_back(normal(random));
        for (int64_t head = 0; head < one.kv_heads; ++head) round(side->data() + i * width() + head * one.dim);
      }
      cache_.store(0, sequence_, i, keys_.data() + i * width(), values_.data() + i * width());
    }
    for (int64_t i = 0; i < one.tokens * heads() * one.dim; ++i) queries_.push_back(2 * normal(random));
  }
  int64_t heads() const { return case_.group * case_.kv_heads; }

  // [tokens, heads, D], queries in tasks of `step` tokens, by tiles or not; the first two pages in each other's place
  // or not, as where tokens were dropped.
  std::vector<float> run(int64_t step, bool by_tiles = false, bool is_swapped = false) {
    std::vector<float> out(queries_.size());
    std::vector<float> room(static_cast<size_t>(kMostTileRows * (case_.dim + kBlockKeys + cache_.value_width())));
    const int64_t tile_bytes = tile_floats(case_.dim, cache_.value_width()) * static_cast<int64_t>(sizeof(float));
    Buffer tile_room(tile_bytes);
    std::memset(tile_room.data(), 0xff, static_cast<size_t>(tile_bytes));  // what is left over may be anything
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < case_.tokens; ++i) positions.push_back(static_cast<int32_t>(case_.before + i));
    for (int64_t head = 0; head < case_.kv_heads; ++head) {
      std::vector<AttentionPage> pages;
      for (int64_t page = 0; page < cache_.views(sequence_); ++page)
        pages.push_back(cache_.view(sequence_, page, 0, head));
      if (is_swapped && pages.size() > 2) std::swap(pages[0], pages[1]);
      for (int64_t first = 0; first < case_.tokens; first += step) {
        AttentionTask task;
        const int64_t at = (first * heads() + head * case_.group) * case_.dim;
        task.q = queries_.data() + at;
        task.out = out.data() + at;
        task.q_token = task.out_token = heads() * case_.dim;
        task.positions = positions.data() + first;
        task.tokens = std::min(step, case_.tokens - first);
        task.group = case_.group;
        task.dim = case_.dim;
        task.wide = cache_.value_width();
        task.pages = pages.data();
        task.page_count = static_cast<int64_t>(pages.size());
        task.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(case_.dim)));
        task.softcap = static_cast<float>(case_.softcap);
        task.window = case_.window;
        task.queries = room.data();
        task.scores = room.data() + kMostTileRows * case_.dim;
        task.mixed = task.scores + kMostTileRows * kBlockKeys;
        task.tile_room = reinterpret_cast<float*>(tile_room.data());
        attend(task, by_tiles);
      }
    }
    return out;
  }

  std::vector<double> reference() const {
    std::vector<double> out;
    for (int64_t token = 0; token < case_.tokens; ++token) {
      for (int64_t head = 0; head < heads(); ++head) {
        const std::vector<double> row = mixed(token, head);
        out.insert(out.end(), row.begin(), row.end());
      }
    }
    return out;
  }

 private:
  void attend(const AttentionTask& task, bool by_tiles) const {
    const VectorKernels& kernels = vector_kernels();
    if (case_.type == DType::kF32) return (by_tiles ? kernels.tile_f32 : kernels.attend_f32)(task);
    if (case_.type == DType::kBF16) return (by_tiles ? kernels.tile_bf16 : kernels.attend_bf16)(task);
    (by_tiles ? kernels.tile_int8 : kernels.attend_int8)(task);
  }
  int64_t width() const { return case_.kv_heads * case_.dim; }
  // As the cache does, the numbers of one token and head.
  void round(float* x) const {
    float largest = 0;
    for (int64_t d = 0; d < case_.dim; ++d) largest = std::max(largest, std::fabs(x[d]));
    for (int64_t d = 0; d < case_.dim; ++d) {
      if (case_.type == DType::kBF16) x[d] = bfloat16_to_float(float_to_bfloat16(x[d]));
      if (case_.type == DType::kI8) x[d] = std::nearbyint(x[d] * (127 / largest)) * (largest / 127);
    }
  }
  std::vector<double> mixed(int64_t token, int64_t head) const {
    const int64_t position = case_.before + token, offset = head / case_.group * case_.dim;
    const int64_t first = case_.window > 0 ? std::max<int64_t>(0, position - case_.window + 1) : 0;
    const float* q = queries_.data() + (token * heads() + head) * case_.dim;
    std::vector<double> weights, result(static_cast<size_t>(case_.dim));
    double most = -1e300, sum = 0;
    for (int64_t i = first; i <= position; ++i) {
      double score = 0;
      for (int64_t d = 0; d < case_.dim; ++d)
        score += static_cast<double>(q[d]) * keys_[static_cast<size_t>(i * width() + offset + d)];
      score /= std::sqrt(static_cast<double>(case_.dim));
      if (case_.softcap > 0) score = case_.softcap * std::tanh(score / case_.softcap);
      weights.push_back(score);
      most = std::max(most, score);
    }
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    for (int64_t i = first; i <= position; ++i) {
      for (int64_t d = 0; d < case_.dim; ++d)
        result[static_cast<size_t>(d)] +=
            weights[static_cast<size_t>(i - first)] / sum * values_[static_cast<size_t>(i * width() + offset + d)];
    }
    return result;
  }

  Case case_;
  PagedCache cache_;
  int32_t sequence_;
  std::vector<float> keys_, values_, queries_;
};

// Weights and sums of float32 are off by some units in the last place of the largest value, which is below 5. Tiles
// keep 16 bits of each number: of a score, a sum of up to 256 products, they lose some 2^-16 of the sum's size.
constexpr double kTolerance = 2e-5, kToleranceOfTiles = 1e-4;

std::vector<Case> all_cases() {
  return {{4, 1, 2, 0, 1},
          {8, 2, 1, 0, 31},
          {64, 8, 2, 0, 1},
          {64, 8, 1, 500, 1},
          {64, 4, 2, 100, 70},
          {80, 1, 2, 130, 9},
          {128, 8, 1, 127, 2},
          {96, 3, 2, 64, 40},
          {256, 2, 1, 33, 5},
          {64, 4, 1, 300, 40, 64},
          {16, 1, 1, 700, 3, 130},
          {32, 2, 2, 90, 20, 0, 5.0},
          {64, 8, 2, 200, 33, 50, 30.0},
          {64, 8, 2, 150, 20, 0, 0, DType::kBF16},
          {64, 8, 2, 150, 20, 0, 0, DType::kI8},
          {20, 3, 2, 60, 5, 40, 9, DType::kI8},
          {64, 4, 2, 0, 70},
          {20, 64, 1, 40, 3}};
}

void expect_near(const std::vector<float>& found, const std::vector<double>& wanted, double tolerance,
                 const Case& one) {
  for (size_t i = 0; i < wanted.size(); ++i)
    ASSERT_NEAR(found[i], wanted[i], tolerance) << target_name(current_target()) << " D " << one.dim << " group "
                                                << one.group << " before " << one.before << " at " << i;
}

TEST(Attention, TilesAreNearAndDoNotDependOnNeighbours) {
  if (vector_kernels().tile_f32 == nullptr) GTEST_SKIP() << "this processor has no tiles";
  for (const Case& one : all_cases()) {
    Attention attention(one);
    const std::vector<double> wanted = attention.reference();
    const int64_t step = std::max<int64_t>(1, kMostTileRows / one.group);
    const std::vector<float> found = attention.run(step, true);
    expect_near(found, wanted, kToleranceOfTiles, one);
    expect_near(attention.run(step, true, true), wanted, kToleranceOfTiles, one);
    EXPECT_EQ(attention.run(1, true), found) << "D " << one.dim;
    EXPECT_EQ(attention.run(std::min<int64_t>(3, step), true), found) << "D " << one.dim;
  }
}

TEST(Attention, EqualsPlainLoops) {
  const Target best = current_target();
  const std::vector<Case> cases = all_cases();
  for (const Target target : available_targets()) {
    set_target(target);
    for (const Case& one : cases) {
      Attention attention(one);
      const std::vector<double> wanted = attention.reference();
      const int64_t step = std::max<int64_t>(1, kMostRows / one.group);
      const std::vector<float> found = attention.run(step);
      expect_near(found, wanted, kTolerance, one);
      expect_near(attention.run(step, false, true), wanted, kTolerance, one);
      // What stands beside a query does not change a bit of its result.
      EXPECT_EQ(attention.run(1), found) << target_name(target) << " D " << one.dim;
    }
  }
  set_target(best);
}

// One query of 16 numbers behind these pages, with `room` to work in and out [16].
AttentionTask single_query(const std::vector<float>& query, const int32_t& position,
                           const std::vector<AttentionPage>& pages, std::vector<float>& room, std::vector<float>& out) {
  room.resize(static_cast<size_t>(kMostRows * (32 + kBlockKeys)));
  out.resize(16);
  AttentionTask task;
  task.q = query.data();
  task.out = out.data();
  task.positions = &position;
  task.tokens = 1;
  task.dim = task.wide = 16;
  task.pages = pages.data();
  task.page_count = static_cast<int64_t>(pages.size());
  task.queries = room.data();
  task.scores = room.data() + kMostRows * 16;
  task.mixed = task.scores + kMostRows * kBlockKeys;
  return task;
}

// Probabilities below the least normal number count as zero while attention runs, and only then.
TEST(Attention, TinyProbabilitiesCountAsZeroAndTheProcessorsModeStays) {
  const Target best = current_target();
  constexpr int64_t kKeys = kBlockKeys + 64, kPages = kKeys / kPageKeys;
  PagedCache cache({1, 1, 16, DType::kF32}, kPages, kKeys);
  const int32_t sequence = cache.open();
  cache.append(sequence, kKeys);
  // Exponents of 2: 0 in the second block; in the first -100, but for most keys -160.
  const std::vector<float> value(16, 1.0F), query(16, 1.0F);
  for (int64_t i = 0; i < kKeys; ++i) {
    const float exponent = i >= kBlockKeys ? 0.0F : i == 0 ? -100.0F : -160.0F;
    const std::vector<float> key(16, exponent * std::log(2.0F) / 16);
    cache.store(0, sequence, i, key.data(), value.data());
  }
  std::vector<AttentionPage> pages;
  for (int64_t page = 0; page < kPages; ++page) pages.push_back(cache.view(sequence, page, 0, 0));
  const int32_t position = kKeys - 1;
  for (const Target target : available_targets()) {
    set_target(target);
    std::vector<float> out, room, states(4), sums(kKeys);
    AttentionTask task = single_query(query, position, pages, room, out);
    task.row_states = states.data();
    task.row_state = task.token_state = 4;
    task.column_sums = sums.data();
    vector_kernels().attend_f32(task);
    for (int64_t i = 0; i < kKeys; ++i) {
      const float sum = sums[static_cast<size_t>(i)];
      if (i == 0) {
        EXPECT_NEAR(sum, 0, 1e-30) << target_name(target);
      } else {
        EXPECT_FLOAT_EQ(sum, i < kBlockKeys ? 0 : 1.0F / 64) << target_name(target);
      }
    }
    const volatile float least = std::numeric_limits<float>::min();
    const volatile float half = least / 2;
    EXPECT_GT(half, 0) << target_name(target);
  }
  set_target(best);
}

TEST(Attention, WhatClosedSequencesLeftBehindDoesNotMatter) {
  PagedCache cache({1, 1, 16, DType::kF32}, 1, 64);
  const std::vector<float> nan(16, std::nanf("")), key(16, 0.5F), value(16, 3.0F);
  int32_t sequence = cache.open();
  cache.append(sequence, 32);
  for (int64_t i = 0; i < 32; ++i) cache.store(0, sequence, i, nan.data(), nan.data());
  cache.close(sequence);
  sequence = cache.open();
  cache.append(sequence, 1);
  cache.store(0, sequence, 0, key.data(), value.data());
  std::vector<float> out, room;
  const int32_t position = 0;
  const std::vector<AttentionPage> pages = {cache.view(sequence, 0, 0, 0)};
  const AttentionTask task = single_query(key, position, pages, room, out);
  vector_kernels().attend_f32(task);
  EXPECT_EQ(out, value);
}

}  // namespace
}  // namespace ockham
