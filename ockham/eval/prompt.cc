// Prompts: the benchmark's chat layout, or a plain text with fields.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/eval/evaluate.h"
#include "ockham/eval/faithful_prompt.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/system_prompt.h"

namespace ockham {
namespace {

using Examples = std::vector<std::pair<std::string, std::string>>;

// At most as many as the options ask for, or else the task.
Examples read_examples(const Task& task, const Json& item, const EvalOptions& options) {
  Examples examples;
  const auto field = item.find("examples");
  if (field == item.end() || field->is_null()) return examples;
  if (!field->is_array())
    throw_input("{}: key 'examples' is {}, expected a list of [text, label]", item_name(item), field->type_name());
  for (const Json& example : *field) {
    if (!example.is_array() || example.size() != 2 || !example[0].is_string() || !example[1].is_string())
      throw_input("{}: an entry of 'examples' is {}, expected [text, label]", item_name(item), example.dump());
    examples.emplace_back(example[0].get<std::string>(), example[1].get<std::string>());
  }
  if (const std::optional<int64_t> most = options.num_fewshot ? options.num_fewshot : task.num_fewshot)
    examples.resize(std::min(examples.size(), static_cast<size_t>(*most)));
  return examples;
}

std::string field_text(const Json& item, const std::string& name, const std::string& where) {
  const std::vector<std::string> texts = item_texts(item, name);
  if (texts.empty() || texts[0].empty())
    throw_input("{}: {}: the field '{}' of the prompt is {}; fill it or take it out of the prompt", where,
                item_name(item), name, texts.empty() ? "missing" : "empty");
  return texts[0];
}

// Replaces {field}; "{{" and "}}" stand for braces. `input` replaces the item's own for examples.
std::string fill_fields(const std::string& pattern, const Json& item, const std::string* input,
                        const std::string& where) {
  std::string result;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      result += c;
      ++i;
    } else if (c == '{') {
      const size_t end = pattern.find('}', i);
      if (end == std::string::npos)
        throw_input("{}: the prompt '{}' has an open brace; close it or write {{{{", where, pattern);
      const std::string name = pattern.substr(i + 1, end - i - 1);
      result += input != nullptr && name == "input" ? *input : field_text(item, name, where);
      i = end;
    } else {
      result += c;
    }
  }
  return result;
}

std::string plain_text(const Task& task, const Json& item, const EvalOptions& options) {
  std::string text;
  for (const auto& [input, label] : read_examples(task, item, options))
    text += fill_fields(task.plain_prompt, item, &input, task.file) + " " + label + "\n\n";
  return text + fill_fields(task.plain_prompt, item, nullptr, task.file);
}

// A plain prompt as it is, or as the one user turn of the model's chat template with its preamble as system text.
Prompt finish_plain(const LanguageModel& model, const std::string& preamble, const std::string& text,
                    const EvalOptions& options) {
  if (!options.apply_chat_template) return {preamble + text, false, options.bos};
  std::vector<ChatMessage> messages;
  if (!preamble.empty()) messages.push_back({"system", preamble});
  messages.push_back({"user", text});
  Prompt prompt = model.render(messages, true);
  if (!prompt.is_rendered) prompt.bos = options.bos;
  return prompt;
}

// Chat templates want user and assistant in turn; what one role says several times in a row becomes one turn.
std::vector<ChatMessage> join_turns(std::vector<ChatMessage> messages) {
  std::vector<ChatMessage> joined;
  for (ChatMessage& message : messages) {
    if (!joined.empty() && joined.back().role == message.role)
      joined.back().content += "\n" + message.content;
    else
      joined.push_back(std::move(message));
  }
  return joined;
}

// Turns as the item gives them.
std::vector<ChatMessage> own_messages(const Json& item) {
  const Json& list = item["messages"];
  const std::string where = item_name(item);
  if (!list.is_array() || list.empty())
    throw_input("{}: key 'messages' is {}, expected a list of turns", where, list.type_name());
  std::vector<ChatMessage> messages;
  for (const Json& turn : list) {
    if (!turn.is_object()) throw_input("{}: an entry of 'messages' is {}, expected an object", where, turn.type_name());
    messages.push_back({json_text(turn, "role", where), json_text(turn, "content", where)});
  }
  return messages;
}

}  // namespace

std::vector<ChatMessage> build_messages(const Task& task, const Json& item, const EvalOptions& options) {
  if (item.contains("messages")) return own_messages(item);
  const std::string input = field_text(item, "input", task.file);
  const std::string own_description = item_label(item, "description"), own_system = item_label(item, "system");
  const std::string& description = own_description.empty() ? task.description : own_description;
  const Examples examples = read_examples(task, item, options);
  std::string system = own_system.empty() ? task.system : own_system;
  if (own_system.empty() && !examples.empty() && !task.few_shot_system.empty()) system = task.few_shot_system;

  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  // The description opens the conversation: a turn of its own before examples, the head of the first turn otherwise.
  std::string head = description.empty() ? "" : description + "\n";
  if (!examples.empty() && !task.few_shot_ack.empty() && !description.empty()) {
    messages.push_back({"user", description});
    messages.push_back({"assistant", task.few_shot_ack});
    head.clear();
  }
  for (const auto& [text, label] : examples) {
    messages.push_back({"user", head + text});
    messages.push_back({"assistant", task.capitalizes_labels ? capitalize(label) : label});
    head.clear();
  }
  messages.push_back({"user", head + input});
  return messages;
}

std::string prompt_mode_name(PromptMode mode) {
  return mode == PromptMode::kFaithful ? "faithful" : "clean";
}

PromptMode prompt_mode_from_name(const std::string& name, const std::string& where) {
  if (name == "clean") return PromptMode::kClean;
  if (name == "faithful") return PromptMode::kFaithful;
  throw_input("{}: found '{}', expected clean or faithful", where, name);
}

Prompt build_prompt(const LanguageModel& model, const Task& task, const Json& item, const EvalOptions& options) {
  if (item.contains("context"))
    return finish_plain(model, item_label(item, "preamble"), item_label(item, "context"), options);
  if (!task.is_chat) return finish_plain(model, "", plain_text(task, item, options), options);
  std::vector<ChatMessage> messages = build_messages(task, item, options);
  if (options.system_prompt) apply_system_prompt(*options.system_prompt, messages);
  if (options.prompt_mode == PromptMode::kClean) return model.render(join_turns(std::move(messages)), true);
  const FaithfulTemplate& chat = faithful_template(options.chat_template, model.info());
  const bool has_system = std::any_of(messages.begin(), messages.end(),
                                      [](const ChatMessage& message) { return message.role == "system"; });
  return render_faithful(chat, messages, has_system ? "" : default_head(chat, model));
}

}  // namespace ockham
