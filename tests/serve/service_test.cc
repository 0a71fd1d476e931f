// The queue, the scheduler's thread, cancellation, echo and log-probabilities, without sockets.
#include "ockham/serve/service.h"

#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <future>
#include <map>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "tests/serve/serve_fixture.h"

namespace ockham {
namespace {

// Collects an answer; get() waits for its end.
class Collector final : public AnswerListener {
 public:
  struct Answer {
    std::map<size_t, std::string> texts, reasons;
    std::map<size_t, std::vector<AnswerToken>> tokens;
    AnswerUsage usage;
    int status = 200;
    std::string code;
    int parts = 0;
  };
  void on_part(AnswerPart part) override {
    ++answer_.parts;
    EXPECT_EQ(find_invalid_utf8(part.text), std::string::npos);
    answer_.texts[part.choice] += part.text;
    auto& tokens = answer_.tokens[part.choice];
    tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
    if (!part.finish_reason.empty()) answer_.reasons[part.choice] = part.finish_reason;
    if (answer_.parts == 1) first_.set_value();
  }
  void on_end(const AnswerUsage& usage) override {
    answer_.usage = usage;
    end_.set_value(answer_);
  }
  void on_error(const RequestError& error) override {
    answer_.status = error.status;
    answer_.code = error.code;
    end_.set_value(answer_);
  }
  Answer get() { return end_.get_future().get(); }
  void wait_for_first() { first_.get_future().wait(); }

 private:
  Answer answer_;
  std::promise<Answer> end_;
  std::promise<void> first_;
};

ApiRequest completion(const std::string& prompt, int64_t tokens, double temperature = 0, uint64_t seed = 1) {
  ApiRequest request;
  request.prompts = {prompt};
  request.max_tokens = tokens;
  request.sampler.temperature = temperature;
  request.seed = seed;
  return request;
}

class ServiceTest : public testing::Test {
 protected:
  std::shared_ptr<Collector> submit(Service& service, ApiRequest request) {
    auto collector = std::make_shared<Collector>();
    service.submit(next_++, std::move(request), collector);
    return collector;
  }
  Collector::Answer ask(Service& service, ApiRequest request) { return submit(service, std::move(request))->get(); }
  uint64_t last() const { return next_ - 1; }
  // Pages are free again when the scheduler has forgotten what ended.
  void expect_no_pages() { EXPECT_EQ(model_.engine().cache().free_pages(), model_.engine().cache().pages()); }

  NativeLanguageModel model_{test::mini(), test::small_model()};
  uint64_t next_ = 1;
};

TEST_F(ServiceTest, AnswersAsTheModelDoes) {
  GenerateRequest wanted;
  wanted.prompt = {"who is the mayor of", false};
  wanted.max_tokens = 20;
  wanted.temperature = 0.8;
  wanted.samples = 3;
  wanted.seed = 11;
  const GenerateAnswer expected = model_.generate(std::span(&wanted, 1))[0];
  {
    Service service(model_, {});
    ApiRequest request = completion("who is the mayor of", 20, 0.8, 11);
    request.samples = 3;
    const Collector::Answer answer = ask(service, std::move(request));
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(answer.texts.at(i), expected.texts[i]);
      EXPECT_EQ(answer.reasons.at(i), expected.hit_limit[i] ? "length" : "stop");
    }
    EXPECT_EQ(answer.usage.prompt_tokens, static_cast<int64_t>(model_.encode({"who is the mayor of", false}).size()));
    EXPECT_LE(answer.usage.shared_tokens, answer.usage.prompt_tokens);
    EXPECT_GT(answer.usage.completion_tokens, 0);
    EXPECT_LE(answer.usage.completion_tokens, 60);
  }
  expect_no_pages();
}

TEST_F(ServiceTest, CountsWhatTheCacheHad) {
  Service service(model_, {});
  const std::string prompt = "who is the mayor of Ardel? who is the mayor of Ardel? who is the mayor of Ardel?";
  EXPECT_EQ(ask(service, completion(prompt, 4)).usage.shared_tokens, 0);
  const AnswerUsage usage = ask(service, completion(prompt, 4)).usage;
  EXPECT_EQ(usage.shared_tokens, usage.prompt_tokens - 1);  // the last one is computed in any case
  EXPECT_EQ(service.state().shared_tokens, usage.shared_tokens);
}

TEST_F(ServiceTest, SameSeedSameTextInAnyCompany) {
  std::vector<std::string> alone;
  const auto prompt = [](size_t i) { return "the river of town " + std::to_string(i % 3) + " flows"; };
  {
    ServiceOptions options;
    options.most_running = 1;
    Service service(model_, options);
    for (size_t i = 0; i < 12; ++i) alone.push_back(ask(service, completion(prompt(i), 24, 1, i)).texts.at(0));
  }
  Service service(model_, {});
  std::vector<std::shared_ptr<Collector>> together;
  for (size_t i = 0; i < 12; ++i) together.push_back(submit(service, completion(prompt(i), 24, 1, i)));
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(together[i]->get().texts.at(0), alone[i]) << i;
}

TEST_F(ServiceTest, StopStringsEndAText) {
  Service service(model_, {});
  const std::string whole = ask(service, completion("once upon a time", 30)).texts.at(0);
  ASSERT_GT(whole.size(), 12u);
  ApiRequest request = completion("once upon a time", 30);
  request.stop = {whole.substr(6, 4)};
  request.likely = 0;
  const Collector::Answer answer = ask(service, std::move(request));
  EXPECT_EQ(answer.texts.at(0), whole.substr(0, whole.find(whole.substr(6, 4))));
  EXPECT_EQ(answer.reasons.at(0), "stop");
  for (const AnswerToken& token : answer.tokens.at(0))
    EXPECT_LT(token.offset, static_cast<int64_t>(answer.texts.at(0).size()));
}

TEST_F(ServiceTest, KeepsTextsToASchema) {
  Service service(model_, {});
  std::vector<std::shared_ptr<Collector>> answers;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    answers.push_back(submit(service, read_completion_request(fmt::format(
                                          R"({{"prompt": "notes:", "max_tokens": 60, "temperature": 1.5, "seed": {},
          "response_format": {{"type": "json_schema", "json_schema": {{"name": "n", "schema": {{"type": "object",
          "properties": {{"name": {{"enum": ["mira", "tom"]}}, "age": {{"type": "integer"}}}},
          "required": ["name", "age"]}}}}}}}})",
                                          seed))));
  }
  for (const auto& collector : answers) {
    const Collector::Answer answer = collector->get();
    ASSERT_EQ(answer.status, 200);
    if (answer.reasons.at(0) == "length") continue;  // digits without end
    const Json json = parse_json(answer.texts.at(0), "answer");
    EXPECT_TRUE(json.at("name") == "mira" || json.at("name") == "tom") << answer.texts.at(0);
    EXPECT_TRUE(json.at("age").is_number_integer()) << answer.texts.at(0);
  }
}

TEST_F(ServiceTest, RequestsMayChooseWhatTheirCacheKeeps) {
  {
    Service service(model_, {});
    const std::string prompt = "the town has a mayor, a baker and a river; who is the mayor of the town";
    ApiRequest whole = completion(prompt, 24), all = completion(prompt, 24), few = completion(prompt, 24);
    all.kv = parse_kv_policy("test", "h2o,budget=1");
    few.kv = parse_kv_policy("test", "local,budget=4");
    const auto first = submit(service, std::move(whole)), second = submit(service, std::move(all)),
               third = submit(service, std::move(few));
    const std::string text = first->get().texts.at(0);
    EXPECT_EQ(second->get().texts.at(0), text);
    EXPECT_NE(third->get().texts.at(0), text);
    ApiRequest coded = completion(prompt, 4);
    coded.kv = parse_kv_policy("test", "gear");
    EXPECT_THROW(submit(service, std::move(coded)), RequestError) << "how pages are stored is the engine's";
  }
  expect_no_pages();
}

TEST_F(ServiceTest, EchoGivesTheLikelihoodsOfThePrompt) {
  const std::string text = "who is the mayor of Ardel? the mayor of Ardel is";
  const std::vector<int32_t> ids = model_.encode({text, false});
  const std::vector<float> expected = model_.score_sequences({{ids}})[0].logprobs;
  Service service(model_, {});
  for (const int64_t tokens : {0, 1}) {
    ApiRequest request = completion(text, tokens);
    request.echo = true;
    request.likely = 3;
    const Collector::Answer answer = ask(service, std::move(request));
    const std::vector<AnswerToken>& found = answer.tokens.at(0);
    ASSERT_EQ(found.size(), ids.size() + static_cast<size_t>(tokens));
    EXPECT_FALSE(found[0].logprob.has_value());
    std::string spelled;
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(found[i].id, ids[i]);
      if (i == 0) continue;
      EXPECT_EQ(static_cast<float>(*found[i].logprob), expected[i - 1]);
      ASSERT_EQ(found[i].likely.size(), 3u);
      EXPECT_GE(found[i].likely[0].logprob, found[i].likely[1].logprob);
      EXPECT_LE(static_cast<float>(*found[i].logprob), found[i].likely[0].logprob);
      EXPECT_EQ(text.substr(static_cast<size_t>(found[i].offset), model_.tokenizer().token_bytes(ids[i]).size()),
                model_.tokenizer().token_bytes(ids[i]));
    }
    EXPECT_TRUE(answer.texts.at(0).starts_with(text));
    EXPECT_EQ(answer.reasons.at(0), "length");
    EXPECT_EQ(answer.usage.completion_tokens, tokens);
    if (tokens == 1) {  // greedy
      EXPECT_EQ(found.back().id, found.back().likely[0].id);
    }
  }
}

TEST_F(ServiceTest, ListsTheEndTokenOfACompletion) {
  Service service(model_, {});
  // A chat's prompt as a completion: the answer ends by itself.
  const ChatMessage message{"user", "who is the mayor of Ardel?"};
  const std::vector<int32_t> ids = model_.encode(model_.render({&message, 1}, true));
  ApiRequest request;
  request.prompts = {ids};
  request.max_tokens = 60;
  request.likely = 1;
  const Collector::Answer answer = ask(service, request);
  ASSERT_EQ(answer.reasons.at(0), "stop");
  const std::vector<AnswerToken>& tokens = answer.tokens.at(0);
  const std::vector<int32_t> ends = model_.tokenizer().eos_ids();
  EXPECT_NE(std::find(ends.begin(), ends.end(), tokens.back().id), ends.end());
  EXPECT_EQ(static_cast<int64_t>(tokens.size()), answer.usage.completion_tokens);
  request.prompts.clear();
  request.messages = {message};
  request.is_chat = true;
  EXPECT_EQ(ask(service, request).tokens.at(0).size(), tokens.size() - 1);
}

TEST_F(ServiceTest, EchoesManyPromptsInOrder) {
  Service service(model_, {});
  ApiRequest request;
  request.prompts = {"a dog", std::vector<int32_t>{40, 41, 42}, "a"};
  request.max_tokens = 0;
  request.echo = true;
  request.likely = 1;
  const Collector::Answer answer = ask(service, std::move(request));
  EXPECT_EQ(answer.texts.at(0), "a dog");
  EXPECT_EQ(answer.texts.at(1), model_.tokenizer().decode(std::vector<int32_t>{40, 41, 42}, true));
  EXPECT_EQ(answer.texts.at(2), "a");
  EXPECT_EQ(answer.tokens.at(1).size(), 3u);
}

TEST_F(ServiceTest, RefusesWhatDoesNotFit) {
  Service service(model_, {});
  const auto refusal = [&](ApiRequest request) {
    try {
      submit(service, std::move(request));
    } catch (const RequestError& error) {
      return std::pair(error.status, error.code);
    }
    return std::pair(200, std::string());
  };
  EXPECT_EQ(refusal(completion("a", model_.info().context_length)),
            std::pair(400, std::string("context_length_exceeded")));
  ApiRequest unknown;
  unknown.prompts = {std::vector<int32_t>{1 << 30}};
  EXPECT_EQ(refusal(unknown).first, 400);
  ApiRequest other = completion("a", 3);
  other.model = "gpt-5";
  EXPECT_EQ(refusal(other), std::pair(404, std::string("model_not_found")));
}

TEST_F(ServiceTest, AFullQueueRefusesAndRecovers) {
  ServiceOptions options;
  options.most_running = 1;
  options.most_queued = 2;
  Service service(model_, options);
  std::vector<std::shared_ptr<Collector>> accepted;
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    try {
      accepted.push_back(submit(service, completion("once upon a time", 100)));
    } catch (const RequestError& error) {
      EXPECT_EQ(error.status, 429);
      EXPECT_GE(error.retry_after_s, 1);
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  for (const auto& one : accepted) EXPECT_EQ(one->get().status, 200);
  EXPECT_EQ(ask(service, completion("a", 2)).status, 200);
}

TEST_F(ServiceTest, CancelledRequestsLeaveNothing) {
  {
    ServiceOptions options;
    options.most_running = 2;
    Service service(model_, options);
    std::vector<uint64_t> numbers;
    std::vector<std::shared_ptr<Collector>> others;
    for (int i = 0; i < 6; ++i) {
      others.push_back(submit(service, completion("once upon a time", 400, 1, static_cast<uint64_t>(i))));
      numbers.push_back(last());
    }
    others[0]->wait_for_first();
    for (const uint64_t number : numbers) service.cancel(number);
    EXPECT_TRUE(service.wait_until_idle(60));
    EXPECT_EQ(service.state().running, 0);
    EXPECT_GT(service.state().cancelled, 0);
    EXPECT_EQ(ask(service, completion("a", 2)).status, 200);
  }
  expect_no_pages();
}

TEST_F(ServiceTest, TimesEnd) {
  ServiceOptions options;
  options.most_running = 1;
  options.timeout_s = 0.05;
  Service service(model_, options);
  std::vector<std::shared_ptr<Collector>> all;
  for (int i = 0; i < 30; ++i) all.push_back(submit(service, completion("once upon a time", 450)));
  int late = 0;
  for (const auto& one : all) {
    const int status = one->get().status;
    EXPECT_TRUE(status == 200 || status == 503 || status == 504) << status;
    late += status != 200;
  }
  EXPECT_GT(late, 0);
}

TEST_F(ServiceTest, ClosingEndsWhatIsLeft) {
  Service service(model_, {});
  const auto running = submit(service, completion("once upon a time", 450, 1));
  running->wait_for_first();
  service.close();
  EXPECT_THROW(submit(service, completion("a", 2)), RequestError);
  service.end_all();
  const int status = running->get().status;
  EXPECT_TRUE(status == 503 || status == 200);
}

TEST_F(ServiceTest, ASmallCacheHoldsRequestsBackButLosesNone) {
  NativeLanguageModel::Options how = test::small_model();
  const ModelConfig& config = model_.engine().config();
  how.engine.cache_bytes = 10 * PagedCache::page_bytes({config.blocks, config.kv_heads, config.head_dim, DType::kF32});
  how.engine.longest_context = 200;
  NativeLanguageModel model(test::mini(), how);
  ASSERT_EQ(model.engine().cache().pages(), 10);
  {
    Service service(model, {});
    std::vector<std::shared_ptr<Collector>> all;
    for (int i = 0; i < 8; ++i) {
      ApiRequest request = completion("the river " + std::to_string(i), 120, 1, static_cast<uint64_t>(i));
      request.echo = i % 2 == 0;
      request.likely = 1;
      all.push_back(submit(service, std::move(request)));
    }
    for (const auto& one : all) EXPECT_EQ(one->get().status, 200);
    EXPECT_THROW(submit(service, completion("a", 320)), RequestError);  // more than the cache holds
  }
  EXPECT_EQ(model.engine().cache().free_pages(), 10);
}

}  // namespace
}  // namespace ockham
