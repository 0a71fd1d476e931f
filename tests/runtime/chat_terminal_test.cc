// The chat of ockham-run on a terminal: commands, answers, several lines at once, Ctrl-C and Ctrl-D.
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

// The program on a terminal of its own, which shows both of its outputs and echoes what is typed.
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {OCKHAM_BINARY_DIR "/ockham-run", test::mini()});
    std::vector<char*> words;
    for (std::string& word : arguments) words.push_back(word.data());
    words.push_back(nullptr);
    child_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      ::execv(words[0], words.data());
      ::_exit(127);
    }
  }
  ~Terminal() {
    if (terminal_ >= 0) ::close(terminal_);
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& text) {
    ASSERT_EQ(::write(terminal_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // What is shown up to `wanted`, or all of it within a minute.
  std::string read_to(const std::string& wanted) {
    while (shown_.find(wanted) == std::string::npos) {
      pollfd ready{terminal_, POLLIN, 0};
      char bytes[4096];
      if (::poll(&ready, 1, 60000) != 1) break;
      const ssize_t count = ::read(terminal_, bytes, sizeof bytes);
      if (count <= 0) break;
      shown_.append(bytes, static_cast<size_t>(count));
    }
    const size_t found = shown_.find(wanted);
    EXPECT_NE(found, std::string::npos) << "no '" << wanted << "' in: " << shown_;
    const size_t end = found == std::string::npos ? shown_.size() : found + wanted.size();
    std::string result = shown_.substr(0, end);
    shown_.erase(0, end);
    return result;
  }
  // What a line makes the program show, up to the next prompt.
  std::string ask(const std::string& line) {
    type(line + "\n");
    return read_to("\r\n> ");
  }
  // The exit code, after the program has ended by itself; -1 after a signal.
  int wait() {
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int terminal_ = -1;
  pid_t child_ = -1;
  std::string shown_;
};

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ChatOnATerminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(OCKHAM_BINARY_DIR "/ockham-run")) GTEST_SKIP() << "ockham-run is not built";
  }
};

TEST_F(ChatOnATerminal, AnswersAndCommands) {
  Terminal terminal({});
  EXPECT_TRUE(holds(terminal.read_to("> "), "/help lists commands"));
  EXPECT_TRUE(holds(terminal.ask("/help"), "/regenerate"));
  EXPECT_TRUE(holds(terminal.ask("/perf"), "there is no answer yet"));
  EXPECT_TRUE(holds(terminal.ask("/regenerate"), "there is no answer to give again"));
  const std::string question = "who is the mayor of Ardel?";
  const std::string answer = terminal.ask(question);
  EXPECT_GT(answer.size(), question.size() + 10) << answer;
  terminal.ask("and of Belmont?");
  const std::string perf = terminal.ask("/perf");
  EXPECT_TRUE(holds(perf, "tokens/s") && !holds(perf, " 0 of them in the cache")) << perf;
  EXPECT_TRUE(holds(terminal.ask("/set top-k many"), "found 'many', expected a whole number"));
  EXPECT_TRUE(holds(terminal.ask("/set top-p 1.5"), "expected a number from 0 to 1"));
  terminal.ask("/set temperature 0.5");
  EXPECT_TRUE(holds(terminal.ask("/set"), "temperature 0.5"));
  EXPECT_TRUE(holds(terminal.ask("/nothing"), "/nothing is no command"));
  terminal.ask("/regenerate");
  terminal.ask("/system be brief");
  const std::string file = testing::TempDir() + "chat.json";
  EXPECT_TRUE(holds(terminal.ask("/save " + file), "5 messages"));
  const Json saved = read_json_file(file);
  EXPECT_EQ(saved["messages"][0]["content"], "be brief");
  EXPECT_EQ(saved["messages"][1]["content"], question);
  EXPECT_TRUE(holds(terminal.ask("/clear"), "A new conversation"));
  EXPECT_TRUE(holds(terminal.ask("/save " + file), "1 messages"));
  terminal.type("/exit\n");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatOnATerminal, PastedLinesAreOneMessage) {
  Terminal terminal({"--max-tokens", "3"});
  terminal.read_to("> ");
  terminal.type("one\ntwo\\\nthree\n");
  terminal.read_to("\r\n> ");
  terminal.ask("//slash");
  const std::string file = testing::TempDir() + "pasted.json";
  terminal.ask("/save " + file);
  const Json messages = read_json_file(file)["messages"];
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["content"], "one\ntwo\nthree");
  EXPECT_EQ(messages[2]["content"], "/slash");
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatOnATerminal, CtrlCStopsAnAnswerAndASecondLeaves) {
  // Random tokens go on to the limit, and no token ends the text of this grammar.
  const std::string file = testing::TempDir() + "endless.gbnf";
  std::ofstream(file) << "root ::= \"begin \" [a-z]{100000}\n";
  Terminal terminal({"--max-tokens", "2000", "--temperature", "1", "--grammar", file});
  terminal.read_to("> ");
  terminal.type("go on\n");
  terminal.read_to("begin");
  terminal.type("\x03");
  EXPECT_TRUE(holds(terminal.read_to("\r\n> "), "(stopped)"));
  EXPECT_TRUE(holds(terminal.ask("/perf"), "answer "));
  terminal.type("\x03");
  EXPECT_TRUE(holds(terminal.read_to("\r\n> "), "Ctrl-C again leaves"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatOnATerminal, TheOldestMessagesGiveWay) {
  Terminal terminal({"--max-tokens", "8"});
  terminal.read_to("> ");
  std::string words = "who";  // about 1500 tokens with the next one: more than three quarters of the context
  for (int i = 0; i < 180; ++i) words += " is the mayor";
  EXPECT_FALSE(holds(terminal.ask(words), "dropped"));
  bool was_dropped = false;
  for (int i = 0; i < 5 && !was_dropped; ++i)
    was_dropped = holds(terminal.ask(words), "no longer fit the model's context");
  EXPECT_TRUE(was_dropped);
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait(), 0);
}

}  // namespace
}  // namespace ockham
