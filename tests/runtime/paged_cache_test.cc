#include "ockham/runtime/paged_cache.h"

#include <cmath>

#include "ockham/core/half.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

const KvShape kShape = {2, 3, 8, DType::kF32, {}};

// Keys and values of token `index` of a sequence that is called `name`.
float key_of(int name, int64_t index, int64_t block, int64_t d) {
  return static_cast<float>(1000 * name + 10 * index + 100000 * block) + static_cast<float>(d) / 64;
}

void append(PagedCache& cache, int32_t sequence, int name, int64_t tokens) {
  const int64_t width = cache.shape().kv_heads * cache.shape().head_dim;
  const int64_t first = cache.length(sequence);
  cache.append(sequence, tokens);
  std::vector<float> k(static_cast<size_t>(width)), v(static_cast<size_t>(width));
  for (int64_t index = first; index < first + tokens; ++index) {
    for (int64_t block = 0; block < cache.shape().blocks; ++block) {
      for (int64_t d = 0; d < width; ++d) {
        k[static_cast<size_t>(d)] = key_of(name, index, block, d);
        v[static_cast<size_t>(d)] = -key_of(name, index, block, d);
      }
      cache.store(block, sequence, index, k.data(), v.data());
    }
  }
}

// Token `index` holds what append() wrote for `name`.
void expect_token(const PagedCache& cache, int32_t sequence, int64_t index, int name) {
  const int64_t dim = cache.shape().head_dim, slot = index % kPageKeys;
  for (int64_t block = 0; block < cache.shape().blocks; ++block) {
    for (int64_t head = 0; head < cache.shape().kv_heads; ++head) {
      const AttentionPage page = cache.view(sequence, index / kPageKeys, block, head);
      ASSERT_LT(slot, page.count);
      EXPECT_EQ(page.positions[slot], index);
      EXPECT_TRUE(page.first <= index && index <= page.last);
      for (int64_t d = 0; d < dim; ++d) {
        const float wanted = key_of(name, index, block, head * dim + d);
        const int64_t at = d * kPageKeys + slot, place = slot * cache.value_width() + d;
        if (cache.shape().type == DType::kF32) {
          EXPECT_EQ(static_cast<const float*>(page.keys)[at], wanted);
          EXPECT_EQ(static_cast<const float*>(page.values)[place], -wanted);
        } else {
          EXPECT_EQ(static_cast<const uint16_t*>(page.keys)[at], float_to_bfloat16(wanted));
          EXPECT_EQ(static_cast<const uint16_t*>(page.values)[place], float_to_bfloat16(-wanted));
        }
      }
    }
  }
}

TEST(PagedCache, KeepsTokensOverPages) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    KvShape shape = kShape;
    shape.type = type;
    PagedCache cache(shape, 8, 100);
    const int32_t a = cache.open(), b = cache.open();
    for (const int64_t tokens : {1, 30, 5, 40}) append(cache, a, 1, tokens);
    append(cache, b, 2, 33);
    for (int64_t i = 0; i < 76; ++i) expect_token(cache, a, i, 1);
    for (int64_t i = 0; i < 33; ++i) expect_token(cache, b, i, 2);
    EXPECT_EQ(cache.free_pages(), 8 - 3 - 2);
    EXPECT_EQ(cache.next_position(a), 76);
    cache.close(a);
    EXPECT_EQ(cache.free_pages(), 6);
    const int32_t c = cache.open();
    EXPECT_EQ(c, a);
    EXPECT_EQ(cache.length(c), 0);
    append(cache, c, 3, 2);
    expect_token(cache, c, 1, 3);
  }
}

TEST(PagedCache, ForksShareUntilTheyWrite) {
  PagedCache cache(kShape, 16, 100);
  const int32_t parent = cache.open();
  append(cache, parent, 1, 40);
  const int32_t child = cache.fork(parent, 40), early = cache.fork(parent, 20), none = cache.fork(parent, 0);
  EXPECT_EQ(cache.free_pages(), 14);
  EXPECT_EQ(cache.references(parent, 0), 3);
  EXPECT_EQ(cache.references(parent, 1), 2);
  EXPECT_EQ(cache.length(none), 0);
  EXPECT_EQ(cache.next_position(early), 20);

  // A page that is full stays shared; the last one is copied by whoever writes first.
  EXPECT_EQ(cache.missing_pages(child, 3), 1);
  append(cache, child, 2, 3);
  EXPECT_EQ(cache.references(child, 0), 3);
  EXPECT_EQ(cache.references(child, 1), 1);
  EXPECT_EQ(cache.references(parent, 1), 1);
  EXPECT_EQ(cache.missing_pages(parent, 3), 0);
  append(cache, parent, 1, 3);
  EXPECT_EQ(cache.free_pages(), 13);
  // Inside a page of the parent.
  append(cache, early, 3, 15);
  EXPECT_EQ(cache.references(early, 0), 1);
  EXPECT_EQ(cache.references(parent, 0), 2);
  for (int64_t i = 0; i < 43; ++i) {
    expect_token(cache, parent, i, 1);
    expect_token(cache, child, i, i < 40 ? 1 : 2);
  }
  for (int64_t i = 0; i < 35; ++i) expect_token(cache, early, i, i < 20 ? 1 : 3);

  cache.close(parent);
  expect_token(cache, child, 5, 1);
  for (const int32_t sequence : {child, early, none}) cache.close(sequence);
  EXPECT_EQ(cache.free_pages(), 16);
}

TEST(PagedCache, AFullCacheSaysSo) {
  PagedCache cache(kShape, 2, 100);
  const int32_t a = cache.open();
  append(cache, a, 1, 64);
  const std::string text = error_text([&] { cache.append(a, 1); }, ErrorKind::kResource);
  EXPECT_NE(text.find("64 tokens"), std::string::npos) << text;
}

}  // namespace
}  // namespace ockham
