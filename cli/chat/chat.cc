#include "cli/chat/chat.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "cli/chat/commands.h"
#include "cli/chat/line_input.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/kernels/target.h"

namespace ockham {
namespace {

extern "C" void handle_chat_signal(int number) {
  if (interrupt_requested()) {
    // The second Ctrl-C does not wait for the end of a step.
    ::signal(number, SIG_DFL);
    ::raise(number);
    return;
  }
  request_interrupt();
}

// While it lives, Ctrl-C requests an interrupt and ends a read, which std::signal would go on with.
class SignalGuard {
 public:
  SignalGuard() {
    struct sigaction action = {};
    action.sa_handler = handle_chat_signal;
    ::sigaction(SIGINT, &action, &before_);
  }
  ~SignalGuard() { ::sigaction(SIGINT, &before_, nullptr); }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  struct sigaction before_ = {};
};

void show_piece(const std::string& piece) {
  fmt::print("{}", piece);
  std::fflush(stdout);
}

void print_json(const ChatAnswer& answer) {
  const Json json = {{"prompt", answer.prompt},
                     {"text", answer.text},
                     {"finish_reason", reason_name(answer)},
                     {"hit_limit", answer.reason == FinishReason::kLimit},
                     {"prompt_tokens", answer.prompt_tokens},
                     {"shared_tokens", answer.shared_tokens},
                     {"truncated_tokens", answer.truncated_tokens},
                     {"tokens", answer.tokens},
                     {"seconds_to_first_token", answer.first_s},
                     {"seconds_for_the_rest", answer.rest_s}};
  fmt::print("{}\n", json.dump(1));
}

// What the user should know about an answer.
void print_notes(const ChatAnswer& answer, const ChatOptions& options, bool is_chat) {
  if (answer.dropped_messages > 0)
    fmt::print(stderr, "(The oldest {} messages no longer fit the model's context and were dropped.)\n",
               answer.dropped_messages);
  if (answer.truncated_tokens > 0)
    fmt::print(stderr, "(The first {} tokens of the text do not fit the model's context and were left out.)\n",
               answer.truncated_tokens);
  if (answer.was_interrupted)
    fmt::print(stderr, "(stopped)\n");
  else if (answer.reason == FinishReason::kLimit && (is_chat || options.is_constrained()))
    fmt::print(stderr, "(The answer is cut at {} tokens; --max-tokens allows more.)\n", answer.tokens);
}

void answer_once(Conversation& conversation, const ChatOptions& options, const std::string& text) {
  const ChatAnswer answer = conversation.ask(text, options.json ? Conversation::Show() : show_piece);
  if (options.json) {
    print_json(answer);
  } else {
    fmt::print("\n");
    std::fflush(stdout);
  }
  if (!options.quiet) print_notes(answer, options, false);
  if (options.perf) fmt::print(stderr, "{}\n", perf_text(answer));
  if (answer.was_interrupted) throw_error(ErrorKind::kInterrupted, "interrupted");
}

class Chat {
 public:
  Chat(Conversation& conversation, ChatOptions& options)
      : conversation_(conversation),
        options_(options),
        commands_(conversation, options, [this](bool again) { answer("", again); }) {}

  void run() {
    if (!options_.quiet)
      fmt::print(stderr, "{}: a line is a message{}; /help lists commands, Ctrl-D leaves.\n",
                 conversation_.model().info().name, conversation_.is_chat() ? "" : " to continue, each for itself");
    while (read()) continue;
  }

 private:
  // False: the user leaves.
  bool read() {
    fmt::print(stderr, "> ");
    std::fflush(stderr);
    std::string text;
    switch (input_.read(text)) {
      case LineInput::Event::kEnd:
        fmt::print(stderr, "\n");
        return false;
      case LineInput::Event::kInterrupt:
        if (was_interrupted_) {
          fmt::print(stderr, "\n");
          return false;
        }
        fmt::print(stderr, "\n(Ctrl-C again leaves, as does Ctrl-D.)\n");
        was_interrupted_ = true;
        return true;
      case LineInput::Event::kText:
        break;
    }
    was_interrupted_ = false;
    try {
      return text.empty() || take(text);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInternal) throw;
      fmt::print(stderr, "{}\n", error.what());
      return true;
    }
  }

  bool take(std::string& text) {
    check_utf8(text, "the message");
    switch (commands_.run(text)) {
      case ChatCommands::Result::kExit:
        return false;
      case ChatCommands::Result::kDone:
        return true;
      case ChatCommands::Result::kMessage:
        break;
    }
    answer(text, false);
    return true;
  }

  void answer(const std::string& text, bool again) {
    const ChatAnswer answer = again ? conversation_.ask_again(show_piece) : conversation_.ask(text, show_piece);
    fmt::print("\n");
    std::fflush(stdout);
    print_notes(answer, options_, true);
    commands_.set_last(answer);
    was_interrupted_ = answer.was_interrupted;
    if (options_.perf) fmt::print(stderr, "{}\n", perf_text(answer));
  }

  Conversation& conversation_;
  ChatOptions& options_;
  ChatCommands commands_;
  LineInput input_;
  bool was_interrupted_ = false;  // by the last Ctrl-C, with nothing said since
};

}  // namespace

void check_utf8(const std::string& text, const char* where) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
    throw_error(ErrorKind::kUsage, "{}: byte {} is not UTF-8; convert the text", where, bad);
}

std::string read_standard_input() {
  if (::isatty(STDIN_FILENO) == 1) throw_error(ErrorKind::kUsage, "no prompt; pass -p TEXT or pipe a text in");
  std::string text;
  char buffer[4096];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, stdin)) text.append(buffer, count);
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
    throw_input("standard input: byte {} is not UTF-8; convert the text", bad);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

bool is_interactive(const ChatOptions& options) {
  return !options.has_prompt && !options.json && ::isatty(STDIN_FILENO) == 1;
}

void run_chat(Conversation& conversation, ChatOptions& options) {
  if (options.perf)
    fmt::print(stderr, "{}: loaded in {:.2f} s, {} threads, {} kernels, {}\n", options.model, conversation.load_s(),
               conversation.model().engine().threads().threads(), target_name(current_target()),
               conversation.model().info().arithmetic);
  const SignalGuard guard;
  if (is_interactive(options))
    Chat(conversation, options).run();
  else
    answer_once(conversation, options, options.has_prompt ? options.prompt : read_standard_input());
  if (options.perf)
    fmt::print(stderr, "peak memory {:.0f} MiB\n", static_cast<double>(peak_memory_bytes()) / (1 << 20));
}

void run_chat(const ChatOptions& options) {
  check_utf8(options.prompt, "-p");
  check_utf8(options.system, "--system");
  ChatOptions own = options;
  Conversation conversation(own);
  run_chat(conversation, own);
}

}  // namespace ockham
