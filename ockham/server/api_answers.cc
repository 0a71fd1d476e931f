// JSON to answers.
#include "ockham/server/api_answers.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

constexpr const char* kAnswer = "the server's answer";
constexpr int64_t kMostTokens = int64_t{1} << 40;

Json parse_answer(std::string_view body) {
  if (body.empty()) throw_input("{}: is empty, expected JSON", kAnswer);
  Json root;
  try {
    root = parse_json(body, kAnswer);
  } catch (const Error&) {
    throw_input("{}: is no JSON (it begins with {})", kAnswer,
                Json(std::string(body.substr(0, 40))).dump(-1, ' ', true, Json::error_handler_t::replace));
  }
  if (!root.is_object()) throw_input("{}: is {}, expected an object", kAnswer, root.type_name());
  return root;
}

const Json& list_at(const Json& object, const char* key, const std::string& where) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_array())
    throw_input("{}: key '{}' is {}, expected a list", where, key,
                field == object.end() ? "missing" : field->type_name());
  return *field;
}

const Json& object_at(const Json& object, const char* key, const std::string& where) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_object())
    throw_input("{}: key '{}' is {}, expected an object", where, key,
                field == object.end() ? "missing" : field->type_name());
  return *field;
}

// A whole number of a sensible size, 0 for anything else.
int64_t count_at(const Json& object, const char* key) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_number_integer()) return 0;
  if (field->is_number_unsigned() && field->get<uint64_t>() > uint64_t{kMostTokens}) return 0;
  return std::clamp<int64_t>(field->get<int64_t>(), 0, kMostTokens);
}

ApiUsage read_usage(const Json& root) {
  const auto usage = root.find("usage");
  if (usage == root.end() || !usage->is_object()) return {};
  return {count_at(*usage, "prompt_tokens"), count_at(*usage, "completion_tokens")};
}

std::string text_or_null(const Json& object, const char* key, const std::string& where) {
  const auto field = object.find(key);
  if (field != object.end() && field->is_null()) return "";
  return json_text(object, key, where);
}

template <typename Text>
ApiGenerated read_choices(std::string_view body, const Text& text_of) {
  const Json root = parse_answer(body);
  ApiGenerated generated;
  const Json& choices = list_at(root, "choices", kAnswer);
  if (choices.empty()) throw_input("{}: key 'choices' is an empty list, expected an answer", kAnswer);
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::string where = fmt::format("{}: choice {}", kAnswer, i);
    if (!choices[i].is_object()) throw_input("{}: is {}, expected an object", where, choices[i].type_name());
    const auto reason = choices[i].find("finish_reason");
    generated.choices.push_back(
        {text_of(choices[i], where), reason != choices[i].end() && reason->is_string() && *reason == "length"});
  }
  generated.usage = read_usage(root);
  return generated;
}

// Letters only: tokens of several kinds of tokenizers write a blank as "▁", "Ġ", or not at all.
std::string without_blanks(std::string_view text) {
  std::string letters;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "▁") {
      i += 2;
    } else if (text.substr(i, 2) == "Ġ" || text.substr(i, 2) == "Ċ") {
      i += 1;
    } else if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) {
      letters += text[i];
    }
  }
  return letters;
}

int64_t count_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

std::string join_tokens(const ApiEcho& echo, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) text += echo.tokens[i];
  return without_blanks(text);
}

}  // namespace

std::vector<ApiModel> read_models(std::string_view body) {
  const Json root = parse_answer(body);
  std::vector<ApiModel> models;
  for (const Json& entry : list_at(root, "data", kAnswer)) {
    if (!entry.is_object()) throw_input("{}: an entry of 'data' is {}, expected an object", kAnswer, entry.type_name());
    ApiModel model;
    model.name = json_text(entry, "id", kAnswer);
    model.context_length = count_at(entry, "max_model_len");
    const auto meta = entry.find("meta");
    if (model.context_length == 0 && meta != entry.end() && meta->is_object()) {
      model.context_length = count_at(*meta, "n_ctx");
      if (model.context_length == 0) model.context_length = count_at(*meta, "n_ctx_train");
    }
    models.push_back(std::move(model));
  }
  return models;
}

ApiGenerated read_completion(std::string_view body) {
  return read_choices(body,
                      [](const Json& choice, const std::string& where) { return text_or_null(choice, "text", where); });
}

ApiGenerated read_chat_completion(std::string_view body) {
  return read_choices(body, [](const Json& choice, const std::string& where) {
    const Json& message = object_at(choice, "message", where);
    // Without text: a refusal, or a model that spent its tokens on reasoning.
    std::string text =
        message.contains("content") || !(message.contains("refusal") || message.contains("reasoning_content"))
            ? text_or_null(message, "content", where)
            : "";
    const auto refusal = message.find("refusal");
    if (text.empty() && refusal != message.end() && refusal->is_string()) text = refusal->get<std::string>();
    return text;
  });
}

ApiEcho read_echo(std::string_view body) {
  const Json root = parse_answer(body);
  const Json& choices = list_at(root, "choices", kAnswer);
  if (choices.empty() || !choices[0].is_object())
    throw_input("{}: key 'choices' holds no object, expected an answer", kAnswer);
  const std::string where = std::string(kAnswer) + ": logprobs";
  const Json& logprobs = object_at(choices[0], "logprobs", kAnswer);
  const Json &tokens = list_at(logprobs, "tokens", where), &values = list_at(logprobs, "token_logprobs", where),
             &best = list_at(logprobs, "top_logprobs", where);
  if (values.size() != tokens.size() || best.size() != tokens.size())
    throw_input("{}: {} tokens, {} token_logprobs and {} top_logprobs, expected lists of one length", where,
                tokens.size(), values.size(), best.size());
  ApiEcho echo;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].is_string()) throw_input("{}: token {} is {}, expected a text", where, i, tokens[i].type_name());
    if (!values[i].is_number() && !values[i].is_null())
      throw_input("{}: token_logprobs {} is {}, expected a number", where, i, values[i].type_name());
    if (!best[i].is_object() && !best[i].is_null())
      throw_input("{}: top_logprobs {} is {}, expected an object", where, i, best[i].type_name());
    const double value = values[i].is_null() ? std::numeric_limits<double>::quiet_NaN() : values[i].get<double>();
    if (value > 1e-3)
      throw_input("{}: token_logprobs {} is {}, expected the logarithm of a probability", where, i, value);
    echo.tokens.push_back(tokens[i].get<std::string>());
    echo.logprobs.push_back(value);
    bool is_best = best[i].is_object() && !best[i].empty();
    if (is_best)
      for (const Json& other : best[i]) is_best = is_best && other.is_number() && value >= other.get<double>() - 1e-6;
    echo.is_best.push_back(is_best);
  }
  if (const auto offsets = logprobs.find("text_offset");
      offsets != logprobs.end() && offsets->is_array() && offsets->size() == tokens.size()) {
    for (const Json& offset : *offsets) {
      if (!offset.is_number_integer()) throw_input("{}: a text_offset is {}, expected a number", where, offset.dump());
      echo.offsets.push_back(offset.is_number_unsigned() && offset.get<uint64_t>() > uint64_t{kMostTokens}
                                 ? kMostTokens
                                 : offset.get<int64_t>());
    }
  }
  echo.usage = read_usage(root);
  return echo;
}

int64_t find_boundary(const ApiEcho& echo, size_t count, std::string_view context, std::string_view continuation) {
  if (echo.offsets.empty() || count == 0 || count > echo.tokens.size()) return -1;
  const std::string wanted = without_blanks(continuation);
  if (wanted.empty()) return -1;
  const std::string all = without_blanks(context) + wanted, first = without_blanks(echo.tokens[0]);
  const bool has_start_token = !all.starts_with(first);
  const int64_t shift = has_start_token && count > 1 ? echo.offsets[1] : 0;
  const int64_t boundary = count_code_points(context) + shift;
  for (size_t i = has_start_token || first.empty() ? 1 : 0; i < count; ++i)
    if (echo.offsets[i] >= boundary)
      return join_tokens(echo, i, count) == wanted ? static_cast<int64_t>(i) : int64_t{-1};
  return -1;
}

bool spells(const ApiEcho& echo, size_t count, std::string_view text) {
  if (count > echo.tokens.size()) return false;
  const std::string wanted = without_blanks(text);
  return join_tokens(echo, 0, count) == wanted || (count > 0 && join_tokens(echo, 1, count) == wanted);
}

ApiProblem read_problem(std::string_view body) {
  ApiProblem problem;
  Json root;
  try {
    root = parse_json(body, kAnswer);
  } catch (const Error&) {
    return problem;
  }
  if (!root.is_object()) return problem;
  const Json* place = &root;
  if (const auto error = root.find("error"); error != root.end()) {
    if (error->is_string()) problem.message = error->get<std::string>();
    if (error->is_object()) place = &*error;
  }
  const auto text_at = [&](const char* key) {
    const auto field = place->find(key);
    return field != place->end() && field->is_string() ? field->get<std::string>() : std::string();
  };
  for (const char* key : {"message", "detail"})
    if (problem.message.empty()) problem.message = text_at(key);
  // Validation errors come as a list of {loc, msg}.
  if (const auto list = place->find("detail"); problem.message.empty() && list != place->end() && list->is_array())
    for (const Json& entry : *list)
      if (problem.message.empty() && entry.is_object() && entry.contains("msg") && entry["msg"].is_string())
        problem.message = entry["msg"].get<std::string>();
  problem.code = text_at("code");
  if (problem.code.empty()) problem.code = text_at("type");
  for (char& c : problem.message)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  constexpr size_t kMost = 300;
  if (problem.message.size() > kMost) {
    size_t end = kMost;
    while (end > 0 && (problem.message[end] & 0xC0) == 0x80) --end;
    problem.message = problem.message.substr(0, end) + "...";
  }
  return problem;
}

}  // namespace ockham
