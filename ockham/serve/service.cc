#include "ockham/serve/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/runtime/score_paths.h"
#include "ockham/runtime/text_stream.h"

namespace ockham {
namespace {

constexpr int64_t kUsualTokens = 16;        // of a completion that does not say how many
constexpr size_t kMostGrammars = 32;        // kept for requests to come
constexpr int64_t kMostListed = 4'000'000;  // log-probabilities of prompts in one answer
// Prompt tokens that are scored between two steps of the scheduler, while others wait for their next token, and
// otherwise.
constexpr size_t kScoredBetween = 2048, kScoredAtOnce = 32768;

uint64_t random_seed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

RequestError shutting_down() {
  return RequestError(503, "the server is shutting down", "", "server_stopping");
}

const char* name_of(FinishReason reason) {
  return reason == FinishReason::kLimit ? "length" : "stop";
}

}  // namespace

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// One choice: its text while it comes.
struct Service::Text {
  size_t choice = 0;
  uint64_t ticket = 0;
  bool is_live = false;
  TextStream stream;
  std::vector<AnswerToken> held;       // tokens whose text has not come out yet
  int64_t offset = 0, characters = 0;  // behind the last token, and of what has come out

  Text(const Tokenizer& tokenizer, std::span<const int32_t> prompt, std::vector<std::string> stops)
      : stream(tokenizer, prompt, std::move(stops)) {}
};

struct Service::Job {
  struct Prompt {
    std::vector<int32_t> ids;
    std::string text;  // where it is echoed
    int64_t max_tokens = 0;
    std::vector<AnswerToken> tokens;  // where it is scored
  };
  uint64_t number = 0;
  ApiRequest request;
  std::shared_ptr<AnswerListener> listener;
  std::vector<Prompt> prompts;
  std::shared_ptr<TokenGrammar> grammar;  // null: none
  uint64_t seed = 0;
  Clock::time_point arrived = Clock::now();

  size_t scored = 0;  // prompts
  size_t added = 0;   // choices that the scheduler has got, or that need nothing of it
  size_t ended = 0;
  std::vector<std::unique_ptr<Text>> texts;
  AnswerUsage usage;
  bool is_over = false;                 // the listener knows
  std::optional<RequestError> failure;  // of a callback

  size_t choices() const { return prompts.size() * static_cast<size_t>(request.samples); }
  bool needs_scores() const { return request.echo && request.likely; }
  bool is_scored() const { return !needs_scores() || scored == prompts.size(); }
  const Prompt& prompt_of(size_t choice) const { return prompts[choice / static_cast<size_t>(request.samples)]; }
  bool is_late(double seconds) const { return std::chrono::duration<double>(Clock::now() - arrived).count() > seconds; }
};

Service::Service(NativeLanguageModel& model, const ServiceOptions& options)
    : model_(model),
      options_(options),
      scheduler_(model.engine(), options.shares_answers),
      end_ids_(model.tokenizer().eos_ids()) {
  OCKHAM_CHECK(options.most_running > 0 && options.most_queued > 0);
  publish();
  thread_ = std::thread([this] { loop(); });
}

Service::~Service() {
  end_all();
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  has_orders_.notify_all();
  thread_.join();
}

// Tokens to generate behind so many.
int64_t Service::fit(const ApiRequest& request, size_t prompt_tokens) const {
  const int64_t capacity = scheduler_.capacity(), room = capacity - static_cast<int64_t>(prompt_tokens);
  const int64_t usual = request.is_chat ? room : std::min(room, kUsualTokens);
  const int64_t wanted = request.max_tokens.value_or(std::max<int64_t>(usual, 1));
  if (wanted > room)
    throw RequestError(400,
                       fmt::format("{} prompt tokens and {} new ones do not fit the model's context of {}; shorten the "
                                   "prompt or ask for fewer",
                                   prompt_tokens, wanted, capacity),
                       request.is_chat ? "messages" : "prompt", "context_length_exceeded");
  return wanted;
}

// The same one for all requests that are kept to the same language.
std::shared_ptr<TokenGrammar> Service::constrain(ApiRequest& request) const {
  if (!request.grammar) return nullptr;
  const std::lock_guard lock(grammar_mutex_);
  const auto known = std::find_if(grammars_.begin(), grammars_.end(),
                                  [&](const auto& one) { return one.first == request.constraint; });
  if (known != grammars_.end()) {
    grammars_.splice(grammars_.begin(), grammars_, known);
  } else {
    grammars_.emplace_front(request.constraint, model_.constrain(*request.grammar, "the request"));
    if (grammars_.size() > kMostGrammars) grammars_.pop_back();
  }
  request.grammar.reset();
  return grammars_.front().second;
}

std::shared_ptr<Service::Job> Service::prepare(uint64_t number, ApiRequest request) const {
  const ModelInfo& info = model_.info();
  if (!request.model.empty() && request.model != info.name)
    throw RequestError(404,
                       fmt::format("the model '{}' does not exist; this server has '{}'", request.model, info.name),
                       "model", "model_not_found");
  auto job = std::make_shared<Job>();
  job->number = number;
  job->seed = request.seed ? *request.seed : random_seed();
  const auto add_prompt = [&](std::vector<int32_t> ids, std::string text) {
    Job::Prompt& prompt = job->prompts.emplace_back();
    prompt.max_tokens = fit(request, ids.size());
    job->usage.prompt_tokens += static_cast<int64_t>(ids.size());
    prompt.ids = std::move(ids);
    prompt.text = std::move(text);
  };
  if (request.is_chat) {
    try {
      add_prompt(model_.encode(model_.render(request.messages, true)), "");
    } catch (const Error& error) {
      throw RequestError(400, error.what(), "messages");
    }
  }
  for (PromptInput& input : request.prompts) {
    if (auto* text = std::get_if<std::string>(&input)) {
      std::vector<int32_t> ids = model_.encode({*text, false});
      add_prompt(std::move(ids), std::move(*text));
      continue;
    }
    auto& ids = std::get<std::vector<int32_t>>(input);
    const auto unknown = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= info.vocabulary; });
    if (unknown != ids.end())
      throw RequestError(
          400, fmt::format("'prompt' holds the token id {}, the vocabulary has {}", *unknown, info.vocabulary),
          "prompt");
    std::string text = request.echo ? model_.tokenizer().decode(ids, true) : "";
    add_prompt(std::move(ids), std::move(text));
  }
  const int64_t listed = job->usage.prompt_tokens * request.samples * (request.likely.value_or(0) + 1);
  if (request.echo && request.likely && listed > kMostListed)
    throw RequestError(400,
                       fmt::format("{} log-probabilities are too many for one answer, expected at most {}; send "
                                   "fewer prompts at a time",
                                   listed, kMostListed),
                       "logprobs");
  if (request.kv) {
    try {
      model_.engine().check(*request.kv);
    } catch (const Error& error) {
      throw RequestError(400, error.what(), "kv_cache");
    }
  }
  job->grammar = constrain(request);
  job->request = std::move(request);
  job->request.prompts.clear();
  job->texts.resize(job->choices());
  return job;
}

void Service::submit(uint64_t number, ApiRequest request, std::shared_ptr<AnswerListener> listener) {
  {
    // Before the work of tokenizing, too.
    const std::lock_guard lock(mutex_);
    check_open();
  }
  const std::shared_ptr<Job> job = prepare(number, std::move(request));
  job->listener = std::move(listener);
  {
    const std::lock_guard lock(mutex_);
    check_open();
    queue_.push_back(job);
    state_.queued = static_cast<int64_t>(queue_.size());
  }
  has_orders_.notify_one();
}

// Under the mutex.
void Service::check_open() const {
  if (is_closed_) throw shutting_down();
  if (static_cast<int64_t>(queue_.size()) < options_.most_queued) return;
  RequestError full(429, fmt::format("{} requests are waiting already; try again later", queue_.size()), "",
                    "queue_full");
  full.retry_after_s = retry_after();
  throw full;
}

// Seconds until the queue will have moved on, roughly.
int Service::retry_after() const {
  const double waves = static_cast<double>(queue_.size()) / static_cast<double>(options_.most_running);
  return static_cast<int>(std::clamp(std::ceil(mean_seconds_ * waves), 1.0, 30.0));
}

void Service::cancel(uint64_t number) {
  {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(number);
  }
  has_orders_.notify_one();
}

void Service::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
}

bool Service::wait_until_idle(double seconds) {
  std::unique_lock lock(mutex_);
  return is_idle_.wait_for(lock, std::chrono::duration<double>(seconds),
                           [&] { return queue_.empty() && !is_working_; });
}

void Service::end_all() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    is_ending_ = true;
  }
  has_orders_.notify_all();
  wait_until_idle(3600);
}

ServiceState Service::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

// What the thread knows, for others to read.
void Service::publish() {
  const PagedCache& cache = model_.engine().cache();
  const std::lock_guard lock(mutex_);
  state_.queued = static_cast<int64_t>(queue_.size());
  state_.running = scheduler_.running() + scheduler_.waiting();
  state_.cache_pages = cache.pages();
  state_.free_pages = cache.free_pages();
}

void Service::loop() {
  while (take_orders()) {
    expire();
    admit();
    score();
    step();
    std::erase_if(running_, [](const auto& job) { return job->is_over; });
    publish();
  }
}

// Waits for something to do; false at the end.
bool Service::take_orders() {
  std::vector<uint64_t> numbers;
  bool is_ending = false;
  {
    std::unique_lock lock(mutex_);
    is_working_ = !running_.empty();
    if (!is_working_ && queue_.empty()) is_idle_.notify_all();
    const auto has_something = [&] { return is_working_ || !queue_.empty() || !cancelled_.empty() || is_stopping_; };
    has_orders_.wait(lock, has_something);
    if (is_stopping_) return false;
    is_working_ = true;
    numbers.swap(cancelled_);
    is_ending = is_ending_;
  }
  if (is_ending) {
    std::deque<std::shared_ptr<Job>> waiting;
    {
      const std::lock_guard lock(mutex_);
      waiting.swap(queue_);
    }
    for (const auto& job : waiting) fail(*job, shutting_down());
    for (const auto& job : running_) fail(*job, shutting_down());
  }
  drop_cancelled(numbers);
  return true;
}

void Service::drop_cancelled(const std::vector<uint64_t>& numbers) {
  if (numbers.empty()) return;
  const auto is_named = [&](const std::shared_ptr<Job>& job) {
    return std::find(numbers.begin(), numbers.end(), job->number) != numbers.end();
  };
  int64_t dropped = 0;
  for (const auto& job : running_) {
    if (job->is_over || !is_named(job)) continue;
    forget(*job);
    ++dropped;
  }
  const std::lock_guard lock(mutex_);
  dropped += static_cast<int64_t>(std::erase_if(queue_, is_named));
  state_.cancelled += dropped;
}

// Takes back what the scheduler has of a job.
void Service::forget(Job& job) {
  job.is_over = true;
  for (const auto& text : job.texts) {
    if (text == nullptr || !text->is_live) continue;
    scheduler_.cancel(text->ticket);
    text->is_live = false;
  }
}

void Service::fail(Job& job, const RequestError& error) {
  if (job.is_over) return;
  forget(job);
  job.listener->on_error(error);
}

void Service::expire() {
  std::vector<std::shared_ptr<Job>> late;
  {
    const std::lock_guard lock(mutex_);
    const double patience = std::min(options_.queue_timeout_s, options_.timeout_s);
    std::erase_if(queue_, [&](const auto& job) {
      const bool is_late = job->is_late(patience);
      if (is_late) late.push_back(job);
      return is_late;
    });
  }
  for (const auto& job : late) {
    RequestError error(503, fmt::format("the request has waited for {} s; try again later", options_.queue_timeout_s),
                       "", "queue_timeout");
    error.retry_after_s = 5;
    fail(*job, error);
  }
  for (const auto& job : running_)
    if (job->is_late(options_.timeout_s))
      fail(*job, RequestError(
                     504, fmt::format("the request has taken more than {} s; ask for fewer tokens", options_.timeout_s),
                     "", "timeout"));
}

int64_t Service::room() const {
  const auto scored =
      std::count_if(running_.begin(), running_.end(), [](const auto& job) { return !job->is_scored(); });
  return options_.most_running - scheduler_.running() - scheduler_.waiting() - scored;
}

// Texts of jobs that have begun, then new jobs, in the order of their coming. One that the cache has no room for holds
// up those behind it.
void Service::admit() {
  if (scheduler_.waiting() > 0) return;
  int64_t free = room();
  for (const auto& job : running_)
    if (!job->is_over && job->is_scored()) add_texts(job, free);
  while (free > 0) {
    std::shared_ptr<Job> job;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    running_.push_back(job);
    if (!job->is_scored()) {
      --free;
    } else {
      add_texts(job, free);
    }
  }
}

void Service::add_texts(const std::shared_ptr<Job>& job, int64_t& room) {
  try {
    for (; job->added < job->choices() && !job->is_over; ++job->added) {
      const bool is_generated = job->prompt_of(job->added).max_tokens > 0;
      if (is_generated && room <= 0) return;
      room -= is_generated;
      add_text(job);
    }
  } catch (const Error& error) {
    fail(*job, RequestError(error.kind() == ErrorKind::kUsage ? 400 : 500, error.what()));
  }
}

void Service::add_text(const std::shared_ptr<Job>& job) {
  const size_t choice = job->added;
  const Job::Prompt& prompt = job->prompt_of(choice);
  auto& text = job->texts[choice];
  text = std::make_unique<Text>(model_.tokenizer(), prompt.ids, job->request.stop);
  text->choice = choice;
  if (job->request.echo) echo(*job, choice);
  if (prompt.max_tokens == 0) {
    finish_text(*job, *text, FinishReason::kLimit, 0);
    return;
  }
  GenerationRequest request;
  request.prompt = prompt.ids;
  request.max_tokens = prompt.max_tokens;
  request.sampler = job->request.sampler;
  request.seed = mix_seed(job->seed, choice % static_cast<size_t>(job->request.samples));
  request.stop_ids = end_ids_;
  request.grammar = job->grammar;
  request.kv = job->request.kv;
  request.reports_stop_ids = true;
  request.wants_logprobs = job->request.likely.has_value();
  request.likely_tokens = static_cast<size_t>(job->request.likely.value_or(0));
  // The job outlives its texts in the scheduler: forget() takes them back.
  request.on_token = [this, job = job.get(), text = text.get()](const SampledToken& token) {
    return take_token(*job, *text, token);
  };
  request.on_finish = [this, job = job.get(), text = text.get()](FinishReason reason, int64_t shared) {
    finish_text(*job, *text, reason, shared);
  };
  text->ticket = scheduler_.add(std::move(request));
  text->is_live = true;
}

// The prompt as the first part of a choice.
void Service::echo(Job& job, size_t choice) {
  const Job::Prompt& prompt = job.prompt_of(choice);
  Text& text = *job.texts[choice];
  text.offset = text.characters = count_characters(prompt.text);
  job.listener->on_part({choice, prompt.text, prompt.tokens, ""});
}

// Whether the text goes on. Nothing may be thrown into the scheduler, which would forget all requests.
bool Service::take_token(Job& job, Text& text, const SampledToken& token) try {
  ++job.usage.completion_tokens;
  if (std::find(end_ids_.begin(), end_ids_.end(), token.id) != end_ids_.end()) {
    take_end(job, text, token);
    return false;
  }
  if (job.request.likely) {
    text.held.push_back({token.id, token.logprob, {token.likely.begin(), token.likely.end()}, text.offset});
    text.offset += count_characters(model_.tokenizer().token_bytes(token.id));
  }
  std::string piece = text.stream.push(token.id);
  if (text.stream.has_stopped() || !piece.empty()) {
    text.characters += count_characters(piece);
    // Tokens of a stop string are no part of the answer.
    if (text.stream.has_stopped())
      std::erase_if(text.held, [&](const AnswerToken& one) { return one.offset >= text.characters; });
    if (!piece.empty()) job.listener->on_part({text.choice, std::move(piece), std::exchange(text.held, {}), ""});
  }
  return !text.stream.has_stopped();
} catch (const std::exception& error) {
  job.failure.emplace(500, error.what());
  return false;
}

// The end token is listed with a completion's log-probabilities, since clients that score a prompt count on one token
// behind it; a chat lists what it says.
void Service::take_end(Job& job, Text& text, const SampledToken& token) const {
  if (!job.request.likely || job.request.is_chat) return;
  text.held.push_back({token.id, token.logprob, {token.likely.begin(), token.likely.end()}, text.offset});
}

void Service::finish_text(Job& job, Text& text, FinishReason reason, int64_t shared) try {
  text.is_live = false;
  if (job.failure) return;
  // A prompt counts once, however many texts it is continued by.
  if (text.choice % static_cast<size_t>(job.request.samples) == 0) job.usage.shared_tokens += shared;
  std::string rest = text.stream.finish();
  if (text.stream.has_stopped()) reason = FinishReason::kStopped;
  job.listener->on_part({text.choice, std::move(rest), std::exchange(text.held, {}), name_of(reason)});
  ++job.ended;
  end_if_done(job);
} catch (const std::exception& error) {
  job.failure.emplace(500, error.what());
}

void Service::end_if_done(Job& job) {
  if (job.ended < job.choices() || job.is_over) return;
  job.is_over = true;
  const double seconds = std::chrono::duration<double>(Clock::now() - job.arrived).count();
  {
    const std::lock_guard lock(mutex_);
    mean_seconds_ = mean_seconds_ == 0 ? seconds : 0.9 * mean_seconds_ + 0.1 * seconds;
    state_.prompt_tokens += job.usage.prompt_tokens;
    state_.generated_tokens += job.usage.completion_tokens;
    state_.shared_tokens += job.usage.shared_tokens;
  }
  job.listener->on_end(job.usage);
}

void Service::step() {
  try {
    scheduler_.step();
  } catch (const std::exception& error) {
    // The scheduler has dropped all texts.
    for (const auto& job : running_) {
      const bool is_hit = std::any_of(job->texts.begin(), job->texts.end(),
                                      [](const auto& text) { return text != nullptr && text->is_live; });
      if (!is_hit) continue;
      for (const auto& text : job->texts)
        if (text != nullptr) text->is_live = false;
      fail(*job, RequestError(500, error.what()));
    }
  }
  for (const auto& job : running_)
    if (job->failure) fail(*job, RequestError(*job->failure));
}

// What a token adds to the text of a prompt: nothing where it is a special one, and no blank before the first word
// where the tokenizer puts one of its own.
int64_t Service::shown_characters(const std::string& text, int32_t id, int64_t before) const {
  const Tokenizer& tokenizer = model_.tokenizer();
  const std::string bytes = tokenizer.token_bytes(id);
  const bool is_special = tokenizer.decode({&id, 1}, true).empty() && !tokenizer.decode({&id, 1}, false).empty();
  if (is_special) return 0;
  return count_characters(bytes) - (before == 0 && bytes.starts_with(' ') && !text.starts_with(' '));
}

// Log-probabilities of prompts that are echoed, those of many requests together, since they often begin alike.
void Service::score() {
  const bool has_others = scheduler_.running() + scheduler_.waiting() > 0;
  const size_t most = has_others ? kScoredBetween : kScoredAtOnce;
  PagedCache& cache = model_.engine().cache();
  struct Scored {
    Job* job;
    Job::Prompt* prompt;
    std::vector<std::vector<LikelyToken>> likely;
  };
  std::deque<Scored> chosen;
  std::vector<ScoredPath> paths;
  size_t tokens = 0;
  for (const auto& job : running_) {
    if (job->is_over || job->is_scored()) continue;
    for (size_t i = job->scored; i < job->prompts.size() && (tokens == 0 || tokens < most); ++i) {
      Job::Prompt& prompt = job->prompts[i];
      const int64_t pages = cache.needed_pages(static_cast<int64_t>(prompt.ids.size()));
      if (pages > cache.free_pages()) scheduler_.forget_finished();
      if (pages > cache.free_pages()) break;  // when others have ended
      tokens += prompt.ids.size();
      chosen.push_back({job.get(), &prompt, {}});
    }
  }
  if (chosen.empty()) return;
  for (Scored& one : chosen)
    if (one.prompt->ids.size() > 1)
      paths.push_back({one.prompt->ids, 1, &one.likely, static_cast<size_t>(*one.job->request.likely)});
  std::vector<std::vector<TokenScore>> scores;
  try {
    scores = score_paths(model_.engine(), paths);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInterrupted) return;  // a shutdown has begun; once more while it waits for us
    for (const Scored& one : chosen) fail(*one.job, RequestError(500, error.what()));
    return;
  }
  auto next = scores.begin();
  for (Scored& one : chosen) {
    int64_t offset = 0;
    const std::vector<int32_t>& ids = one.prompt->ids;
    for (size_t i = 0; i < ids.size(); ++i) {
      AnswerToken token{ids[i], std::nullopt, {}, offset};
      if (i > 0) {
        token.logprob = (*next)[i - 1].logprob;
        token.likely = std::move(one.likely[i - 1]);
      }
      offset += shown_characters(one.prompt->text, ids[i], offset);
      one.prompt->tokens.push_back(std::move(token));
    }
    if (ids.size() > 1) ++next;
    ++one.job->scored;
  }
  for (const auto& job : running_) {
    int64_t free = room();
    if (!job->is_over && job->needs_scores() && job->is_scored() && scheduler_.waiting() == 0) add_texts(job, free);
  }
}

}  // namespace ockham
