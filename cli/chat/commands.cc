#include "cli/chat/commands.h"

#include <charconv>
#include <cstdio>
#include <limits>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

constexpr const char* kHelp =
    "/help               this list\n"
    "/clear              a new conversation; the system text stays\n"
    "/system TEXT        another system text, from the next answer on; without TEXT: none\n"
    "/regenerate         the last answer again, with other random numbers\n"
    "/save FILE          the conversation, as JSON\n"
    "/set NAME VALUE     temperature, top-k, top-p, min-p, repetition-penalty, max-tokens or seed; alone: what they "
    "are\n"
    "/perf               what the last answer took\n"
    "/exit               leave, as Ctrl-D\n"
    "Ctrl-C stops an answer. A line that ends with \\ goes on in the next; pasted lines are one message; // at the\n"
    "beginning of a message stands for /.\n";

// A setting that /set knows, with its range.
struct Setting {
  const char* name;
  double* real;  // one of the two
  int64_t* integer;
  double least, most;
};

std::vector<Setting> settings_of(ChatOptions& options, int64_t& seed) {
  SamplerSettings& sampler = options.sampler;
  constexpr double kMany = 1e9;
  return {{"temperature", &sampler.temperature, nullptr, 0, 10},
          {"top-k", nullptr, &sampler.top_k, 0, kMany},
          {"top-p", &sampler.top_p, nullptr, 0, 1},
          {"min-p", &sampler.min_p, nullptr, 0, 1},
          {"repetition-penalty", &sampler.repetition_penalty, nullptr, 0.1, 10},
          {"max-tokens", nullptr, &options.max_tokens, 1, kMany},
          {"seed", nullptr, &seed, 0, 9e15}};
}

// Without blanks at both ends.
std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

std::pair<std::string, std::string> split_word(const std::string& text) {
  const size_t end = text.find_first_of(" \t\n");
  if (end == std::string::npos) return {text, ""};
  return {text.substr(0, end), trimmed(text.substr(end))};
}

}  // namespace

ChatCommands::Result ChatCommands::run(std::string& text) {
  if (!text.starts_with('/')) return Result::kMessage;
  if (text.starts_with("//")) {
    text.erase(0, 1);
    return Result::kMessage;
  }
  const auto [command, argument] = split_word(text);
  if (command == "/exit" || command == "/quit") return Result::kExit;
  if (command == "/help") {
    fmt::print(stderr, "{}", kHelp);
  } else if (command == "/clear") {
    conversation_.clear();
    fmt::print(stderr, "A new conversation.\n");
  } else if (command == "/system") {
    if (!conversation_.is_chat()) throw_error(ErrorKind::kUsage, "texts without a chat template have no system text");
    conversation_.set_system(argument);
  } else if (command == "/regenerate") {
    answer_(true);
  } else if (command == "/save") {
    save(argument);
  } else if (command == "/set") {
    set(argument);
  } else if (command == "/perf") {
    show_performance();
  } else {
    throw_error(ErrorKind::kUsage, "{} is no command; /help lists them, and // begins a message with a slash", command);
  }
  return Result::kDone;
}

void ChatCommands::show_settings() const {
  auto seed = static_cast<int64_t>(options_.seed);
  for (const Setting& setting : settings_of(options_, seed)) {
    if (setting.real != nullptr)
      fmt::print(stderr, "{} {}\n", setting.name, *setting.real);
    else
      fmt::print(stderr, "{} {}\n", setting.name, *setting.integer);
  }
}

void ChatCommands::set(const std::string& assignment) {
  if (assignment.empty()) return show_settings();
  const auto [name, text] = split_word(assignment);
  auto seed = static_cast<int64_t>(options_.seed);
  for (const Setting& setting : settings_of(options_, seed)) {
    if (name != setting.name) continue;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc() && end == text.data() + text.size() && !text.empty();
    const bool is_kind = setting.real != nullptr || value == static_cast<double>(static_cast<int64_t>(value));
    if (!is_number || !(value >= setting.least && value <= setting.most) || !is_kind)
      throw_error(ErrorKind::kUsage, "/set {}: found '{}', expected a {} from {} to {}", name, text,
                  setting.real != nullptr ? "number" : "whole number", setting.least, setting.most);
    if (setting.real != nullptr)
      *setting.real = value;
    else
      *setting.integer = static_cast<int64_t>(value);
    options_.seed = static_cast<uint64_t>(seed);
    return;
  }
  throw_error(ErrorKind::kUsage,
              "/set: found '{}', expected temperature, top-k, top-p, min-p, repetition-penalty, max-tokens or seed",
              name);
}

void ChatCommands::save(const std::string& path) const {
  if (path.empty()) throw_error(ErrorKind::kUsage, "/save: expected the name of a file");
  Json messages = Json::array();
  for (const ChatMessage& message : conversation_.messages())
    messages.push_back({{"role", message.role}, {"content", message.content}});
  const Json json = {{"model", options_.model}, {"messages", messages}};
  write_file_atomically(path, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  fmt::print(stderr, "{} messages are in {}.\n", messages.size(), path);
}

void ChatCommands::show_performance() const {
  if (last_.prompt_tokens == 0) throw_error(ErrorKind::kUsage, "/perf: there is no answer yet");
  fmt::print(stderr, "{}\npeak memory {:.0f} MiB\n", perf_text(last_),
             static_cast<double>(peak_memory_bytes()) / (1 << 20));
}

}  // namespace ockham
