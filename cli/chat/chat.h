// `ockham run` on the native engine and `ockham-run`: one answer, or a chat on a terminal.
#pragma once

#include <string>

#include "cli/chat/conversation.h"

namespace ockham {

// Answers -p, or what is piped in, or chats where standard input is a terminal. Answers go to standard output as they
// come, all else to standard error.
void run_chat(const ChatOptions& options);
// The same with a model that is open already.
void run_chat(Conversation& conversation, ChatOptions& options);

// Whether there is someone to chat with.
bool is_interactive(const ChatOptions& options);
// All of it, without line ends behind. Error(kUsage) on a terminal, Error(kInput) for what is not UTF-8.
std::string read_standard_input();
// Error(kUsage) names `where`.
void check_utf8(const std::string& text, const char* where);

}  // namespace ockham
