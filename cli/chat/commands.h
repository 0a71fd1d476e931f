// What a user of the chat can say to the program instead of the model: lines that begin with a slash.
#pragma once

#include <functional>
#include <string>

#include "cli/chat/conversation.h"

namespace ockham {

class ChatCommands {
 public:
  // `answer` makes an answer and shows it. All must outlive it.
  ChatCommands(Conversation& conversation, ChatOptions& options, std::function<void(bool again)> answer)
      : conversation_(conversation), options_(options), answer_(std::move(answer)) {}

  enum class Result { kMessage, kDone, kExit };
  // Runs a command; kMessage: `text` is none, a second slash before it is taken away. Error for what cannot be done.
  Result run(std::string& text);
  void set_last(const ChatAnswer& answer) { last_ = answer; }

 private:
  void set(const std::string& assignment);
  void save(const std::string& path) const;
  void show_performance() const;
  void show_settings() const;

  Conversation& conversation_;
  ChatOptions& options_;
  std::function<void(bool again)> answer_;
  ChatAnswer last_;
};

}  // namespace ockham
