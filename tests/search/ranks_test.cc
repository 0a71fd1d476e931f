// Ranks: what they exchange, with processes of the test itself.
#include "ockham/search/ranks.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

// Runs `body` in a process of its own as rank 1 of 2; its exit code is what the body returns.
pid_t start_second(int port, const std::function<int(Ranks&)>& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("RANK", "1", 1);
  setenv("WORLD_SIZE", "2", 1);
  setenv("MASTER_PORT", std::to_string(port).c_str(), 1);
  int code = 99;
  try {
    Ranks ranks;
    code = body(ranks);
  } catch (const Error&) {
    code = 7;
  }
  _exit(code);
}

struct FirstRank {
  explicit FirstRank(int port) {
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("MASTER_PORT", std::to_string(port).c_str(), 1);
  }
  ~FirstRank() {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "MASTER_PORT"}) unsetenv(name);
  }
};

int exit_code_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int free_port() {
  return 20000 + static_cast<int>(getpid() % 20000);
}

TEST(Ranks, AreOneWithoutALauncher) {
  Ranks ranks;
  EXPECT_EQ(ranks.size(), 1);
  std::vector<double> values = {1, 2};
  ranks.add_up(values);
  EXPECT_EQ(values, (std::vector<double>{1, 2}));
  EXPECT_EQ(ranks.broadcast("text"), "text");
}

TEST(Ranks, AddUpAndHearTheFirst) {
  const int port = free_port();
  const pid_t child = start_second(port, [](Ranks& ranks) {
    std::vector<double> values = {10, 0.25};
    ranks.add_up(values);
    if (values != std::vector<double>{11, 0.75}) return 1;
    return ranks.broadcast("") == "word" ? 0 : 2;
  });
  const FirstRank environment(port);
  Ranks ranks;
  ASSERT_EQ(ranks.size(), 2);
  std::vector<double> values = {1, 0.5};
  ranks.add_up(values);
  EXPECT_EQ(values, (std::vector<double>{11, 0.75}));
  ranks.broadcast("word");
  EXPECT_EQ(exit_code_of(child), 0);
}

TEST(Ranks, ALostFirstRankEndsTheOthers) {
  const int port = free_port() + 1;
  pid_t child = 0;
  {
    const FirstRank environment(port);
    child = start_second(port, [](Ranks& ranks) {
      std::vector<double> values = {1};
      ranks.add_up(values);
      ranks.add_up(values);  // never answered
      return 0;
    });
    Ranks ranks;
    std::vector<double> values = {1};
    ranks.add_up(values);
  }
  EXPECT_EQ(exit_code_of(child), 7);
}

TEST(Ranks, AKilledRankEndsTheOthersWhereverTheyAre) {
  const int port = free_port() + 2;
  const pid_t child = start_second(port, [](Ranks& ranks) {
    std::vector<double> values = {1};
    ranks.add_up(values);
    for (;;) pause();
    return 0;
  });
  const FirstRank environment(port);
  Ranks ranks;
  std::vector<double> values = {1};
  ranks.add_up(values);
  kill(child, SIGKILL);
  EXPECT_EQ(exit_code_of(child), -1);
  // In the middle of something that exchanges nothing.
  EXPECT_THROW(
      {
        for (;;) {
          check_interrupt();
          usleep(1000);
        }
      },
      Error);
  try {
    ranks.check_all_alive();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kResource);
    EXPECT_NE(std::string(error.what()).find("rank 1 is lost"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("same command"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(interrupt_requested());
}

TEST(Ranks, ARankThatFailsSaysSo) {
  const int port = free_port() + 3;
  const pid_t child = start_second(port, [](Ranks& ranks) -> int {
    std::vector<double> values = {1};
    ranks.add_up(values);
    throw_input("broken");
  });
  const FirstRank environment(port);
  Ranks ranks;
  std::vector<double> values = {1};
  ranks.add_up(values);
  try {
    ranks.add_up(values);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rank 1 has failed"), std::string::npos) << error.what();
  }
  EXPECT_EQ(exit_code_of(child), 7);
}

// As under torchrun, which serves the store in a process of its own.
TEST(Ranks, MeetInTheStoreOfALauncher) {
  const int port = free_port() + 4;
  setenv("TORCHELASTIC_USE_AGENT_STORE", "True", 1);
  const pid_t child = start_second(port, [](Ranks& ranks) {
    std::vector<double> values = {2};
    ranks.add_up(values);
    return values[0] == 5 ? 0 : 1;
  });
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.isServer = true;
  options.waitWorkers = false;
  const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  {
    const FirstRank environment(port);
    Ranks ranks;
    std::vector<double> values = {3};
    ranks.add_up(values);
    EXPECT_EQ(values[0], 5);
  }
  EXPECT_EQ(exit_code_of(child), 0);
  unsetenv("TORCHELASTIC_USE_AGENT_STORE");
}

TEST(Ranks, RefuseABrokenEnvironment) {
  setenv("RANK", "two", 1);
  setenv("WORLD_SIZE", "2", 1);
  EXPECT_THROW(Ranks(), Error);
  setenv("RANK", "2", 1);
  EXPECT_THROW(Ranks(), Error);
  unsetenv("RANK");
  unsetenv("WORLD_SIZE");
}

}  // namespace
}  // namespace ockham
