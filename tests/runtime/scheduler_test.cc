// Generation: the same text in any company and with any number of threads, shared prefixes, no allocation on the way.
#include "ockham/runtime/scheduler.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/runtime/text_stream.h"
#include "tests/runtime/engine_fixture.h"

namespace {
std::atomic<bool> is_counting = false;
std::atomic<int64_t> allocations = 0;
}  // namespace

// Counts what the whole program takes from the heap between two lines of the test below. Sanitizers ask that every
// memory that the deletes below give back is taken here.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  if (is_counting) ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace ockham {
namespace {

struct Result {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
  FinishReason reason = FinishReason::kStopped;
  int64_t shared = -1;
  bool operator==(const Result& other) const { return ids == other.ids && logprobs == other.logprobs; }
};

GenerationRequest make_request(const std::vector<int32_t>& prompt, int64_t tokens, double temperature, uint64_t seed) {
  GenerationRequest request;
  request.prompt = prompt;
  request.max_tokens = tokens;
  request.sampler = {.temperature = temperature, .top_k = 40, .top_p = 0.95, .repetition_penalty = 1.1};
  request.seed = seed;
  request.wants_logprobs = true;
  return request;
}

void add(Scheduler& scheduler, GenerationRequest request, Result& result) {
  request.on_token = [&result](const SampledToken& token) {
    result.ids.push_back(token.id);
    result.logprobs.push_back(token.logprob);
    return true;
  };
  request.on_finish = [&result](FinishReason reason, int64_t shared) {
    result.reason = reason;
    result.shared = shared;
  };
  scheduler.add(std::move(request));
}

// Prompts of many lengths, some with a common beginning.
std::vector<GenerationRequest> make_requests() {
  std::vector<GenerationRequest> requests;
  std::vector<int32_t> shared;
  for (int32_t i = 0; i < 50; ++i) shared.push_back(10 + i * 13 % 400);
  for (size_t i = 0; i < 12; ++i) {
    std::vector<int32_t> prompt = i % 2 == 0 ? shared : std::vector<int32_t>(3 + 20 * i, static_cast<int32_t>(30 + i));
    prompt.push_back(static_cast<int32_t>(100 + i));
    requests.push_back(make_request(prompt, 8 + static_cast<int64_t>(i) * 3, i % 3 == 0 ? 0 : 0.9, 77 + i));
  }
  return requests;
}

std::vector<Result> run_together(Engine& engine) {
  std::vector<Result> results(make_requests().size());
  Scheduler scheduler(engine);
  size_t next = 0;
  for (GenerationRequest& request : make_requests()) add(scheduler, std::move(request), results[next++]);
  scheduler.run();
  return results;
}

// Dense and packed weights: the kernels for few and for many tokens.
class SameText : public testing::TestWithParam<bool> {
 protected:
  static EngineModel open() { return GetParam() ? test::open_int4(test::mini()) : test::open_model(test::mini()); }
};

TEST_P(SameText, AloneTogetherAndWithAnyThreads) {
  std::vector<Result> alone;
  {
    Engine engine(open(), test::small_options(1));
    for (GenerationRequest& request : make_requests()) {
      Scheduler scheduler(engine);
      const int64_t tokens = request.max_tokens;
      add(scheduler, std::move(request), alone.emplace_back());
      scheduler.run();
      EXPECT_EQ(static_cast<int64_t>(alone.back().ids.size()), tokens);
      EXPECT_EQ(alone.back().reason, FinishReason::kLimit);
      EXPECT_EQ(alone.back().shared, 0);
    }
    EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
  }
  for (const int threads : {1, 2, 3}) {
    EngineOptions options = test::small_options(threads);
    for (const int64_t pass : {512, 16}) {
      options.pass_tokens = pass;
      Engine engine(open(), options);
      const std::vector<Result> together = run_together(engine);
      for (size_t i = 0; i < alone.size(); ++i)
        EXPECT_TRUE(together[i] == alone[i]) << i << ", " << threads << " threads, passes of " << pass;
      // Of prompts that begin alike all but the first, up to what is too little to wait for.
      EXPECT_GE(together[4].shared, pass == 16 ? 48 : 50);
      EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, SameText, testing::Bool(),
                         [](const auto& is_packed) { return is_packed.param ? "int4" : "bfloat16"; });

TEST(Scheduler, ASmallCacheOnlyTakesLonger) {
  Engine large(test::open_model(test::mini()), test::small_options(1));
  const std::vector<Result> wanted = run_together(large);
  EngineOptions options = test::small_options(2);
  const ModelConfig& config = large.config();
  options.cache_bytes = 10 * PagedCache::page_bytes({config.blocks, config.kv_heads, config.head_dim, DType::kF32});
  options.longest_context = 200;
  Engine engine(test::open_model(test::mini()), options);
  ASSERT_EQ(engine.cache().pages(), 10);
  const std::vector<Result> found = run_together(engine);
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(found[i] == wanted[i]) << i;
  EXPECT_EQ(engine.cache().free_pages(), 10);
}

// Of a prompt that begins with one of 40 tokens and its answer of 10.
int64_t tokens_shared_with_a_finished_chat(Scheduler& scheduler) {
  Result first, second;
  const std::vector<int32_t> prompt(40, 7);
  add(scheduler, make_request(prompt, 10, 0, 1), first);
  scheduler.run();
  std::vector<int32_t> longer = prompt;
  longer.insert(longer.end(), first.ids.begin(), first.ids.end());
  longer.push_back(9);
  add(scheduler, make_request(longer, 5, 0, 1), second);
  scheduler.run();
  return second.shared;
}

TEST(Scheduler, AFinishedChatIsContinuedWithoutComputingItAgain) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  Scheduler scheduler(engine);
  EXPECT_EQ(tokens_shared_with_a_finished_chat(scheduler), 49);  // the last token of an answer is never read
}

TEST(Scheduler, StopIdsAndCallbacksEndASequence) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  Scheduler scheduler(engine);
  Result whole, stopped, called;
  GenerationRequest request = make_request({5, 6, 7}, 30, 0, 1);
  add(scheduler, request, whole);
  scheduler.run();
  const int32_t fourth = whole.ids[3];
  const auto place = static_cast<size_t>(std::find(whole.ids.begin(), whole.ids.end(), fourth) - whole.ids.begin());
  request.stop_ids = {fourth};
  add(scheduler, request, stopped);
  scheduler.run();
  EXPECT_EQ(stopped.reason, FinishReason::kEndToken);
  EXPECT_EQ(stopped.ids.size(), place);
  request.stop_ids.clear();
  request.on_token = [&](const SampledToken& token) {
    called.ids.push_back(token.id);
    return called.ids.size() < 6;
  };
  request.on_finish = [&](FinishReason reason, int64_t) { called.reason = reason; };
  scheduler.add(request);
  scheduler.run();
  EXPECT_EQ(called.reason, FinishReason::kStopped);
  EXPECT_EQ(called.ids, std::vector<int32_t>(whole.ids.begin(), whole.ids.begin() + 6));
}

TEST(Scheduler, CancelledRequestsGiveTheirPagesBack) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  const std::vector<Result> wanted = run_together(engine);
  Scheduler scheduler(engine);
  std::vector<GenerationRequest> requests = make_requests();
  std::vector<Result> results(requests.size());
  std::vector<uint64_t> numbers;
  const auto add_one = [&](size_t i) {
    GenerationRequest& request = requests[i];
    request.on_token = [&result = results[i]](const SampledToken& token) {
      result.ids.push_back(token.id);
      result.logprobs.push_back(token.logprob);
      return true;
    };
    request.on_finish = [&result = results[i]](FinishReason reason, int64_t) { result.reason = reason; };
    numbers.push_back(scheduler.add(std::move(request)));
  };
  for (size_t i = 0; i < 8; ++i) add_one(i);
  for (int step = 0; step < 3; ++step) scheduler.step();
  for (size_t i = 8; i < requests.size(); ++i) add_one(i);
  // Running ones and, at the end, waiting ones.
  for (const size_t i : {1, 4, 10}) EXPECT_TRUE(scheduler.cancel(numbers[i]));
  EXPECT_FALSE(scheduler.cancel(numbers[4]));
  EXPECT_FALSE(scheduler.cancel(1000));
  scheduler.run();
  for (size_t i = 0; i < results.size(); ++i) {
    const bool is_cancelled = i == 1 || i == 4 || i == 10;
    EXPECT_EQ(results[i] == wanted[i], !is_cancelled) << i;
    EXPECT_EQ(results[i].reason, is_cancelled ? FinishReason::kStopped : FinishReason::kLimit) << i;
  }
  scheduler.forget_finished();
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
}

TEST(Scheduler, SharesOnlyPromptsWhereItIsTold) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  Scheduler scheduler(engine, false);
  EXPECT_EQ(tokens_shared_with_a_finished_chat(scheduler), 40);
}

TEST(Scheduler, ListsTheLikelyTokens) {
  Engine engine(test::open_model(test::mini()), test::small_options(2));
  Scheduler scheduler(engine);
  int tokens = 0;
  for (int i = 0; i < 3; ++i) {
    GenerationRequest request = make_request({5, 6, 7 + i}, 6, 0, 1);
    request.sampler.repetition_penalty = 1;
    request.likely_tokens = 4;
    request.on_token = [&](const SampledToken& token) {
      ++tokens;
      EXPECT_EQ(token.likely.size(), 4u);
      EXPECT_EQ(token.likely[0].id, token.id);
      EXPECT_NEAR(token.likely[0].logprob, token.logprob, 1e-6);
      for (size_t k = 1; k < 4; ++k) EXPECT_LE(token.likely[k].logprob, token.likely[k - 1].logprob);
      return true;
    };
    scheduler.add(std::move(request));
  }
  scheduler.run();
  EXPECT_EQ(tokens, 18);
}

TEST(Scheduler, WhatDoesNotFitIsRefused) {
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  Scheduler scheduler(engine);
  EXPECT_THROW(scheduler.add(make_request({1, 2}, engine.config().context_length, 0, 1)), Error);
  scheduler.add(make_request({1, 1 << 30}, 4, 0, 1));
  EXPECT_THROW(scheduler.run(), Error);
  EXPECT_FALSE(scheduler.step());
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
}

// Policies, one request after the other; the last keeps all.
KvPolicy request_policy(size_t request) {
  const char* const texts[] = {"h2o,budget=0.3",
                               "streaming,budget=24",
                               "merge,budget=0.4",
                               "h2o,budget=20,chunk=8",
                               "h2o,budget=0.4,layers=pyramid",
                               "fixed,budget=0.4,heavy=0.5",
                               "qhitter,budget=0.3",
                               "strided,budget=0.3",
                               "local,budget=0.5",
                               "full"};
  return parse_kv_policy("test", texts[request % std::size(texts)]);
}

TEST(Scheduler, PoliciesGiveTheSameTextInAnyCompany) {
  std::vector<Result> alone;
  Engine engine(test::open_model(test::mini()), test::small_options(1));
  std::vector<GenerationRequest> requests = make_requests();
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].kv = request_policy(i);
    Scheduler scheduler(engine);
    add(scheduler, requests[i], alone.emplace_back());
    scheduler.run();
    EXPECT_EQ(static_cast<int64_t>(alone.back().ids.size()), requests[i].max_tokens);
  }
  EXPECT_EQ(engine.cache().free_pages(), engine.cache().pages());
  const KvShape shape = engine.cache().shape();
  for (const int64_t pages : {20, 400}) {
    for (const int64_t pass : {512, 16}) {
      EngineOptions options = test::small_options(2);
      options.pass_tokens = pass;
      options.cache_bytes = pages * PagedCache::page_bytes(shape);
      options.longest_context = 300;
      Engine other(test::open_model(test::mini()), options);
      Scheduler scheduler(other);
      std::vector<Result> results(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) add(scheduler, requests[i], results[i]);
      GenerationRequest extra = requests[8];
      extra.kv = request_policy(0);
      const uint64_t number = scheduler.add(extra);
      for (int step = 0; step < 5; ++step) scheduler.step();
      scheduler.cancel(number);
      scheduler.run();
      for (size_t i = 0; i < results.size(); ++i)
        EXPECT_TRUE(results[i] == alone[i]) << i << ", " << pages << " pages, passes of " << pass;
      scheduler.forget_finished();
      EXPECT_EQ(other.cache().free_pages(), other.cache().pages());
    }
  }
}

// Four prompts of 320 tokens in 14 pages: what a budget leaves free is another's room.
TEST(Scheduler, ABudgetMakesRoomForMore) {
  for (const char* text : {"full", "h2o,budget=0.1"}) {
    EngineOptions options = test::small_options(1);
    options.cache_bytes = 14 * PagedCache::page_bytes({8, 4, 32, DType::kF32});
    options.longest_context = 400;
    options.kv = parse_kv_policy("test", text);
    Engine engine(test::open_model(test::mini()), options);
    ASSERT_EQ(engine.cache().pages(), 14);
    Scheduler scheduler(engine);
    for (int32_t i = 0; i < 4; ++i) {
      std::vector<int32_t> prompt(320, 9);
      prompt[0] = 20 + i;
      scheduler.add(make_request(prompt, 60, 0, 1));
    }
    int64_t most = 0;
    while (scheduler.step()) most = std::max(most, scheduler.running());
    EXPECT_EQ(most, text == std::string("full") ? 1 : 3) << text;
  }
}

TEST(Scheduler, StepsAllocateNothing) {
  for (const int round : {1, 2, 3}) {
    const int threads = round == 3 ? 2 : round;
    EngineOptions options = test::small_options(threads);
    if (round == 3) options.kv = parse_kv_policy("--kv", "gear");  // over the ends of blocks
    Engine engine(test::open_model(test::mini()), options);
    Scheduler scheduler(engine);
    int64_t tokens = 0;
    for (int i = 0; i < 5; ++i) {
      GenerationRequest request = make_request(std::vector<int32_t>(static_cast<size_t>(10 + 9 * i), 40 + i), 100,
                                               i % 2 == 0 ? 0 : 0.8, static_cast<uint64_t>(i));
      if (round < 3) request.kv = request_policy(static_cast<size_t>(i) + (threads == 1 ? 0 : 4));
      request.on_token = [&tokens](const SampledToken&) { return ++tokens > 0; };
      scheduler.add(std::move(request));
    }
    for (int step = 0; step < 4; ++step) scheduler.step();
    const int64_t before = tokens;
    allocations = 0;
    is_counting = true;
    for (int step = 0; step < 80; ++step) scheduler.step();  // over the ends of pages
    is_counting = false;
    EXPECT_EQ(tokens - before, 5 * 80);
    EXPECT_EQ(allocations, 0) << threads << " threads, " << options.kv.text();
    scheduler.run();
  }
}

TEST(TextStream, GivesWholeTextsBeforeAStop) {
  const Tokenizer tokenizer(test::mini());
  const std::string text = "who is the mayor? ä€ - nobody knows. STOP here";
  const std::vector<int32_t> ids = tokenizer.encode(text, false, false), prompt = tokenizer.encode("so,", true);
  TextStream plain(tokenizer, prompt, {}), stopped(tokenizer, prompt, {"STOP", "nothing"});
  std::string all, part;
  for (const int32_t id : ids) {
    const std::string piece = plain.push(id);
    EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
    all += piece;
    part += stopped.push(id);
  }
  EXPECT_EQ(all + plain.finish(), text);
  EXPECT_EQ(part + stopped.finish(), text.substr(0, text.find("STOP")));
  EXPECT_TRUE(stopped.has_stopped());
}

TEST(TextStream, HeldBackBeginningsOfStopsComeInTheEnd) {
  const Tokenizer tokenizer(test::mini());
  TextStream stream(tokenizer, {}, {"lower"});
  std::string text;
  for (const int32_t id : tokenizer.encode("a low", false, false)) text += stream.push(id);
  EXPECT_EQ(text, "a ");
  EXPECT_EQ(stream.finish(), "low");
}

}  // namespace
}  // namespace ockham
