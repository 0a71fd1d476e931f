#include "ockham/search/ranks.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"

namespace ockham {
namespace {

std::optional<int64_t> read_variable(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  int64_t value = 0;
  const char* end = text + std::strlen(text);
  if (const auto parsed = std::from_chars(text, end, value); parsed.ec != std::errc() || parsed.ptr != end || value < 0)
    throw_error(ErrorKind::kUsage, "environment variable {}: found '{}', expected a number of 0 or more; unset it",
                name, text);
  return value;
}

std::optional<int64_t> read_either(const char* name, const char* other) {
  const std::optional<int64_t> value = read_variable(name);
  return value ? value : read_variable(other);
}

std::string text_variable(const char* name, const char* fallback) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : fallback;
}

using namespace std::chrono_literals;

constexpr auto kBeat = 500ms;
constexpr int kSilentBeats = 10;   // of a rank that was there before
constexpr int kBeatsToCome = 240;  // of one that has not come yet
constexpr auto kPatience = 120s;   // until the store is reached
constexpr auto kFarewell = 5s;     // of the first rank
constexpr auto kPoll = 5ms;
constexpr const char *kLeft = "left", *kFailed = "failed";

std::string sign_of(int64_t rank) {
  return fmt::format("alive/{}", rank);
}

// The first line: c10d adds a list of calls.
std::string brief(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, std::min<size_t>(120, text.find('\n')));
}

}  // namespace

struct Ranks::Store {
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::string prefix;

  void set(const std::string& key, const std::string& value) const {
    store->set(prefix + key, std::vector<uint8_t>(value.begin(), value.end()));
  }
  bool has(const std::string& key) const { return store->check({prefix + key}); }
  std::string get(const std::string& key) const {
    const std::vector<uint8_t> bytes = store->get(prefix + key);
    return {bytes.begin(), bytes.end()};
  }
};

// The thread behind the signs of life, with a connection of its own: that of the ranks may be waiting.
class Ranks::Pulse {
 public:
  Pulse(Store store, int64_t rank, int64_t size)
      : store_(std::move(store)), rank_(rank), seen_(static_cast<size_t>(size)) {
    // Before anything is exchanged, so that a rank with which somebody has talked counts as one that was there.
    store_.set(sign_of(rank_), "0");
    thread_ = std::thread([this] { run(); });
  }
  ~Pulse() {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    woken_.notify_all();
    thread_.join();
  }
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  // What is wrong; "" as long as all are alive.
  std::string loss() const {
    const std::lock_guard lock(mutex_);
    return loss_;
  }
  bool has_left(int64_t rank) const {
    const std::lock_guard lock(mutex_);
    return seen_[static_cast<size_t>(rank)].sign == kLeft;
  }

 private:
  struct Seen {
    std::string sign;
    int silent = 0;  // beats
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (int64_t beat = 1; !is_ending_; ++beat) {
      lock.unlock();
      const std::string loss = look(beat);
      lock.lock();
      if (!loss.empty() && !is_ending_) {
        loss_ = loss;
        request_interrupt();
        return;
      }
      woken_.wait_for(lock, kBeat, [this] { return is_ending_; });
    }
  }

  std::string look(int64_t beat) {
    try {
      store_.set(sign_of(rank_), std::to_string(beat));
      for (int64_t other = 0; other < static_cast<int64_t>(seen_.size()); ++other) {
        if (other == rank_ || has_left(other)) continue;
        if (std::string loss = look_at(other); !loss.empty()) return loss;
      }
    } catch (const std::exception& error) {
      if (!has_left(0)) return fmt::format("the first rank is lost ({})", brief(error));
    }
    return "";
  }

  std::string look_at(int64_t other) {
    const std::string name = sign_of(other), sign = store_.has(name) ? store_.get(name) : "";
    if (sign == kFailed) return fmt::format("rank {} has failed", other);
    const std::lock_guard lock(mutex_);
    Seen& seen = seen_[static_cast<size_t>(other)];
    seen.silent = sign == seen.sign ? seen.silent + 1 : 0;
    seen.sign = sign;
    if (seen.silent < (sign.empty() ? kBeatsToCome : kSilentBeats)) return "";
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(seen.silent * kBeat).count();
    return sign.empty() ? fmt::format("rank {} has not come within {} s", other, seconds)
                        : fmt::format("rank {} is lost (no sign of life for {} s)", other, seconds);
  }

  const Store store_;
  const int64_t rank_;
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
  std::condition_variable woken_;
  bool is_ending_ = false;
  std::string loss_;
  std::thread thread_;
};

Ranks::Ranks() : exceptions_(std::uncaught_exceptions()) {
  const std::optional<int64_t> rank = read_either("RANK", "OMPI_COMM_WORLD_RANK");
  const std::optional<int64_t> size = read_either("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE");
  if (!rank || !size || *size <= 1) return;
  if (*rank >= *size)
    throw_error(ErrorKind::kUsage, "environment variable RANK: found {}, expected less than WORLD_SIZE, {}", *rank,
                *size);
  rank_ = *rank;
  size_ = *size;
  const std::string host = text_variable("MASTER_ADDR", "127.0.0.1");
  c10d::TCPStoreOptions options;
  const int64_t port = read_variable("MASTER_PORT").value_or(c10d::TCPStoreOptions::kDefaultPort);
  if (port < 1 || port > 65535)
    throw_error(ErrorKind::kUsage, "environment variable MASTER_PORT: found {}, expected 1 to 65535", port);
  options.port = static_cast<std::uint16_t>(port);
  // torchrun serves the store itself and says so.
  options.isServer = rank_ == 0 && text_variable("TORCHELASTIC_USE_AGENT_STORE", "") != "True";
  options.waitWorkers = false;
  options.timeout = kPatience;
  const auto connect = [&] {
    return Store{c10::make_intrusive<c10d::TCPStore>(host, options),
                 "ockham/" + text_variable("TORCHELASTIC_RESTART_COUNT", "0") + "/"};
  };
  try {
    store_ = std::make_unique<Store>(connect());
    options.isServer = false;
    pulse_ = std::make_unique<Pulse>(connect(), rank_, size_);
  } catch (const std::exception& error) {
    throw_error(ErrorKind::kResource,
                "rank {} of {}: cannot reach the others at {}:{} ({}); check MASTER_ADDR and "
                "MASTER_PORT",
                rank_, size_, host, port, brief(error));
  }
}

Ranks::~Ranks() {
  if (pulse_ == nullptr) return;
  const bool has_failed = std::uncaught_exceptions() > exceptions_, has_lost = !pulse_->loss().empty();
  pulse_.reset();
  try {
    store_->set(sign_of(rank_), has_failed ? kFailed : kLeft);
    // Those that are lost are not waited for.
    const auto until = std::chrono::steady_clock::now() + kFarewell;
    for (int64_t other = 1; is_first() && !has_lost && other < size_; ++other) {
      const auto is_there = [&] {
        const std::string sign = store_->has(sign_of(other)) ? store_->get(sign_of(other)) : "";
        return sign != kLeft && sign != kFailed;
      };
      while (is_there() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(kPoll);
    }
  } catch (const std::exception&) {
    // The others find out by themselves.
  }
}

void Ranks::end(const std::string& what) const {
  throw_error(ErrorKind::kResource,
              "rank {} of {}: {}; what was reached is kept: start the same command again with all ranks to go on",
              rank_, size_, what);
}

void Ranks::check_all_alive() const {
  if (pulse_ == nullptr) return;
  const std::string loss = pulse_->loss();
  if (loss.empty()) return;
  clear_interrupt();
  end(loss);
}

void Ranks::send(const std::string& key, const std::string& value) {
  check_all_alive();
  try {
    store_->set(key, value);
  } catch (const std::exception& error) {
    clear_interrupt();  // The pulse may have found the same.
    end(fmt::format("the first rank is lost ({})", brief(error)));
  }
}

std::string Ranks::receive(const std::string& key, int64_t from) {
  for (auto pause = std::chrono::microseconds(100);; pause = std::min<std::chrono::microseconds>(2 * pause, kPoll)) {
    check_all_alive();
    check_interrupt();
    const bool has_left = pulse_->has_left(from);
    try {
      if (store_->has(key)) return store_->get(key);
    } catch (const std::exception& error) {
      clear_interrupt();
      end(fmt::format("the first rank is lost ({})", brief(error)));
    }
    if (has_left) end(fmt::format("rank {} has ended before the others", from));
    std::this_thread::sleep_for(pause);
  }
}

void Ranks::add_up(std::vector<double>& values) {
  if (size_ == 1) return;
  const std::string step = fmt::format("sum/{}/", step_++);
  const size_t bytes = values.size() * sizeof(double);
  send(fmt::format("{}{}", step, rank_), {reinterpret_cast<const char*>(values.data()), bytes});
  std::vector<double> sum(values.size(), 0);
  for (int64_t from = 0; from < size_; ++from) {
    const std::string part = receive(fmt::format("{}{}", step, from), from);
    if (part.size() != bytes)
      throw_error(ErrorKind::kResource,
                  "rank {} of {}: rank {} sent {} bytes, expected {}; start all ranks with the "
                  "same command",
                  rank_, size_, from, part.size(), bytes);
    std::vector<double> other(values.size());
    std::memcpy(other.data(), part.data(), bytes);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  }
  values = std::move(sum);
}

std::string Ranks::broadcast(const std::string& text) {
  if (size_ == 1) return text;
  const std::string key = fmt::format("text/{}", step_++);
  if (is_first()) {
    send(key, text);
    return text;
  }
  return receive(key, 0);
}

void Ranks::wait_for_all() {
  std::vector<double> nothing(1, 0);
  add_up(nothing);
}

}  // namespace ockham
