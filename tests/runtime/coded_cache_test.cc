// The engine with keys and values in codes: results that depend on the tokens alone, memory that is given back, and
// what the codes cost.
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/runtime/scheduler.h"
#include "ockham/runtime/score_paths.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

EngineOptions coded_options(const std::string& policy, int threads = 1, DType type = DType::kF32) {
  EngineOptions options = test::small_options(threads);
  options.kv = parse_kv_policy("--kv", policy);
  options.cache_type = type;
  options.pass_tokens = 256;
  options.precision = ReadPrecision::kExact;
  return options;
}

std::vector<int32_t> drawn_ids(int64_t count, uint64_t seed) {
  Rng random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.below(500)));
  return ids;
}

// Mean over all logits but those of the first block of (a - b)^2.
double logit_distance(const std::vector<float>& a, const std::vector<float>& b, int64_t vocabulary) {
  double sum = 0;
  const auto first = static_cast<size_t>(64 * vocabulary);
  for (size_t i = first; i < a.size(); ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size() - first));
}

TEST(CodedCache, NeitherCutsNorThreadsNorCompanyChangeABit) {
  const std::vector<int32_t> ids = drawn_ids(200, 3), others = drawn_ids(90, 4);
  for (const std::string policy : {"quantized,bits=2", "gear"}) {
    Engine engine(test::open_model(test::mini()), coded_options(policy));
    const std::vector<float> wanted = test::logits_of(engine, ids);
    const std::vector<std::vector<int64_t>> cuts = {{64, 64, 72}, {1, 63, 1, 135}, {100, 28, 72}, {199, 1}};
    for (const std::vector<int64_t>& cut : cuts) EXPECT_EQ(test::logits_of(engine, ids, cut), wanted) << policy;
    Engine parallel(test::open_model(test::mini()), coded_options(policy, 3));
    EXPECT_EQ(test::logits_of(parallel, ids, {150, 50}), wanted) << policy;

    // Beside another one, whose blocks end elsewhere.
    const int32_t a = parallel.cache().open(), b = parallel.cache().open();
    std::vector<float> found;
    for (int64_t at = 0, other = 0; at < 200; at += 40, other += 18) {
      const TokenSpan spans[] = {{b, std::span(others).subspan(static_cast<size_t>(other), 18), 90},
                                 {a, std::span(ids).subspan(static_cast<size_t>(at), 40), 200}};
      parallel.forward(spans);
      for (int64_t row = 18; row < 58; ++row) {
        const float* hidden = parallel.hidden(row);
        const float* logits = parallel.logits({&hidden, 1}, false);
        found.insert(found.end(), logits, logits + parallel.config().vocabulary);
      }
    }
    EXPECT_EQ(found, wanted) << policy;
  }
}

TEST(CodedCache, TokensOfTheFirstBlockSeeFloats) {
  const std::vector<int32_t> ids = drawn_ids(64, 5);
  Engine full(test::open_model(test::mini()), coded_options("full")),
      coded(test::open_model(test::mini()), coded_options("quantized,bits=2"));
  EXPECT_EQ(test::logits_of(coded, ids), test::logits_of(full, ids));
}

TEST(CodedCache, RepairsAndBitsBringLogitsNearer) {
  for (const int64_t length : {100, 220}) {
    const std::vector<int32_t> ids = drawn_ids(length, 6);
    const auto lost = [&](const std::string& policy, DType type = DType::kF32) {
      Engine full(test::open_model(test::mini()), coded_options("full")),
          coded(test::open_model(test::mini()), coded_options(policy, 1, type));
      return logit_distance(test::logits_of(coded, ids), test::logits_of(full, ids), full.config().vocabulary);
    };
    const double plain = lost("quantized"), gear = lost("gear");
    EXPECT_GT(gear, 0);
    EXPECT_LT(gear, plain) << length;
    EXPECT_LT(lost("gear", DType::kBF16), plain) << length;
    EXPECT_LT(plain, lost("quantized,bits=2"));
    EXPECT_LT(lost("quantized,bits=8"), plain / 4);
    EXPECT_LT(lost("gear,bits=2"), lost("quantized,bits=2"));
  }
}

// Texts that the model draws itself, so that they are such as it knows.
std::vector<std::vector<int32_t>> drawn_texts(int64_t count, int64_t tokens) {
  Engine engine(test::open_model(test::mini()), coded_options("full", 2));
  Scheduler scheduler(engine, true);
  std::vector<std::vector<int32_t>> texts(static_cast<size_t>(count), std::vector<int32_t>{0});
  for (std::vector<int32_t>& text : texts) {
    GenerationRequest request;
    request.prompt = text;
    request.max_tokens = tokens;
    request.seed = static_cast<uint64_t>(&text - texts.data());
    request.sampler.temperature = 1;
    request.on_token = [&text](const SampledToken& token) {
      text.push_back(token.id);
      return true;
    };
    scheduler.add(std::move(request));
  }
  scheduler.run();
  return texts;
}
double coded_perplexity(const std::string& policy, const std::vector<std::vector<int32_t>>& texts) {
  Engine engine(test::open_model(test::mini()), coded_options(policy, 2));
  std::vector<ScoredPath> paths;
  for (const std::vector<int32_t>& text : texts) paths.push_back({.tokens = text, .first_target = 65});
  double sum = 0, count = 0;
  for (const std::vector<TokenScore>& scores : score_paths(engine, paths)) {
    for (const TokenScore& score : scores) sum -= score.logprob;
    count += static_cast<double>(scores.size());
  }
  return std::exp(sum / count);
}
TEST(CodedCache, FourBitsAndRepairsLeavePerplexityWhereItWas) {
  const std::vector<std::vector<int32_t>> texts = drawn_texts(4, 400);
  const double full = coded_perplexity("full", texts);
  const double gear = coded_perplexity("gear", texts);
  EXPECT_NEAR(gear / full, 1, 0.01);
  EXPECT_NEAR(coded_perplexity("quantized,bits=8", texts) / full, 1, 0.01);
  EXPECT_GT(std::fabs(coded_perplexity("quantized,bits=2", texts) - full), std::fabs(gear - full));
}

TEST(CodedCache, ForksAtWholeBlocksAndInTheLastOne) {
  const std::vector<int32_t> ids = drawn_ids(200, 7);
  Engine engine(test::open_model(test::mini()), coded_options("gear"));
  PagedCache& cache = engine.cache();
  const int64_t all = cache.free_pages();
  const std::vector<float> wanted = test::logits_of(engine, ids);
  EXPECT_EQ(cache.free_pages(), all);
  const int64_t vocabulary = engine.config().vocabulary;
  const int32_t parent = cache.open();
  const TokenSpan prompt{parent, std::span(ids).first(150), 200};
  engine.forward({&prompt, 1});
  EXPECT_EQ(cache.shareable(150), 128);
  for (const int64_t shared : {64, 128, 140, 150}) {
    const int32_t child = cache.fork(parent, shared);
    if (shared % 64 == 0) {
      EXPECT_EQ(cache.references(parent, 0), 2);
    }
    const int64_t before = cache.free_pages(), missing = cache.missing_pages(child, 200 - shared);
    const TokenSpan rest{child, std::span(ids).subspan(static_cast<size_t>(shared)), 200};
    engine.forward({&rest, 1});
    EXPECT_EQ(before - cache.free_pages(), missing);
    for (int64_t row = 0; row < 200 - shared; ++row) {
      const float* hidden = engine.hidden(row);
      const float* logits = engine.logits({&hidden, 1}, false);
      ASSERT_TRUE(std::equal(logits, logits + vocabulary, wanted.begin() + (shared + row) * vocabulary))
          << shared << " at " << row;
    }
    cache.close(child);
  }
  cache.close(parent);
  EXPECT_EQ(cache.free_pages(), all);
}

TEST(CodedCache, SharedPrefixesScoreAsTextsAlone) {
  std::vector<std::vector<int32_t>> texts;
  for (int i = 0; i < 6; ++i) {
    texts.push_back(drawn_ids(150, 8));
    texts.back().resize(static_cast<size_t>(60 + 15 * i));
    for (const int32_t id : drawn_ids(20, static_cast<uint64_t>(i))) texts.back().push_back(id);
  }
  std::vector<ScoredPath> paths;
  for (const std::vector<int32_t>& text : texts) paths.push_back({.tokens = text, .first_target = 30});
  Engine engine(test::open_model(test::mini()), coded_options("gear,bits=2"));
  const auto together = score_paths(engine, paths);
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto alone = score_paths(engine, {&paths[i], 1});
    for (size_t j = 0; j < alone[0].size(); ++j)
      ASSERT_EQ(alone[0][j].logprob, together[i][j].logprob) << i << ' ' << j;
  }
}

TEST(CodedCache, RequestsTakeTurnsWhereMemoryIsShort) {
  std::vector<std::vector<int32_t>> answers[2];
  for (const bool is_short : {false, true}) {
    EngineOptions options = coded_options("gear");
    Engine probe(test::open_model(test::mini()), options);
    const KvShape& shape = probe.cache().shape();
    options.longest_context = 200;
    if (is_short) options.cache_bytes = 0;
    Engine engine(test::open_model(test::mini()), options);
    if (is_short) {
      EXPECT_EQ(engine.cache().pages(), PagedCache::needed_pages(shape, 200) + 1);
    }
    Scheduler scheduler(engine, true);
    std::vector<std::vector<int32_t>> texts(4);
    for (size_t i = 0; i < texts.size(); ++i) {
      GenerationRequest request;
      request.prompt = drawn_ids(70 + 20 * static_cast<int64_t>(i), 9);
      request.max_tokens = 40;
      request.on_token = [&texts, i](const SampledToken& token) {
        texts[i].push_back(token.id);
        return true;
      };
      scheduler.add(std::move(request));
    }
    scheduler.run();
    answers[is_short ? 1 : 0] = texts;
    scheduler.clear();
    EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
  }
  EXPECT_EQ(answers[0], answers[1]);
  for (const std::vector<int32_t>& text : answers[0]) EXPECT_EQ(text.size(), size_t{40});
}

// Of a policy that drops tokens, before it has dropped any.
TEST(CodedCache, TokensOfTheirOwnScalesNeedNoBlocks) {
  const std::vector<int32_t> ids = drawn_ids(100, 10);
  Engine full(test::open_model(test::mini()), coded_options("full"));
  const std::vector<float> wanted = test::logits_of(full, ids);
  double last = 1e9;
  for (const std::string policy :
       {"local,budget=1000,bits=2", "local,budget=1000,bits=4", "local,budget=1000,bits=8"}) {
    Engine engine(test::open_model(test::mini()), coded_options(policy));
    const std::vector<float> found = test::logits_of(engine, ids);
    EXPECT_EQ(test::logits_of(engine, ids, {30, 1, 69}), found);
    const double lost = logit_distance(found, wanted, full.config().vocabulary);
    EXPECT_GT(lost, 0);
    EXPECT_LT(lost, last / 2) << policy;
    last = lost;
  }
}

// Dropping tokens, moving those that stay, merging and late rotations, all of them in codes.
TEST(CodedCache, PoliciesThatDropTokensKeepCodes) {
  const std::vector<int32_t> ids = drawn_ids(120, 11);
  for (const std::string policy : {"qhitter,budget=40,lambda=1,bits=", "h2o,budget=40,positions=rolling,bits=",
                                   "merge,budget=40,chunk=16,bits="}) {
    std::vector<std::vector<float>> found;
    for (const std::string bits : {"0", "8", "4", "2"}) {
      EngineOptions options = coded_options(policy + bits);
      Engine engine(test::open_model(test::mini()), options);
      const int32_t sequence = engine.open(options.kv, 100, 120);
      std::vector<float>& logits = found.emplace_back();
      for (size_t at = 0; at < 120; at += at < 100 ? 100 : 1) {
        const TokenSpan span{sequence, std::span(ids).subspan(at, at < 100 ? 100 : 1), 120, at >= 100,
                             at < 100 ? KvCut::kPrompt : KvCut::kNone};
        engine.forward({&span, 1});
        const float* hidden = engine.hidden(at < 100 ? 99 : 0);
        const float* row = engine.logits({&hidden, 1}, true);
        logits.insert(logits.end(), row, row + engine.config().vocabulary);
      }
      EXPECT_EQ(engine.cache().slots(sequence), 41) << policy << bits;  // one of them free
      engine.cache().close(sequence);
    }
    double last = 0;
    for (size_t i = 1; i < found.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < found[0].size(); ++j) sum += std::pow(static_cast<double>(found[i][j]) - found[0][j], 2);
      EXPECT_GT(sum, last) << policy << " variant " << i;
      last = sum;
    }
  }
}

TEST(CodedCache, SaysWhatItCannotDo) {
  try {
    const Engine engine(test::open_model(test::mini()), coded_options("gear", 1, DType::kI8));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'gear'"), std::string::npos) << error.what();
  }
  Engine engine(test::open_model(test::mini()), coded_options("gear"));
  try {
    engine.open(parse_kv_policy("--kv", "h2o"), 10, 20);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'h2o'"), std::string::npos) << error.what();
  }
}

// Short texts take tails, a long one pages of codes: whatever came before, memory is what the pages say.
TEST(CodedCache, MemoryStaysWithinThePages) {
  constexpr int64_t kPages = 96;
  const CodedShape shape = {code_layout(parse_kv_policy("--kv", "gear"), 8, 128, DType::kBF16), 4,
                            64 * 2 * 2 * 8 * 128};
  CodedPages pages(shape, kPages, 1 << 20);
  const auto fill = [&](int32_t sequence, int64_t tokens) {
    pages.open(sequence);
    pages.append(sequence, 0, tokens);
    std::memset(pages.tail(sequence, 0), sequence + 1, static_cast<size_t>(shape.blocks * shape.tail_bytes));
    for (int64_t number = 0; number < tokens / CodedPages::kTokens; ++number)
      std::memset(pages.page(sequence, number, 0), sequence + 1, static_cast<size_t>(shape.page_bytes()));
    EXPECT_LE(pages.written_pages(), kPages);
  };
  const auto holds = [&](int32_t sequence, int64_t tokens) {
    const auto is_own = [&](uint8_t byte) { return byte == sequence + 1; };
    const uint8_t* const tail = pages.tail(sequence, 0);
    bool result = std::all_of(tail, tail + shape.blocks * shape.tail_bytes, is_own);
    for (int64_t number = 0; number < tokens / CodedPages::kTokens; ++number) {
      const uint8_t* const page = pages.page(sequence, number, 0);
      result = result && std::all_of(page, page + shape.page_bytes(), is_own);
    }
    return result;
  };
  const auto all_tails = static_cast<int32_t>(kPages / shape.tail_pages());
  for (int32_t sequence = 0; sequence < all_tails; ++sequence) fill(sequence, 10);
  EXPECT_EQ(pages.written_pages(), all_tails * shape.tail_pages());
  for (int32_t sequence = 1; sequence < all_tails; ++sequence) pages.close(sequence);
  const int64_t longest = (pages.free_pages() - shape.tail_pages() + 1) * CodedPages::kTokens - 1;
  fill(1, longest);
  EXPECT_EQ(pages.free_pages(), 0);
  EXPECT_TRUE(holds(0, 10));
  EXPECT_TRUE(holds(1, longest));
  // And short ones again.
  pages.close(1);
  for (int32_t sequence = 1; sequence < all_tails; ++sequence) fill(sequence, 20);
  for (int32_t sequence = 0; sequence < all_tails; ++sequence) EXPECT_TRUE(holds(sequence, 10)) << sequence;
}

// Beside bfloat16, of TinyLlama's heads: the codes themselves, tails aside.
TEST(CodedCache, TakesLessThanHalfOfBfloat16) {
  KvShape shape = {22, 4, 64, DType::kBF16, {}};
  const int64_t floats = PagedCache::page_bytes(shape) * PagedCache::needed_pages(shape, 8192);
  shape.policy = parse_kv_policy("--kv", "gear");
  EXPECT_LT(2 * PagedCache::page_bytes(shape) * PagedCache::needed_pages(shape, 8192), floats);
  shape.policy = parse_kv_policy("--kv", "quantized,bits=2,group=64");
  EXPECT_LT(6 * PagedCache::page_bytes(shape) * PagedCache::needed_pages(shape, 8192), floats);
}

}  // namespace
}  // namespace ockham
