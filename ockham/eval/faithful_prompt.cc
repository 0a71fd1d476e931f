// The three templates that the compressed-trust study used.
#include "ockham/eval/faithful_prompt.h"

#include <algorithm>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"

namespace ockham {
namespace {

constexpr FaithfulTemplate kTemplates[] = {
    {"llama-2", FaithfulStyle::kLlama2, "[INST]", "[/INST]", " ", " </s><s>", ""},
    {"vicuna_v1.1", FaithfulStyle::kVicuna, "USER", "ASSISTANT", " ", "</s>", ""},
    {"redpajama-incite-instruct", FaithfulStyle::kInstruct, "", "answer", "\n", "\n", "sentence"}};

// An empty text counts as none: the role alone is written, as for the open turn at the end.
std::string turn_text(const FaithfulTemplate& chat, const ChatMessage& message, size_t index, std::string head) {
  const std::string role = message.role == "user" ? chat.user : chat.assistant;
  const std::string separator = index % 2 == 0 ? chat.separator : chat.other;
  switch (chat.style) {
    case FaithfulStyle::kLlama2:
      if (message.content.empty()) return role;
      if (index == 0) return std::move(head) + message.content;
      return role + " " + message.content + separator;
    case FaithfulStyle::kVicuna:
      return message.content.empty() ? role + ":" : role + ": " + message.content + separator;
    case FaithfulStyle::kInstruct:
      if (message.content.empty()) return role + ":";
      return (role.empty() ? "" : role + ": ") + message.content + separator;
  }
  return "";
}

}  // namespace

const FaithfulTemplate& faithful_template(const std::string& wish, const ModelInfo& model) {
  std::vector<std::string> names;
  for (const FaithfulTemplate& chat : kTemplates) names.emplace_back(chat.name);
  std::string name = wish;
  if (name.empty()) {
    const std::string known = to_lower(model.name + " " + model.path);
    if (known.find("vicuna") != std::string::npos)
      name = "vicuna_v1.1";
    else if (known.find("llama") != std::string::npos)
      name = known.find("chat") != std::string::npos ? "llama-2" : "redpajama-incite-instruct";
    else
      throw_error(ErrorKind::kUsage,
                  "--prompt-mode faithful: no template is known for '{}', expected --template with one of: {}",
                  model.name, fmt::join(names, ", "));
  }
  for (const FaithfulTemplate& chat : kTemplates)
    if (chat.name == name) return chat;
  const std::string near = closest_name(name, names);
  throw_error(ErrorKind::kUsage, "--template: found '{}', expected one of: {}{}", name, fmt::join(names, ", "),
              near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::string default_head(const FaithfulTemplate& chat, const LanguageModel& model) {
  if (chat.style == FaithfulStyle::kInstruct) return "";
  const std::string mark = "HEADEND";
  const std::vector<ChatMessage> messages = {{"user", mark}};
  const std::string text = model.render(messages, true).text;
  std::string head = text.substr(0, std::min(text.find(mark), text.size()));
  // Vicuna's role is written by the turn itself.
  if (chat.style == FaithfulStyle::kVicuna) {
    const size_t role = head.rfind("USER:");
    if (role != std::string::npos) head.resize(role);
    while (head.ends_with(' ')) head.pop_back();
  }
  return head;
}

Prompt render_faithful(const FaithfulTemplate& chat, std::span<const ChatMessage> messages, const std::string& head) {
  std::string system = head;
  std::vector<ChatMessage> turns;
  for (const ChatMessage& message : messages) {
    if (message.role == "system")
      system = message.content;
    else
      turns.push_back(message);
  }
  turns.push_back({"assistant", ""});
  std::string text;
  if (chat.style == FaithfulStyle::kVicuna) text = system + chat.separator;
  if (chat.style == FaithfulStyle::kInstruct) text = system;
  for (size_t i = 0; i < turns.size(); ++i) text += turn_text(chat, turns[i], i, system);
  return {text, true};
}

std::string cut_faithful(const FaithfulTemplate& chat, const std::string& answer) {
  const std::string stop = chat.stop;
  if (stop.empty() || answer.empty()) return answer;
  const size_t found = answer.find(stop);
  if (found != std::string::npos) return answer.substr(0, found);
  size_t end = answer.size() - 1;
  while (end > 0 && (static_cast<unsigned char>(answer[end]) & 0xC0U) == 0x80U) --end;
  return answer.substr(0, end);
}

}  // namespace ockham
