// Shared prefixes give the bits that each path gets alone.
#include "ockham/runtime/score_paths.h"

#include <random>

#include "ockham/core/error.h"
#include "ockham/runtime/sampler.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

// Every path alone, token by token from plain logits.
std::vector<TokenScore> alone(Engine& engine, const ScoredPath& path) {
  const std::vector<float> logits = test::logits_of(engine, {path.tokens.begin(), path.tokens.end() - 1});
  const auto vocabulary = static_cast<size_t>(engine.config().vocabulary);
  std::vector<TokenScore> result;
  for (auto i = static_cast<size_t>(path.first_target); i < path.tokens.size(); ++i) {
    const float* line = logits.data() + (i - 1) * vocabulary;
    const double all = vector_kernels().log_sum_exp(line, static_cast<int64_t>(vocabulary));
    const int32_t best = first_maximum(line, static_cast<int64_t>(vocabulary));
    result.push_back({static_cast<float>(line[path.tokens[i]] - all), best == path.tokens[i]});
  }
  return result;
}

std::vector<int32_t> random_ids(std::mt19937& random, size_t count, int32_t vocabulary) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary));
  return ids;
}

// Few-shot questions with several continuations, repeated paths, paths that are prefixes of others, unrelated ones.
std::vector<ScoredPath> make_paths(int32_t vocabulary) {
  std::mt19937 random(3);
  std::vector<ScoredPath> paths;
  const std::vector<int32_t> shots = random_ids(random, 70, vocabulary);
  for (int question = 0; question < 6; ++question) {
    std::vector<int32_t> context = shots;
    const std::vector<int32_t> own = random_ids(random, 5 + 7 * static_cast<size_t>(question), vocabulary);
    context.insert(context.end(), own.begin(), own.end());
    for (size_t choice = 0; choice < 4; ++choice) {
      ScoredPath path{context, static_cast<int64_t>(context.size())};
      const std::vector<int32_t> continuation = random_ids(random, 1 + choice * (question % 2), vocabulary);
      path.tokens.insert(path.tokens.end(), continuation.begin(), continuation.end());
      paths.push_back(std::move(path));
    }
  }
  paths.push_back(paths[3]);
  paths.push_back({shots, 1});
  paths.push_back({random_ids(random, 2, vocabulary), 1});
  paths.push_back({random_ids(random, 90, vocabulary), 1});
  return paths;
}

TEST(ScorePaths, EqualPathsAlone) {
  Engine engine(test::open_model(test::mini()), test::small_options(2));
  const std::vector<ScoredPath> paths = make_paths(static_cast<int32_t>(engine.config().vocabulary));
  const std::vector<std::vector<TokenScore>> scores = score_paths(engine, paths);
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
  ASSERT_EQ(scores.size(), paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::vector<TokenScore> wanted = alone(engine, paths[i]);
    ASSERT_EQ(scores[i].size(), wanted.size()) << i;
    for (size_t t = 0; t < wanted.size(); ++t) {
      EXPECT_EQ(scores[i][t].logprob, wanted[t].logprob) << i << " " << t;
      EXPECT_EQ(scores[i][t].is_best, wanted[t].is_best) << i << " " << t;
    }
  }
}

TEST(ScorePaths, ASmallCacheOrPassChangesNothing) {
  Engine large(test::open_model(test::mini()), test::small_options(1));
  const std::vector<ScoredPath> paths = make_paths(static_cast<int32_t>(large.config().vocabulary));
  const std::vector<std::vector<TokenScore>> wanted = score_paths(large, paths);
  EngineOptions options = test::small_options(2);
  const ModelConfig& config = large.config();
  options.cache_bytes = 9 * PagedCache::page_bytes({config.blocks, config.kv_heads, config.head_dim, DType::kF32});
  options.pass_tokens = 24;
  options.longest_context = 256;
  Engine small(test::open_model(test::mini()), options);
  ASSERT_LT(small.cache().pages(), 12);
  const std::vector<std::vector<TokenScore>> found = score_paths(small, paths);
  for (size_t i = 0; i < paths.size(); ++i) {
    ASSERT_EQ(found[i].size(), wanted[i].size());
    for (size_t t = 0; t < wanted[i].size(); ++t) EXPECT_EQ(found[i][t].logprob, wanted[i][t].logprob) << i << " " << t;
  }
  EXPECT_EQ(small.cache().free_pages(), small.cache().pages());
}

TEST(ScorePaths, AnErrorLeavesNothingInTheCache) {
  EngineOptions options = test::small_options();
  options.cache_bytes = 1;
  options.longest_context = 40;
  Engine engine(test::open_model(test::mini()), options);
  const std::vector<ScoredPath> foreign = {{{1, 2, 3}, 1}, {{1, 2, 999999999, 4}, 1}},
                                too_long = {{{1, 2, 3}, 1}, {std::vector<int32_t>(200, 5), 1}};
  EXPECT_THROW(score_paths(engine, foreign), Error);
  EXPECT_THROW(score_paths(engine, too_long), Error);
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
}

}  // namespace
}  // namespace ockham
