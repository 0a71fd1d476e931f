// Answers requests of many clients by one engine: a bounded queue before it, one thread that steps the scheduler, and
// what comes out of it handed to each request's listener.
//
// A text depends on its request alone (prompt, settings, seed), never on what else runs. A request that is cancelled,
// or whose time is up, leaves nothing behind; its pages are free at once.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ockham/runtime/native_language_model.h"
#include "ockham/serve/api_request.h"

namespace ockham {

struct ServiceOptions {
  int64_t most_running = 32;                     // texts that are generated at once; at most Scheduler's own limit, 256
  int64_t most_queued = 256;                     // requests that wait, at least 1
  double queue_timeout_s = 60, timeout_s = 600;  // until a request starts, and until it ends
  // Whether a prompt may share what an earlier answer left in the cache: see Scheduler.
  bool shares_answers = true;
};

// A token of an answer, or of an echoed prompt, whose log-probability was asked for.
struct AnswerToken {
  int32_t id = 0;
  std::optional<double> logprob;  // nats; the first token of a prompt has none
  std::vector<LikelyToken> likely = {};
  int64_t offset = 0;  // characters of the choice's text before it
};

// What has come of one choice since the last part.
struct AnswerPart {
  size_t choice = 0;
  std::string text;  // whole characters
  std::vector<AnswerToken> tokens;
  std::string finish_reason;  // "stop" or "length" in the last part
};

struct AnswerUsage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
  int64_t shared_tokens = 0;  // of the prompt, found in the cache
};

// Called by the service's thread, and never after on_end() or on_error(). Must not block.
class AnswerListener {
 public:
  virtual ~AnswerListener() = default;
  virtual void on_part(AnswerPart part) = 0;
  virtual void on_end(const AnswerUsage& usage) = 0;
  virtual void on_error(const RequestError& error) = 0;
};

struct ServiceState {
  int64_t queued = 0, running = 0;                                                    // requests, texts
  int64_t prompt_tokens = 0, generated_tokens = 0, shared_tokens = 0, cancelled = 0;  // since the start
  int64_t cache_pages = 0, free_pages = 0;
};

class Service {
 public:
  // `model` must outlive it; nobody else may use its engine.
  Service(NativeLanguageModel& model, const ServiceOptions& options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Puts a request into the queue under a number of the caller's, once. RequestError: 400 for what does not fit the
  // model, 404 for a model that is another one, 429 for a full queue, 503 after close(). Called from any thread;
  // tokenizes in it.
  void submit(uint64_t number, ApiRequest request, std::shared_ptr<AnswerListener> listener);
  // Forgets the request, if it is still there; its listener is not called any more once the service has taken note.
  void cancel(uint64_t number);

  // No new requests; those that are there go on.
  void close();
  // Waits at most so long until no request is left; whether that is so.
  bool wait_until_idle(double seconds);
  // Ends all requests with an error.
  void end_all();

  ServiceState state() const;
  const NativeLanguageModel& model() const { return model_; }
  int64_t capacity() const { return scheduler_.capacity(); }  // tokens of prompt and answer together
  const std::string& model_name() const { return model_.info().name; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Text;
  struct Job;
  std::shared_ptr<Job> prepare(uint64_t number, ApiRequest request) const;
  std::shared_ptr<TokenGrammar> constrain(ApiRequest& request) const;
  int64_t fit(const ApiRequest& request, size_t prompt_tokens) const;
  void check_open() const;
  int retry_after() const;

  // Of the service's thread.
  void loop();
  bool take_orders();
  void drop_cancelled(const std::vector<uint64_t>& numbers);
  void expire();
  void admit();
  int64_t room() const;
  void start(const std::shared_ptr<Job>& job);
  void add_texts(const std::shared_ptr<Job>& job, int64_t& room);
  void add_text(const std::shared_ptr<Job>& job);
  void score();
  int64_t shown_characters(const std::string& text, int32_t id, int64_t before) const;
  void echo(Job& job, size_t choice);
  bool take_token(Job& job, Text& text, const SampledToken& token);
  void take_end(Job& job, Text& text, const SampledToken& token) const;
  void finish_text(Job& job, Text& text, FinishReason reason, int64_t shared);
  void end_if_done(Job& job);
  void fail(Job& job, const RequestError& error);
  void forget(Job& job);
  void step();
  void publish();

  NativeLanguageModel& model_;
  const ServiceOptions options_;
  Scheduler scheduler_;
  std::vector<std::shared_ptr<Job>> running_;
  std::vector<int32_t> end_ids_;

  // What was found of the languages that requests asked for lately, the last one at the front.
  mutable std::mutex grammar_mutex_;
  mutable std::list<std::pair<std::string, std::shared_ptr<TokenGrammar>>> grammars_;

  mutable std::mutex mutex_;
  std::condition_variable has_orders_, is_idle_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::vector<uint64_t> cancelled_;
  bool is_closed_ = false, is_ending_ = false, is_stopping_ = false, is_working_ = false;
  double mean_seconds_ = 0;  // of requests that ended lately
  ServiceState state_;

  std::thread thread_;
};

// Unicode code points of a UTF-8 text; bytes that begin no character count as nothing.
int64_t count_characters(std::string_view text);

}  // namespace ockham
