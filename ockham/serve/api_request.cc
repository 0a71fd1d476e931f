#include "ockham/serve/api_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/text/json_grammar.h"

namespace ockham {
namespace {

template <typename... Args>
[[noreturn]] void refuse(const std::string& param, fmt::format_string<Args...> text, Args&&... args) {
  throw RequestError(400, fmt::format(text, std::forward<Args>(args)...), param);
}

// Reads the fields of one object and remembers which it has seen.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  // Null for a field that is absent or null.
  const Json* find(const char* name) {
    seen_.push_back(name);
    const auto field = object_.find(name);
    return field == object_.end() || field->is_null() ? nullptr : &*field;
  }
  bool flag(const char* name, bool otherwise) {
    const Json* field = find(name);
    if (field == nullptr) return otherwise;
    if (!field->is_boolean()) refuse(name, "'{}' is {}, expected true or false", name, kind(*field));
    return field->get<bool>();
  }
  std::string text(const char* name) {
    const Json* field = find(name);
    if (field == nullptr) return "";
    if (!field->is_string()) refuse(name, "'{}' is {}, expected a text", name, kind(*field));
    return field->get<std::string>();
  }
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most) {
    const Json* field = find(name);
    if (field == nullptr) return std::nullopt;
    if (!field->is_number_integer()) refuse(name, "'{}' is {}, expected a whole number", name, kind(*field));
    const bool is_huge = field->is_number_unsigned() && field->get<uint64_t>() > uint64_t{INT64_MAX};
    const int64_t value = is_huge ? INT64_MAX : field->get<int64_t>();
    if (value < least || value > most) refuse(name, "'{}' is {}, expected {} to {}", name, field->dump(), least, most);
    return value;
  }
  double real(const char* name, double least, double most, double otherwise) {
    const Json* field = find(name);
    if (field == nullptr) return otherwise;
    if (!field->is_number()) refuse(name, "'{}' is {}, expected a number", name, kind(*field));
    const double value = field->get<double>();
    if (!(value >= least && value <= most))
      refuse(name, "'{}' is {}, expected {} to {}", name, field->dump(), least, most);
    return value;
  }
  // Fields that are not offered: refused unless their value changes nothing.
  void expect_neutral(const char* name, const Json& neutral, const char* remedy) {
    const Json* field = find(name);
    if (field == nullptr || *field == neutral || (field->is_structured() && field->empty())) return;
    refuse(name, "'{}' is not supported; {}", name, remedy);
  }
  void pass_over(const char* name) { seen_.push_back(name); }
  void refuse_unknown() const {
    for (const auto& [name, value] : object_.items())
      if (std::find(seen_.begin(), seen_.end(), name) == seen_.end())
        refuse(shortened(name), "'{}' is no field of this request; leave it out", shortened(name));
  }
  static std::string shortened(const std::string& text) {
    constexpr size_t kMost = 60;
    size_t end = std::min(text.size(), kMost);
    while (end < text.size() && end > 0 && (text[end] & 0xC0) == 0x80) --end;
    return end == text.size() ? text : text.substr(0, end) + "...";
  }
  static const char* kind(const Json& value) {
    return value.is_number_integer() ? "a whole number"
           : value.is_number()       ? "a fraction"
           : value.is_string()       ? "a text"
           : value.is_boolean()      ? "true or false"
           : value.is_array()        ? "a list"
           : value.is_object()       ? "an object"
                                     : "null";
  }

 private:
  const Json& object_;
  std::vector<std::string> seen_;
};

Json parse_body(std::string_view body) {
  if (body.empty()) throw RequestError(400, "the body is empty, expected a JSON object");
  Json root;
  try {
    root = parse_json(body, "the body");
  } catch (const Error& error) {
    // What it quotes may end in the middle of a character.
    const std::string message = error.what();
    throw RequestError(400, message.substr(0, find_invalid_utf8(message)));
  }
  if (!root.is_object()) throw RequestError(400, fmt::format("the body is {}, expected an object", Fields::kind(root)));
  return root;
}

int32_t read_id(const Json& value, const char* name) {
  if (!value.is_number_integer()) refuse(name, "'{}' holds {} among token ids", name, Fields::kind(value));
  const bool is_huge = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT32_MAX};
  if (is_huge || value.get<int64_t>() < 0 || value.get<int64_t>() > INT32_MAX)
    refuse(name, "'{}' holds {}, expected a token id", name, value.dump());
  return value.get<int32_t>();
}

std::vector<int32_t> read_ids(const Json& list, const char* name) {
  if (list.empty()) refuse(name, "'{}' holds an empty list of token ids", name);
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& value : list) ids.push_back(read_id(value, name));
  return ids;
}

// A text, a list of texts, a list of ids, or a list of lists of ids.
std::vector<PromptInput> read_prompts(Fields& fields) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) refuse("prompt", "'prompt' is missing, expected a text, token ids, or a list of them");
  if (prompt->is_string()) return {prompt->get<std::string>()};
  if (!prompt->is_array() || prompt->empty())
    refuse("prompt", "'prompt' is {}, expected a text, token ids, or a list of them",
           prompt->is_array() ? "an empty list" : Fields::kind(*prompt));
  if (prompt->front().is_number()) return {read_ids(*prompt, "prompt")};
  std::vector<PromptInput> prompts;
  for (const Json& one : *prompt) {
    if (prompts.size() >= ApiRequest::kMostSequences)
      refuse("prompt", "'prompt' holds {} prompts, expected at most {}", prompt->size(), ApiRequest::kMostSequences);
    if (one.is_string()) {
      prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array()) {
      prompts.emplace_back(read_ids(one, "prompt"));
    } else {
      refuse("prompt", "'prompt' holds {}, expected texts or lists of token ids", Fields::kind(one));
    }
  }
  return prompts;
}

std::vector<std::string> read_stop(Fields& fields) {
  const Json* stop = fields.find("stop");
  if (stop == nullptr) return {};
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (list.size() > ApiRequest::kMostStops)
    refuse("stop", "'stop' holds {} texts, expected at most {}", list.size(), ApiRequest::kMostStops);
  std::vector<std::string> texts;
  for (const Json& text : list) {
    if (!text.is_string()) refuse("stop", "'stop' holds {}, expected texts", Fields::kind(text));
    texts.push_back(text.get<std::string>());
    if (texts.back().empty() || texts.back().size() > ApiRequest::kMostStopBytes)
      refuse("stop", "'stop' holds a text of {} bytes, expected 1 to {}", texts.back().size(),
             ApiRequest::kMostStopBytes);
  }
  return texts;
}

// Parts of type "text", joined; other kinds have no meaning for a model of texts.
std::string read_content(const Json& content, const std::string& param) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_null()) return "";
  if (!content.is_array())
    refuse(param, "'{}' is {}, expected a text or a list of parts", param, Fields::kind(content));
  std::string text;
  for (const Json& part : content) {
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || *type != "text" || !part.contains("text") ||
        !part["text"].is_string())
      refuse(param, "'{}' holds a part that is no text; the model reads texts only", param);
    text += part["text"].get<std::string>();
  }
  return text;
}

std::string read_role(const Json& message, const std::string& param) {
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string())
    refuse(param + ".role", "'{}.role' is {}, expected a text", param,
           role == message.end() ? "missing" : Fields::kind(*role));
  auto name = role->get<std::string>();
  if (name == "developer") return "system";
  constexpr std::array kRoles = {"system", "user", "assistant"};
  if (std::find(kRoles.begin(), kRoles.end(), name) == kRoles.end())
    refuse(param + ".role", "'{}.role' is '{}', expected system, developer, user or assistant", param,
           Fields::shortened(name));
  return name;
}

std::vector<ChatMessage> read_messages(Fields& fields) {
  const Json* list = fields.find("messages");
  if (list == nullptr || !list->is_array() || list->empty())
    refuse("messages", "'messages' is {}, expected a list of messages",
           list == nullptr     ? "missing"
           : !list->is_array() ? Fields::kind(*list)
                               : "an empty list");
  if (list->size() > ApiRequest::kMostMessages)
    refuse("messages", "'messages' holds {}, expected at most {}", list->size(), ApiRequest::kMostMessages);
  std::vector<ChatMessage> messages;
  for (const Json& message : *list) {
    const std::string param = fmt::format("messages[{}]", messages.size());
    if (!message.is_object()) refuse(param, "'{}' is {}, expected an object", param, Fields::kind(message));
    const std::string role = read_role(message, param);
    const auto content = message.find("content");
    if (content == message.end() || (content->is_null() && role != "assistant"))
      refuse(param + ".content", "'{}.content' is missing, expected a text", param);
    messages.push_back({role, read_content(*content, param + ".content")});
  }
  return messages;
}

std::optional<uint64_t> read_seed(Fields& fields) {
  const Json* seed = fields.find("seed");
  if (seed == nullptr) return std::nullopt;
  if (!seed->is_number_integer()) refuse("seed", "'seed' is {}, expected a whole number", Fields::kind(*seed));
  return seed->is_number_unsigned() ? seed->get<uint64_t>() : static_cast<uint64_t>(seed->get<int64_t>());
}

void read_stream(Fields& fields, ApiRequest& request) {
  request.is_stream = fields.flag("stream", false);
  const Json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object())
    refuse("stream_options", "'stream_options' is {}, expected an object", Fields::kind(*options));
  if (!request.is_stream) refuse("stream_options", "'stream_options' is only for 'stream': true");
  Fields inner(*options);
  request.has_usage_in_stream = inner.flag("include_usage", false);
  inner.pass_over("include_obfuscation");
  inner.refuse_unknown();
}

// {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "json_schema": {"schema": {...}, ...}}.
void read_response_format(Fields& fields, ApiRequest& request) {
  const Json* format = fields.find("response_format");
  if (format == nullptr) return;
  if (!format->is_object())
    refuse("response_format", "'response_format' is {}, expected an object", Fields::kind(*format));
  Fields inner(*format);
  const std::string type = inner.text("type");
  if (type == "json_object") {
    request.grammar = json_object_grammar();
    request.constraint = type;
  } else if (type == "json_schema") {
    const Json* named = inner.find("json_schema");
    const auto schema = named != nullptr && named->is_object() ? named->find("schema") : Json::const_iterator();
    if (named == nullptr || !named->is_object() || schema == named->end())
      refuse("response_format", "'response_format.json_schema.schema' is missing, expected a JSON Schema");
    request.constraint = schema->dump();
    if (request.constraint.size() > ApiRequest::kMostGrammarBytes)
      refuse("response_format", "'response_format' has a schema of {} bytes, expected at most {}",
             request.constraint.size(), ApiRequest::kMostGrammarBytes);
    request.grammar = json_schema_grammar(*schema, "response_format.json_schema.schema");
    Fields details(*named);
    for (const char* name : {"name", "description", "schema", "strict"}) details.pass_over(name);
    details.refuse_unknown();
  } else if (type != "text") {
    refuse("response_format", "'response_format.type' is '{}', expected text, json_object or json_schema",
           Fields::shortened(type));
  }
  inner.refuse_unknown();
}

// A grammar in GBNF.
void read_grammar(Fields& fields, ApiRequest& request) {
  const std::string text = fields.text("grammar");
  if (text.empty()) return;
  if (request.grammar) refuse("grammar", "'grammar' stands beside 'response_format'; leave one of them out");
  if (text.size() > ApiRequest::kMostGrammarBytes)
    refuse("grammar", "'grammar' has {} bytes, expected at most {}", text.size(), ApiRequest::kMostGrammarBytes);
  request.grammar = parse_grammar(text, "grammar");
  request.constraint = "grammar " + text;
}

void read_constraint(Fields& fields, ApiRequest& request) {
  const char* param = "response_format";
  try {
    read_response_format(fields, request);
    param = "grammar";
    read_grammar(fields, request);
  } catch (const Error& error) {
    const std::string message = error.what();  // what it quotes may end in the middle of a character
    throw RequestError(400, message.substr(0, find_invalid_utf8(message)), param);
  }
}

// "h2o,budget=0.2"
void read_kv_cache(Fields& fields, ApiRequest& request) {
  const std::string text = fields.text("kv_cache");
  if (text.empty()) return;
  try {
    request.kv = parse_kv_policy("'kv_cache'", text);
  } catch (const Error& error) {
    throw RequestError(400, error.what(), "kv_cache");
  }
}

// What both kinds of request have.
void read_common(Fields& fields, ApiRequest& request) {
  request.model = fields.text("model");
  request.samples = fields.integer("n", 1, ApiRequest::kMostSamples).value_or(1);
  request.sampler.temperature = fields.real("temperature", 0, 2, 1);
  request.sampler.top_p = fields.real("top_p", 0, 1, 1);
  request.sampler.top_k = std::max<int64_t>(0, fields.integer("top_k", -1, ApiRequest::kMostTokens).value_or(0));
  request.sampler.min_p = fields.real("min_p", 0, 1, 0);
  request.sampler.repetition_penalty = fields.real("repetition_penalty", 0.1, 10, 1);
  request.seed = read_seed(fields);
  request.stop = read_stop(fields);
  read_stream(fields, request);
  fields.expect_neutral("presence_penalty", 0, "repetition_penalty is");
  fields.expect_neutral("frequency_penalty", 0, "repetition_penalty is");
  fields.expect_neutral("logit_bias", Json::object(), "leave it out");
  read_constraint(fields, request);
  read_kv_cache(fields, request);
  for (const char* name : {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
    fields.pass_over(name);
}

}  // namespace

RequestError::RequestError(int status_of, std::string message_of, std::string param_of, std::string code_of)
    : status(status_of), message(std::move(message_of)), param(std::move(param_of)), code(std::move(code_of)) {}

const char* RequestError::type() const {
  return status == 401   ? "authentication_error"
         : status == 429 ? "rate_limit_error"
         : status == 503 ? "overloaded_error"
         : status == 504 ? "timeout_error"
         : status >= 500 ? "server_error"
                         : "invalid_request_error";
}

ApiRequest read_completion_request(std::string_view body) {
  const Json root = parse_body(body);
  Fields fields(root);
  ApiRequest request;
  read_common(fields, request);
  request.prompts = read_prompts(fields);
  request.max_tokens = fields.integer("max_tokens", 0, ApiRequest::kMostTokens);
  request.likely = fields.integer("logprobs", 0, ApiRequest::kMostLikely);
  request.echo = fields.flag("echo", false);
  const int64_t best_of = fields.integer("best_of", 1, ApiRequest::kMostSamples).value_or(request.samples);
  if (best_of != request.samples) refuse("best_of", "'best_of' is {}, expected 'n' ({})", best_of, request.samples);
  fields.expect_neutral("suffix", "", "leave it out");
  fields.refuse_unknown();
  if (request.prompts.size() * static_cast<size_t>(request.samples) > ApiRequest::kMostSequences)
    refuse("n", "{} prompts times 'n' {} are too many texts, expected at most {}", request.prompts.size(),
           request.samples, ApiRequest::kMostSequences);
  return request;
}

ApiRequest read_chat_request(std::string_view body) {
  const Json root = parse_body(body);
  Fields fields(root);
  ApiRequest request;
  request.is_chat = true;
  read_common(fields, request);
  request.messages = read_messages(fields);
  const std::optional<int64_t> older = fields.integer("max_tokens", 1, ApiRequest::kMostTokens);
  request.max_tokens = fields.integer("max_completion_tokens", 1, ApiRequest::kMostTokens);
  if (!request.max_tokens) request.max_tokens = older;
  const bool wants_logprobs = fields.flag("logprobs", false);
  const std::optional<int64_t> likely = fields.integer("top_logprobs", 0, ApiRequest::kMostLikely);
  if (likely.value_or(0) > 0 && !wants_logprobs) refuse("top_logprobs", "'top_logprobs' is only for 'logprobs': true");
  if (wants_logprobs) request.likely = likely.value_or(0);
  for (const char* name : {"tools", "functions"}) fields.expect_neutral(name, Json::array(), "the model calls none");
  fields.expect_neutral("tool_choice", "none", "the model calls no tools");
  fields.expect_neutral("function_call", "none", "the model calls no functions");
  fields.expect_neutral("modalities", Json::array({"text"}), "the model writes texts only");
  fields.expect_neutral("audio", Json::object(), "the model writes texts only");
  for (const char* name : {"parallel_tool_calls", "reasoning_effort", "verbosity"}) fields.pass_over(name);
  fields.refuse_unknown();
  return request;
}

}  // namespace ockham
