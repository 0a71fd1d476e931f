// Choosing the model, and log-likelihoods. Generation stands in api_generate.cc.
#include "ockham/server/api_language_model.h"

#include <algorithm>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/text/prompt_tokens.h"

namespace ockham {
namespace {

constexpr const char* kProbe = "Entities are not to be multiplied without need.";

std::string joined_names(const std::vector<ApiModel>& models) {
  constexpr size_t kMost = 30;
  std::string text;
  for (size_t i = 0; i < std::min(models.size(), kMost); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", models[i].name);
  return models.size() > kMost ? text + fmt::format(" and {} more", models.size() - kMost) : text;
}

}  // namespace

ApiLanguageModel::ApiLanguageModel(const Options& options) : client_(options.server) {
  info_.path = client_.url();
  info_.is_remote = true;
  info_.batch_items = 8 * options.server.concurrency;
  choose_model(options.model);
  if (options.context_length > 0) info_.context_length = options.context_length;
  info_.arithmetic = "model " + info_.name;
  if (!options.tokenizer.empty()) {
    tokenizer_ = std::make_shared<const Tokenizer>(options.tokenizer);
    info_.vocabulary = tokenizer_->vocabulary_size();
    info_.arithmetic += ", token ids of " + sha256_file(options.tokenizer + "/tokenizer.json");
  }
}

void ApiLanguageModel::choose_model(const std::string& wish) {
  std::vector<ApiModel> models;
  HttpConnection connection;
  const std::string problem =
      client_.ask(connection, "/models", nullptr, [&](const std::string& body) { models = read_models(body); });
  for (ApiModel& model : models) model.name = client_.redact(model.name);
  if (!problem.empty() && !problem.starts_with("status 4"))
    throw_error(ErrorKind::kResource, "{}: its models cannot be listed: {}; check the address and whether it runs",
                client_.url(), problem);
  if (wish.empty() && models.size() != 1)
    throw_error(ErrorKind::kUsage, "{}: {}; name one with --api-model", client_.url(),
                !problem.empty() ? "its models cannot be listed: " + problem
                : models.empty() ? "lists no model"
                                 : fmt::format("has {} models: {}", models.size(), joined_names(models)));
  info_.name = wish.empty() ? models[0].name : wish;
  std::vector<std::string> names;
  for (const ApiModel& model : models) {
    names.push_back(model.name);
    if (model.name == info_.name) info_.context_length = model.context_length;
  }
  if (!models.empty() && std::find(names.begin(), names.end(), info_.name) == names.end()) {
    const std::string near = closest_name(info_.name, names);
    log_warning(fmt::format("{}: does not list the model '{}'{}", client_.url(), info_.name,
                            near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
}

Prompt ApiLanguageModel::render(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  Prompt prompt;
  if (tokenizer_) {
    prompt = render_chat(*tokenizer_, messages, add_generation_prompt, info_.name);
  } else {
    prompt.is_rendered = true;
    for (const ChatMessage& message : messages) prompt.text += message.role + ": " + message.content + "\n";
  }
  prompt.messages.assign(messages.begin(), messages.end());
  return prompt;
}

std::optional<int32_t> ApiLanguageModel::bos_id() const {
  return tokenizer_ ? tokenizer_->bos_id() : std::nullopt;
}

std::vector<int32_t> ApiLanguageModel::tokenize(const std::string& text, bool add_special_tokens) const {
  if (!tokenizer_)
    throw_error(ErrorKind::kUnsupported,
                "{}: the task counts tokens, and the server's tokenizer is not at hand; pass --tokenizer with the "
                "model's directory",
                info_.name);
  return tokenizer_->encode(text, add_special_tokens, false);
}

std::string ApiLanguageModel::echo(HttpConnection& connection, const Json& prompt, EchoReply& reply,
                                   std::optional<int64_t> retries) {
  const Json body = {{"model", info_.name}, {"prompt", prompt}, {"max_tokens", echo_tokens_},
                     {"temperature", 0},    {"echo", true},     {"logprobs", 1}};
  return client_.ask(
      connection, "/completions", body,
      [&](const std::string& text) {
        reply.echo = read_echo(text);
        const auto generated = static_cast<size_t>(echo_tokens_);
        if (reply.echo.tokens.size() <= generated)
          throw_input("the server's answer: {} tokens, expected those of the text that was sent",
                      reply.echo.tokens.size());
        reply.count = reply.echo.tokens.size() - generated;
        client_.count_tokens(reply.echo.usage.prompt_tokens, reply.echo.usage.completion_tokens);
      },
      retries);
}

std::string ApiLanguageModel::probe_likelihoods() {
  HttpConnection connection;
  const Json prompt = tokenizer_ ? Json(tokenizer_->encode(kProbe, true, false)) : Json(kProbe);
  std::string reason;
  // Servers that must generate something take one token.
  for (echo_tokens_ = 0; echo_tokens_ <= 1; ++echo_tokens_) {
    EchoReply reply;
    reason = echo(connection, prompt, reply, 2);
    if (!reason.empty()) continue;
    if (tokenizer_ && reply.count != prompt.size())
      reason = fmt::format("it counts {} tokens where --tokenizer has {}: that is another tokenizer", reply.count,
                           prompt.size());
    else if (!tokenizer_ && !spells(reply.echo, reply.count, kProbe))
      reason = "it does not echo the text that was sent";
    else if (reply.count < 2 || std::isnan(reply.echo.logprobs[reply.count - 1]))
      reason = "it gives no log-likelihoods of the text that was sent";
    else
      return "";
  }
  return reason;
}

bool ApiLanguageModel::gives_likelihoods() {
  if (!no_likelihoods_) {
    no_likelihoods_ = probe_likelihoods();
    // The generated token takes a place.
    if (echo_tokens_ == 1 && info_.context_length > 1) --info_.context_length;
  }
  return no_likelihoods_->empty();
}

void ApiLanguageModel::check(const ScoreRequest& request) {
  if (!gives_likelihoods())
    throw_error(ErrorKind::kUnsupported,
                "the task needs the log-likelihood of given texts, and the server gives none (completions with echo "
                "and logprobs): {}",
                *no_likelihoods_);
  if (tokenizer_) return;
  if (request.context.is_rendered)
    throw_error(ErrorKind::kUnsupported,
                "the task scores texts behind a conversation, which a server takes only as a text that is rendered "
                "here; pass --tokenizer with the model's directory, which holds its chat template");
  if (request.context.bos != BosRule::kTokenizer)
    throw_error(ErrorKind::kUnsupported, "--add-bos: without --tokenizer the server decides; leave it out");
}

std::vector<ScoreAnswer> ApiLanguageModel::score(std::span<const ScoreRequest> requests) {
  for (const ScoreRequest& request : requests) check(request);
  std::vector<ScoreAnswer> answers(requests.size());
  client_.run(requests.size(), [&](HttpConnection& connection, size_t job) {
    if (tokenizer_)
      score_ids(connection, requests[job], answers[job]);
    else
      score_texts(connection, requests[job], answers[job]);
  });
  return answers;
}

namespace {

// Sums tokens [begin, end).
ContinuationScore sum_tokens(const ApiEcho& echo, size_t begin, size_t end) {
  ContinuationScore score{0, static_cast<int64_t>(end - begin), true};
  for (size_t i = begin; i < end; ++i) {
    score.logprob += echo.logprobs[i];
    score.is_greedy = score.is_greedy && echo.is_best[i];
  }
  return score;
}

}  // namespace

void ApiLanguageModel::score_texts(HttpConnection& connection, const ScoreRequest& request, ScoreAnswer& answer) {
  Prompt context = request.context;
  const std::string blanks = take_trailing_blanks(context);
  std::optional<size_t> counted;  // tokens of the context alone
  for (const std::string& text : request.continuations) {
    const std::string continuation = blanks + text;
    EchoReply reply;
    answer.missing = echo(connection, context.text + continuation, reply);
    if (!answer.missing.empty()) return;
    int64_t begin = find_boundary(reply.echo, reply.count, context.text, continuation);
    if (begin < 0 && context.text.empty()) {
      begin = std::isnan(reply.echo.logprobs[0]) && reply.count > 1 ? 1 : 0;
    } else if (begin < 0) {
      EchoReply alone;
      if (!counted) {
        answer.missing = echo(connection, context.text, alone);
        if (!answer.missing.empty()) return;
        counted = alone.count;
      }
      begin = static_cast<int64_t>(*counted);
    }
    if (begin >= static_cast<int64_t>(reply.count))
      throw_input("continuation '{}' has no token of its own behind its context; make it longer", text);
    answer.scores.push_back(sum_tokens(reply.echo, static_cast<size_t>(begin), reply.count));
    if (std::isnan(answer.scores.back().logprob)) {
      answer.missing = "the server gives no log-likelihood of the first token of a text; begin the prompt with a text";
      return;
    }
  }
}

void ApiLanguageModel::score_ids(HttpConnection& connection, const ScoreRequest& request, ScoreAnswer& answer) {
  Prompt context = request.context;
  const std::string blanks = take_trailing_blanks(context);
  const std::vector<int32_t> ids = encode_prompt(*tokenizer_, context, info_.name);
  for (const std::string& text : request.continuations) {
    const std::vector<int32_t> continuation = continuation_tokens(*tokenizer_, context, ids, blanks + text, info_.name);
    std::vector<int32_t> whole = ids;
    if (whole.empty()) {
      const std::vector<int32_t> ends = tokenizer_->eos_ids();
      whole.push_back(tokenizer_->bos_id().value_or(ends.empty() ? 0 : ends[0]));
    }
    whole.insert(whole.end(), continuation.begin(), continuation.end());
    // A server reads the last token too, which a local model only predicts.
    const int64_t over =
        info_.context_length > 0 ? static_cast<int64_t>(whole.size()) - info_.context_length : int64_t{0};
    if (over > 0 && static_cast<size_t>(over) + continuation.size() >= whole.size())
      throw_input("a continuation has {} tokens, the model reads {}; shorten it", continuation.size(),
                  info_.context_length);
    if (over > 0) {
      whole.erase(whole.begin(), whole.begin() + over);
      answer.truncated_tokens = std::max(answer.truncated_tokens, over);
    }
    EchoReply reply;
    answer.missing = echo(connection, whole, reply);
    if (answer.missing.empty() && reply.count != whole.size())
      answer.missing = fmt::format("the server answers with {} tokens to a text of {}", reply.count, whole.size());
    if (!answer.missing.empty()) return;
    answer.scores.push_back(sum_tokens(reply.echo, whole.size() - continuation.size(), whole.size()));
    if (std::isnan(answer.scores.back().logprob)) {
      answer.missing = "the server's answer: a token has no log-likelihood";
      return;
    }
  }
}

std::vector<SequenceScore> ApiLanguageModel::score_sequences(std::span<const std::vector<int32_t>> sequences) {
  check(ScoreRequest{});
  std::vector<SequenceScore> scores(sequences.size());
  client_.run(sequences.size(), [&](HttpConnection& connection, size_t job) {
    const std::vector<int32_t>& ids = sequences[job];
    EchoReply reply;
    std::string& missing = scores[job].missing;
    missing = echo(connection, ids, reply);
    if (missing.empty() && reply.count != ids.size())
      missing = fmt::format("the server answers with {} tokens to a text of {}", reply.count, ids.size());
    for (size_t i = 1; i < ids.size() && missing.empty(); ++i) {
      scores[job].logprobs.push_back(static_cast<float>(reply.echo.logprobs[i]));
      if (std::isnan(reply.echo.logprobs[i])) missing = "the server's answer: a token has no log-likelihood";
    }
  });
  return scores;
}

}  // namespace ockham
