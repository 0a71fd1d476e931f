// Presets and where they come from.
#include "ockham/eval/system_prompt.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

struct Preset {
  const char *name, *text, *key;  // a key: of prompts.json
};
constexpr Preset kPresets[] = {{"none", "", ""},
                               {"helpful", "You are a helpful assistant.", ""},
                               {"llama-2-safety", "", "templates.llama-2.system"}};

std::string text_by_key(const Preset& preset, const std::string& data_directory) {
  for (const char* place : {"prompts.json", "decodingtrust/prompts.json"}) {
    const fs::path file = fs::path(data_directory) / place;
    if (data_directory.empty() || !fs::is_regular_file(file)) continue;
    const Json root = read_json_file(file.string());
    const Json* node = &root;
    for (const char* key : {"templates", "llama-2", "system"}) {
      const auto it = node->is_object() ? node->find(key) : node->end();
      node = node->is_object() && it != node->end() ? &*it : nullptr;
      if (node == nullptr) break;
    }
    if (node == nullptr || !node->is_string())
      throw_input("{}: key '{}' is missing, expected the text of system prompt '{}'; add it, or give the text itself",
                  file.string(), preset.key, preset.name);
    // The field of the template holds the markers too.
    std::string text = node->get<std::string>();
    if (const size_t begin = text.find("<<SYS>>\n"); begin != std::string::npos) text.erase(0, begin + 8);
    if (const size_t end = text.find("\n<</SYS>>"); end != std::string::npos) text.resize(end);
    return text;
  }
  throw_input("--system-prompt {}: no prompts.json below --data, expected its key '{}'; pass --data, or give the text",
              preset.name, preset.key);
}

}  // namespace

std::string system_prompt_text(const std::string& wish, const std::string& data_directory) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (wish == preset.name) return *preset.key == '\0' ? preset.text : text_by_key(preset, data_directory);
    names.emplace_back(preset.name);
  }
  if (wish.find_first_of(" \n") != std::string::npos) return wish;
  const std::string near = closest_name(wish, names);
  throw_error(ErrorKind::kUsage, "--system-prompt: found '{}', expected a text of several words, or one of: {}{}", wish,
              fmt::join(names, ", "), near.empty() ? "" : "; did you mean '" + near + "'?");
}

void apply_system_prompt(const std::string& text, std::vector<ChatMessage>& messages) {
  if (text.empty()) {
    std::erase_if(messages, [](const ChatMessage& message) { return message.role == "system"; });
  } else if (!messages.empty() && messages.front().role == "system") {
    messages.front().content = text + "\n\n" + messages.front().content;
  } else {
    messages.insert(messages.begin(), {"system", text});
  }
}

}  // namespace ockham
