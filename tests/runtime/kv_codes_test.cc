// Pages in codes: what is written stands for what came in; attention of every target against plain loops in double
// precision over what the pages hold.
#include "ockham/runtime/kv_codes.h"

#include <cmath>
#include <random>

#include "ockham/kernels/target.h"
#include "ockham/runtime/vectors.h"
#include "tests/io/scratch.h"
#include "tests/runtime/kv_codes_fixture.h"

namespace ockham {
namespace {

KvPolicy coding_of(int bits, int64_t group, double outliers = 0, int64_t rank = 0) {
  KvPolicy policy;
  policy.bits = bits;
  policy.group = group;
  policy.outliers = outliers;
  policy.rank = rank;
  return policy;
}
KvPolicy token_policy(int bits, int64_t group) {
  KvPolicy policy = coding_of(bits, group);
  policy.keep = KvPolicy::Keep::kLocal;
  policy.budget = 64;
  return policy;
}

// Normal numbers, some channels far from 0, some numbers far from the others.
std::vector<float> drawn_numbers(int64_t tokens, int64_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x;
  for (int64_t i = 0; i < tokens * width; ++i) {
    x.push_back(normal(random) + (i % width % 7 == 3 ? 5.0F : 0.0F));
    if (i % 97 == 0) x.back() *= 6;
    x.back() = bfloat16_to_float(float_to_bfloat16(x.back()));
  }
  return x;
}

struct CodedCase {
  int64_t heads, dim, group;  // group: queries of a head of keys
  KvPolicy policy;
  DType type = DType::kF32;
  int64_t tokens = 192;
};

// Pages that are all in codes.
class CodedAttention {
 public:
  explicit CodedAttention(const CodedCase& one)
      : case_(one),
        layout_(code_layout(one.policy, one.heads, one.dim, one.type)),
        keys_(drawn_numbers(one.tokens, width(), 3)),
        values_(drawn_numbers(one.tokens, width(), 4)),
        queries_(drawn_numbers(kQueries * one.group, width(), 5)) {
    const int64_t own = layout_.tokens(), pages = one.tokens / own;
    memory_.resize(static_cast<size_t>(pages * layout_.page_bytes + 64));
    for (int64_t page = 0; page < pages; ++page) write(page, page * own * width());
    for (int64_t i = 0; i < one.tokens; ++i) positions_.push_back(static_cast<int32_t>(i));
    for (int64_t i = 0; i < one.tokens * width(); ++i) {
      const int64_t token = i / width(), head = i % width() / one.dim, channel = i % one.dim;
      const test::CodeReader reader(layout_, page(token / own));
      stored_keys_.push_back(reader.key(head, token % own, channel));
      stored_values_.push_back(reader.value(head, token % own, channel));
    }
  }
  int64_t width() const { return case_.heads * case_.dim; }
  uint8_t* page(int64_t number) { return memory_.data() + number * layout_.page_bytes; }
  const KvCodeLayout& layout() const { return layout_; }
  const std::vector<float>& keys() const { return keys_; }
  const std::vector<float>& values() const { return values_; }

  // [queries, group, heads, D], `step` queries in a task.
  std::vector<float> run(int64_t step) {
    std::vector<float> out(queries_.size());
    std::vector<float> room(static_cast<size_t>(kMostRows * (case_.dim + kBlockKeys + layout_.wide)) + 16),
        expanded(static_cast<size_t>(expanded_floats(layout_)));
    const std::vector<int32_t> at(kQueries, static_cast<int32_t>(case_.tokens - 1));
    for (int64_t head = 0; head < case_.heads; ++head) {
      std::vector<AttentionPage> pages;
      for (int64_t begin = 0; begin < case_.tokens; begin += kPageKeys) {
        AttentionPage one{nullptr,
                          nullptr,
                          positions_.data() + begin,
                          kPageKeys,
                          static_cast<int32_t>(begin),
                          static_cast<int32_t>(begin + kPageKeys - 1)};
        one.codes = page(begin / layout_.tokens());
        one.head = static_cast<int32_t>(head);
        one.half = static_cast<int32_t>(begin % layout_.tokens() / kPageKeys);
        pages.push_back(one);
      }
      for (int64_t first = 0; first < kQueries; first += step) {
        AttentionTask task;
        task.q = queries_.data() + (first * case_.heads + head) * case_.group * case_.dim;
        task.out = out.data() + (first * case_.heads + head) * case_.group * case_.dim;
        task.q_token = task.out_token = width() * case_.group;
        task.positions = at.data();
        task.tokens = std::min(step, kQueries - first);
        task.group = case_.group;
        task.dim = case_.dim;
        task.wide = layout_.wide;
        task.pages = pages.data();
        task.page_count = static_cast<int64_t>(pages.size());
        task.scale = 1 / std::sqrt(static_cast<float>(case_.dim));
        task.queries = room.data();
        task.scores = room.data() + kMostRows * case_.dim;
        task.mixed = task.scores + kMostRows * kBlockKeys;
        task.codes = &layout_;
        task.expanded = expanded.data();
        (case_.type == DType::kBF16 ? vector_kernels().attend_bf16 : vector_kernels().attend_f32)(task);
      }
    }
    return out;
  }
  std::vector<double> reference() {
    std::vector<double> out;
    for (int64_t query = 0; query < kQueries; ++query) {
      for (int64_t row = 0; row < case_.heads * case_.group; ++row) {
        const std::vector<double> mixed = attended(query * case_.heads * case_.group + row, row / case_.group);
        out.insert(out.end(), mixed.begin(), mixed.end());
      }
    }
    return out;
  }

 private:
  static constexpr int64_t kQueries = 3;
  void write(int64_t number, int64_t first) {
    const float *k = keys_.data() + first, *v = values_.data() + first;
    if (!layout_.by_token) {
      KvBlockWriter writer(layout_);
      for (int64_t head = case_.heads; head-- > 0;)
        writer.write_keys(k + head * case_.dim, width(), head, page(number));
      return writer.write_values(v, width(), page(number));
    }
    // Twice: what a slot held before is gone.
    for (const int64_t shift : {7, 0}) {
      for (int64_t slot = 0; slot < 32; ++slot) {
        for (int64_t head = 0; head < case_.heads; ++head) {
          const int64_t from = (slot + shift) % 32 * width() + head * case_.dim;
          write_token(layout_, head, slot, k + from, v + from, page(number));
        }
      }
    }
  }
  std::vector<double> attended(int64_t row, int64_t head) {
    const float* q = queries_.data() + row * case_.dim;
    std::vector<double> weights, result(static_cast<size_t>(case_.dim));
    double most = -1e300, sum = 0;
    const auto at = [&](int64_t token, int64_t d) {
      return static_cast<size_t>(token * width() + head * case_.dim + d);
    };
    for (int64_t token = 0; token < case_.tokens; ++token) {
      double score = 0;
      for (int64_t d = 0; d < case_.dim; ++d) score += q[d] * stored_keys_[at(token, d)];
      weights.push_back(score / std::sqrt(static_cast<double>(case_.dim)));
      most = std::max(most, weights.back());
    }
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    for (int64_t token = 0; token < case_.tokens; ++token)
      for (int64_t d = 0; d < case_.dim; ++d)
        result[static_cast<size_t>(d)] += weights[static_cast<size_t>(token)] / sum * stored_values_[at(token, d)];
    return result;
  }

  CodedCase case_;
  KvCodeLayout layout_;
  std::vector<float> keys_, values_, queries_;
  std::vector<double> stored_keys_, stored_values_;
  std::vector<uint8_t> memory_;
  std::vector<int32_t> positions_;
};

std::vector<CodedCase> coded_cases() {
  std::vector<CodedCase> all;
  for (const int bits : {2, 4, 8}) {
    for (const int64_t dim : {4, 8, 20, 64, 80, 128}) {
      all.push_back({2, dim, 1, coding_of(bits, 32), DType::kF32, 128});
      all.push_back({3, dim, 3, coding_of(bits, 16, 0.06, 2), DType::kF32, 64});
      all.push_back({2, dim, 2, coding_of(bits, 64, 0.02, 4), DType::kBF16, 64});
      all.push_back({2, dim, 2, token_policy(bits, 32), DType::kF32, 96});
    }
    all.push_back({1, 256, 8, coding_of(bits, 128, 0.02, 17), DType::kF32, 64});
    all.push_back({1, 96, 20, coding_of(bits, 16), DType::kBF16, 320});
    all.push_back({1, 96, 8, token_policy(bits, 128), DType::kBF16, 160});
  }
  return all;
}

TEST(KvCodes, AttentionEqualsPlainLoopsOverWhatPagesHold) {
  const Target best = current_target();
  for (const Target target : available_targets()) {
    set_target(target);
    for (const CodedCase& one : coded_cases()) {
      CodedAttention attention(one);
      const std::vector<double> wanted = attention.reference();
      const std::vector<float> found = attention.run(3);
      double largest = 0;
      for (const double value : wanted) largest = std::max(largest, std::fabs(value));
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_NEAR(found[i], wanted[i], 2e-5 * std::max(1.0, largest))
            << target_name(target) << " D " << one.dim << " bits " << one.policy.bits << " group " << one.policy.group
            << " rank " << one.policy.rank << " by token " << one.policy.evicts() << " at " << i;
      }
      // What stands beside a query does not change a bit of its result.
      EXPECT_EQ(attention.run(1), found) << target_name(target) << " D " << one.dim;
    }
  }
  set_target(best);
}

TEST(KvCodes, PagesHoldWhatTheCoderSays) {
  for (const KvPolicy& policy : {coding_of(4, 32), coding_of(2, 16, 0.1, 3), coding_of(8, 64, 0.02, 0)}) {
    const CodedCase one = {2, 20, 1, policy, DType::kF32, 64};
    CodedAttention written(one);
    const auto decoded = [&](CodeShape shape, const std::vector<float>& x) {
      shape.tokens = 64;
      shape.heads = 2;
      shape.dim = 20;
      shape.bits = policy.bits;
      shape.rank = policy.rank;
      KvCoder coder(shape);
      coder.encode(x.data(), 40);
      std::vector<float> result(x.size());
      coder.decode(result.data());
      return result;
    };
    const KvCodeLayout& layout = written.layout();
    const std::vector<float> keys = decoded(
                                 {.group = layout.key_group, .by_channel = true, .outliers = layout.key_outliers},
                                 written.keys()),
                             values = decoded(
                                 {.group = layout.value_group, .by_channel = false, .outliers = layout.value_outliers},
                                 written.values());
    const test::CodeReader reader(layout, written.page(0));
    // Bytes of the correction's factors are off by 1/254 of each.
    const double tolerance = policy.rank > 0 ? 0.03 : 1e-6;
    for (int64_t token = 0; token < 64; ++token) {
      for (int64_t channel = 0; channel < 40; ++channel) {
        const auto at = static_cast<size_t>(token * 40 + channel);
        ASSERT_NEAR(reader.key(channel / 20, token, channel % 20), keys[at], tolerance);
        ASSERT_NEAR(reader.value(channel / 20, token, channel % 20), values[at], tolerance);
      }
    }
  }
}

// Of 64 tokens of 4 heads of 64 channels: codes; a step and a minimum in float16 for 32 numbers; 6 bytes for an outlier
// of float32, 4 for one of bfloat16; bytes of the correction.
TEST(KvCodes, BytesAreThoseOfEverythingKept) {
  constexpr int64_t kNumbers = 2 * 64 * 256, kFrame = 2 * (4 * 2 + 1) * 4;
  EXPECT_EQ(code_layout(coding_of(4, 32), 4, 64, DType::kF32).page_bytes, kNumbers / 2 + kNumbers / 32 * 4);
  EXPECT_EQ(code_layout(coding_of(2, 64), 4, 64, DType::kF32).page_bytes, kNumbers / 4 + kNumbers / 64 * 4);
  EXPECT_EQ(code_layout(coding_of(8, 64), 4, 64, DType::kF32).page_bytes, kNumbers + kNumbers / 64 * 4);
  const KvCodeLayout gear = code_layout(coding_of(4, 32, 0.02, 4), 4, 64, DType::kBF16);
  EXPECT_EQ(gear.key_outliers, 1);    // of 64 tokens on each side
  EXPECT_EQ(gear.value_outliers, 3);  // of 256 channels
  EXPECT_EQ(gear.all_outliers(), 2 * (256 + 3 * 64));
  const int64_t corrections = 4 * 2 * (4 * (64 + 64) + 4 * 4),
                wanted = kNumbers / 2 + kNumbers / 32 * 4 + corrections + kFrame + gear.all_outliers() * 4;
  EXPECT_GE(gear.page_bytes, wanted);
  EXPECT_LE(gear.page_bytes, wanted + 4 * 64 + 64);  // heads and pages begin at whole lines
  EXPECT_EQ(code_layout(token_policy(4, 64), 4, 64, DType::kF32).page_bytes, kNumbers / 2 / 2 + kNumbers / 2 / 64 * 4);
  // Less than half of bfloat16.
  EXPECT_LT(gear.page_bytes, kNumbers);
  const std::string text = error_text([] { code_layout(coding_of(4, 32), 1, 257, DType::kF32); });
  EXPECT_NE(text.find("257 channels"), std::string::npos) << text;
}

// max - min in 2^bits - 1 steps: nothing is off by more than half of one, float16 aside.
TEST(KvCodes, ErrorsOfTokensAreThoseOfTheirCodes) {
  const std::vector<float> x = {0, 1, 2, 3}, between = {0, 0.25F, 1, 3}, same(64, 0.3F);
  EXPECT_EQ(code_error(x.data(), 4, 2, 4), 0);
  EXPECT_NEAR(code_error(between.data(), 4, 2, 4), 0.25, 1e-6);
  EXPECT_NEAR(code_error(between.data(), 4, 2, 2), 0, 1e-3);
  EXPECT_NEAR(code_error(same.data(), 64, 4, 64), 0, 64 * 1e-4);
  const std::vector<float> many = drawn_numbers(1, 64, 9);
  EXPECT_LT(code_error(many.data(), 64, 8, 32), code_error(many.data(), 64, 4, 32));
  EXPECT_LT(code_error(many.data(), 64, 4, 32), code_error(many.data(), 64, 2, 32));
}

TEST(KvCodes, TokensAreReadAndMoved) {
  for (const int bits : {2, 4, 8}) {
    const KvCodeLayout layout = code_layout(token_policy(bits, 16), 2, 20, DType::kF32);
    std::vector<uint8_t> page(static_cast<size_t>(layout.page_bytes)), other(page.size(), 0xff);
    const std::vector<float> keys = drawn_numbers(32, 40, 1), values = drawn_numbers(32, 40, 2);
    for (int64_t slot = 0; slot < 32; ++slot)
      for (int64_t head = 0; head < 2; ++head)
        write_token(layout, head, slot, keys.data() + (slot * 2 + head) * 20, values.data() + (slot * 2 + head) * 20,
                    page.data());
    for (int64_t slot = 0; slot < 32; ++slot)
      for (int64_t head = 0; head < 2; ++head) copy_token(layout, head, slot, page.data(), 31 - slot, other.data());
    for (int64_t slot = 0; slot < 32; ++slot) {
      for (int64_t head = 0; head < 2; ++head) {
        std::vector<float> k(20), v(20), moved_k(20), moved_v(20);
        read_token(layout, head, slot, page.data(), k.data(), v.data());
        read_token(layout, head, 31 - slot, other.data(), moved_k.data(), moved_v.data());
        EXPECT_EQ(k, moved_k);
        EXPECT_EQ(v, moved_v);
        const test::CodeReader reader(layout, page.data());
        double lost = 0;
        for (int64_t d = 0; d < 20; ++d) {
          const auto at = static_cast<size_t>(d);
          EXPECT_NEAR(k[at], reader.key(head, slot, d), 1e-6);
          EXPECT_NEAR(v[at], reader.value(head, slot, d), 1e-6);
          const double error = static_cast<double>(k[at]) - keys[static_cast<size_t>((slot * 2 + head) * 20 + d)];
          lost += error * error;
        }
        EXPECT_NEAR(std::sqrt(lost), code_error(keys.data() + (slot * 2 + head) * 20, 20, bits, 16), 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace ockham
