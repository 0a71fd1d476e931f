// Policies of the KV cache in the engine: against plain loops, the same bits however passes and company are, memory
// that is given back.
#include <random>

#include "ockham/core/error.h"
#include "ockham/runtime/score_paths.h"
#include "tests/io/scratch.h"
#include "tests/model/family_files.h"
#include "tests/runtime/engine_fixture.h"
#include "tests/runtime/plain_llama.h"

namespace ockham {
namespace {

KvPolicy cut_policy(const std::string& text) {
  return parse_kv_policy("test", text);
}

const std::vector<std::string>& evicting() {
  static const std::vector<std::string> kTexts = {"local,budget=0.4",
                                                  "local,budget=16,positions=rolling,chunk=8",
                                                  "streaming,budget=20,sinks=3",
                                                  "streaming,budget=20,sinks=3,chunk=12",
                                                  "h2o,budget=0.3",
                                                  "h2o,budget=24,sinks=2,chunk=10",
                                                  "h2o,budget=0.4,positions=rolling",
                                                  "strided,budget=0.4",
                                                  "strided,budget=0.5,heavy=0.5",
                                                  "fixed,budget=0.4",
                                                  "fixed,budget=24,heavy=0.5,chunk=16",
                                                  "merge,budget=0.4",
                                                  "merge,budget=0.3,positions=rolling,chunk=9",
                                                  "h2o,budget=0.3,layers=pyramid",
                                                  "h2o,budget=0.7,layers=pyramid,chunk=10",
                                                  "local,budget=20,sinks=2,layers=pyramid,chunk=16",
                                                  "merge,budget=24,layers=pyramid",
                                                  "qhitter,budget=0.4",
                                                  "qhitter,budget=0.3,lambda=0.3,bits=0",
                                                  "qhitter,budget=24,heavy=0.5,chunk=10,bits=0",
                                                  "qhitter,budget=0.4,heavy=0"};
  return kTexts;
}

std::vector<int32_t> drawn_ids(size_t count, uint32_t seed, int32_t vocabulary) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(vocabulary));
  return ids;
}

// Logits of all tokens: a prompt in passes of at most `most` tokens, then step by step.
std::vector<float> logits_under(Engine& engine, const KvPolicy& policy, const std::vector<int32_t>& ids, int64_t prompt,
                                int64_t most) {
  const auto count = static_cast<int64_t>(ids.size());
  std::vector<float> result;
  const int32_t sequence = engine.open(policy, prompt, count);
  for (int64_t at = 0; at < count;) {
    const int64_t next = next_kv_cut(policy, at, prompt), take = std::min(most, next - at);
    const KvCut cut = at + take < next ? KvCut::kNone : at < prompt ? KvCut::kPrompt : KvCut::kStep;
    const TokenSpan span{sequence, std::span(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(take)), count,
                         false, cut};
    engine.forward({&span, 1});
    for (int64_t row = 0; row < take; ++row) {
      const float* hidden = engine.hidden(row);
      const float* logits = engine.logits({&hidden, 1}, false);
      result.insert(result.end(), logits, logits + engine.config().vocabulary);
    }
    at += take;
  }
  engine.cache().close(sequence);
  return result;
}

TEST(KvEviction, EqualsPlainLoops) {
  for (const std::string& path : {test::mini(), test::stories()}) {
    if (path == test::stories() && !test::has_stories()) continue;
    EngineOptions options = test::small_options(2);
    options.precision = ReadPrecision::kExact;
    Engine engine(test::open_model(path), options);
    const auto vocabulary = static_cast<size_t>(engine.config().vocabulary);
    for (const std::string& text : evicting()) {
      const KvPolicy policy = cut_policy(text);
      if (policy.is_quantized()) continue;  // the loops have no codes
      constexpr int64_t kPrompt = 40;
      const std::vector<int32_t> ids = drawn_ids(64, 5, static_cast<int32_t>(vocabulary));
      const std::vector<float> found = logits_under(engine, policy, ids, kPrompt, 512);
      test::PlainLlama plain(path, policy);
      for (size_t i = 0; i < ids.size(); ++i) {
        const std::vector<double> wanted = plain.step(ids[i]);
        double worst = 0;
        for (size_t t = 0; t < vocabulary; ++t)
          worst = std::max(worst, std::fabs(wanted[t] - static_cast<double>(found[i * vocabulary + t])));
        ASSERT_LT(worst, 1e-3) << path << " " << text << " token " << i;
        const auto read = static_cast<int64_t>(i) + 1;
        const int64_t before = next_kv_cut(policy, read - 1, kPrompt);
        if (before == read) plain.cut(read <= kPrompt);
      }
      EXPECT_EQ(static_cast<int64_t>(plain.entries(0)), policy.budget_of(64, 0, plain.config().blocks)) << text;
    }
  }
}

TEST(KvEviction, AWholeBudgetGivesTheBitsOfAFullCache) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    EngineOptions options = test::small_options(1);
    options.cache_type = type;
    Engine engine(test::open_model(test::mini()), options);
    const std::vector<int32_t> ids = drawn_ids(90, 6, 2048);
    const std::vector<float> full = logits_under(engine, KvPolicy(), ids, 60, 512);
    for (const std::string name : {"local", "streaming", "h2o", "strided", "fixed", "merge", "qhitter"}) {
      EXPECT_EQ(logits_under(engine, cut_policy(name + ",budget=1"), ids, 60, 512), full) << name;
      // A number of tokens that is never exceeded goes all the ways of eviction but the last. Rolling keys are rotated
      // behind the cache, which is the same where it does not round.
      for (const std::string positions : {"absolute", "rolling"}) {
        if (positions == "rolling" && type != DType::kF32) continue;
        const KvPolicy policy = cut_policy(name + ",budget=90,positions=" + positions);
        EXPECT_EQ(logits_under(engine, policy, ids, 60, 512), full) << name << " " << positions;
      }
    }
  }
}

TEST(KvEviction, PassesOfAnyLengthGiveTheSameBits) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    EngineOptions options = test::small_options(1);
    options.cache_type = type;
    Engine one(test::open_model(test::mini()), options);
    options.threads = 3;
    Engine three(test::open_model(test::mini()), options);
    const std::vector<int32_t> ids = drawn_ids(120, 7, 2048);
    for (const std::string& text : evicting()) {
      const KvPolicy policy = cut_policy(text);
      const std::vector<float> whole = logits_under(one, policy, ids, 100, 512);
      EXPECT_EQ(logits_under(three, policy, ids, 100, 7), whole) << text;
      if (type != DType::kF32) continue;
      EXPECT_EQ(logits_under(three, policy, ids, 100, 1), whole) << text;
    }
  }
}

class KvFamilies : public testing::TestWithParam<std::string> {};

TEST_P(KvFamilies, GiveTheSameBitsUnderAPolicyOrRefuseIt) {
  const Json golden = read_json_file(test::golden_path(GetParam()));
  Scratch scratch;
  test::write_family(golden, scratch.path());
  Engine engine(test::open_model(scratch.path()), test::small_options(2));
  const ModelConfig& config = engine.config();
  const std::vector<int32_t> ids = drawn_ids(24, 8, 32);
  const bool can_roll = config.has_rope && config.sliding.empty() && !config.rope.depends_on_length();
  for (const std::string& text : evicting()) {
    const KvPolicy policy = cut_policy(text);
    if (policy.positions == KvPolicy::Positions::kRolling && !can_roll) {
      const std::string error = error_text([&] { engine.check(policy); }, ErrorKind::kUsage);
      EXPECT_NE(error.find("positions=absolute"), std::string::npos) << error;
      continue;
    }
    const std::vector<float> whole = logits_under(engine, policy, ids, 18, 512);
    EXPECT_EQ(logits_under(engine, policy, ids, 18, 5), whole) << text;
    for (const float value : whole) ASSERT_TRUE(std::isfinite(value)) << text;
  }
}
INSTANTIATE_TEST_SUITE_P(Goldens, KvFamilies, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

TEST(KvEviction, PagesGoBackAndACutSequenceIsForked) {
  EngineOptions options = test::small_options(1);
  Engine engine(test::open_model(test::mini()), options);
  PagedCache& cache = engine.cache();
  const std::vector<int32_t> ids = drawn_ids(300, 9, 2048);
  for (const char* text : {"h2o,budget=0.2", "merge,budget=0.2", "streaming,budget=60"}) {
    cache.reset_use();
    const int32_t sequence = engine.open(cut_policy(text), 300, 400);
    const TokenSpan prompt{sequence, ids, 300, false, KvCut::kPrompt};
    engine.forward({&prompt, 1});
    EXPECT_EQ(cache.slots(sequence), 60);
    EXPECT_EQ(cache.pages() - cache.free_pages(), 2);
    EXPECT_EQ(cache.use().most_pages, 10);
    // Two that go on alike, one of them alone: what each writes is its own.
    ASSERT_TRUE(cache.can_fork(sequence, 300));
    EXPECT_FALSE(cache.can_fork(sequence, 299));
    const int32_t fork = cache.fork(sequence, 300);
    std::vector<std::vector<float>> hidden;
    for (const int32_t own : {fork, sequence}) {
      for (int32_t token = 0; token < 12; ++token) {
        const TokenSpan step{own, {&ids[static_cast<size_t>(token)], 1}, 0, true};
        engine.forward({&step, 1});
      }
      hidden.emplace_back(engine.hidden(0), engine.hidden(0) + engine.width());
    }
    EXPECT_EQ(hidden[0], hidden[1]) << text;
    cache.close(fork);
    cache.close(sequence);
    EXPECT_EQ(cache.free_pages(), cache.pages());
    EXPECT_EQ(cache.use().tokens_read, 2 * 312);
    EXPECT_EQ(cache.use().prompt_cuts, 1);
    if (std::string(text).starts_with("h2o")) {
      EXPECT_GT(cache.use().kept_mass(), 0.2);
      EXPECT_LT(cache.use().kept_mass(), 1);
    }
  }
}

TEST(KvEviction, ALongTextGoesOnBeyondTheContext) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  const KvPolicy policy = cut_policy("streaming,budget=64,chunk=16");
  EXPECT_TRUE(engine.fits(policy, 5000, 6000));
  EXPECT_FALSE(engine.fits(cut_policy("h2o,budget=64,chunk=16"), 5000, 6000));
  const std::vector<int32_t> ids = drawn_ids(2300, 10, 2048);
  const std::vector<float> logits = logits_under(engine, policy, ids, 2290, 16);
  for (size_t i = logits.size() - 2048; i < logits.size(); ++i) ASSERT_TRUE(std::isfinite(logits[i]));
  EXPECT_LE(engine.cache().use().most_pages, PagedCache::pages_of(80));
}

// One block and head of keys of four dimensions.
class Merging : public testing::Test {
 protected:
  Merging() : cache_({1, 1, 4, DType::kF32}, 8, 64) {}
  void open(const std::string& text, const std::vector<std::vector<float>>& keys,
            const std::vector<std::vector<float>>& values) {
    sequence_ = cache_.open(cut_policy(text), 16);
    cache_.append(sequence_, static_cast<int64_t>(keys.size()));
    for (size_t i = 0; i < keys.size(); ++i)
      cache_.store(0, sequence_, static_cast<int64_t>(i), keys[i].data(), values[i].data());
  }
  std::vector<float> key(int64_t slot) const {
    std::vector<float> result;
    const AttentionPage page = cache_.view(sequence_, 0, 0, 0);
    for (int64_t d = 0; d < 4; ++d) result.push_back(static_cast<const float*>(page.keys)[d * kPageKeys + slot]);
    return result;
  }
  std::vector<float> attend(const std::vector<float>& q) const {
    std::vector<float> out(4), room(4096);
    const AttentionPage page = cache_.view(sequence_, 0, 0, 0);
    const int32_t position = 100;
    AttentionTask task;
    task.q = q.data();
    task.out = out.data();
    task.positions = &position;
    task.tokens = 1;
    task.dim = 4;
    task.wide = 16;
    task.pages = &page;
    task.page_count = 1;
    task.queries = room.data();
    task.scores = task.queries + 64;
    task.mixed = task.scores + kBlockKeys;
    vector_kernels().attend_f32(task);
    return out;
  }
  PagedCache cache_;
  int32_t sequence_ = -1;
};

TEST_F(Merging, WeighsByWhatASlotHolds) {
  const std::vector<std::vector<float>> keys = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 1}};
  open("merge,budget=2,heavy=0", keys, keys);
  cache_.choice(sequence_).head(0, 0).weights[0] = 3;
  cache_.cut(sequence_, KvCut::kPrompt);
  ASSERT_EQ(cache_.slots(sequence_), 2);
  EXPECT_EQ(key(0), (std::vector<float>{.75F, .25F, 0, 0}));
  EXPECT_EQ(cache_.choice(sequence_).head(0, 0).weights[0], 4);
  EXPECT_EQ(cache_.choice(sequence_).head(0, 0).logs[0], 2);
}

TEST_F(Merging, OfEqualTokensChangesNothing) {
  const std::vector<std::vector<float>> keys = {{1, 2, 0, 1}, {1, 2, 0, 1}, {1, 2, 0, 1}, {0, 1, 1, 0}},
                                        values = {{3, 1, 0, 0}, {3, 1, 0, 0}, {3, 1, 0, 0}, {0, 1, 5, 2}};
  const std::vector<float> q = {.3F, -.2F, .5F, .9F};
  open("merge,budget=2,heavy=0,reach=3", keys, values);
  const std::vector<float> before = attend(q);
  cache_.cut(sequence_, KvCut::kPrompt);
  ASSERT_EQ(cache_.slots(sequence_), 2);
  const std::vector<float> after = attend(q);
  for (size_t d = 0; d < 4; ++d) EXPECT_NEAR(after[d], before[d], 1e-6);
  cache_.close(sequence_);
  // The first is too far from all that stay and goes without a trace.
  open("merge,budget=2,heavy=0,reach=1", keys, values);
  cache_.cut(sequence_, KvCut::kPrompt);
  EXPECT_EQ(cache_.choice(sequence_).head(0, 0).weights[0], 2);
}

TEST(KvEviction, ScoresAreThoseOfEachPathAlone) {
  for (const char* text : {"h2o,budget=0.3", "streaming,budget=24,chunk=16", "merge,budget=0.4"}) {
    EngineOptions options = test::small_options(1);
    options.kv = cut_policy(text);
    Engine engine(test::open_model(test::mini()), options);
    std::vector<ScoredPath> paths;
    for (uint32_t context = 0; context < 4; ++context) {
      for (uint32_t choice = 0; choice < 3; ++choice) {
        ScoredPath path{drawn_ids(40 + 9 * context, context, 2048), 40 + 9 * context};
        const std::vector<int32_t> own = drawn_ids(1 + 2 * choice, 50 + choice, 2048);
        path.tokens.insert(path.tokens.end(), own.begin(), own.end());
        paths.push_back(path);
      }
    }
    paths.push_back({drawn_ids(100, 77, 2048), 1});
    paths.push_back(paths[4]);
    const std::vector<std::vector<TokenScore>> together = score_paths(engine, paths);
    EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
    options.threads = 2;
    options.pass_tokens = 24;
    options.longest_context = 256;
    options.cache_bytes = 12 * PagedCache::page_bytes({8, 4, 32, DType::kF32});
    Engine small(test::open_model(test::mini()), options);
    const std::vector<std::vector<TokenScore>> in_small = score_paths(small, paths);
    for (size_t i = 0; i < paths.size(); ++i) {
      const ScoredPath& path = paths[i];
      const bool is_text = path.first_target == 1;
      const KvPolicy policy = is_text ? kv_policy_of_text(options.kv) : options.kv;
      const std::vector<int32_t> read(path.tokens.begin(), path.tokens.end() - 1);
      const std::vector<float> logits =
          logits_under(engine, policy, read, is_text ? static_cast<int64_t>(read.size()) : path.first_target, 512);
      ASSERT_EQ(together[i].size(), path.tokens.size() - static_cast<size_t>(path.first_target));
      for (size_t t = 0; t < together[i].size(); ++t) {
        const size_t row = static_cast<size_t>(path.first_target) - 1 + t;
        const float* line = logits.data() + row * 2048;
        const auto wanted = static_cast<float>(line[path.tokens[row + 1]] - vector_kernels().log_sum_exp(line, 2048));
        EXPECT_EQ(together[i][t].logprob, wanted) << text << " path " << i << " token " << t;
        EXPECT_EQ(in_small[i][t].logprob, wanted) << text << " path " << i << " token " << t;
      }
    }
  }
}

}  // namespace
}  // namespace ockham
