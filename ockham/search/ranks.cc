#include "ockham/search/ranks.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "ockham/core/error.h"

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

// A rank may be in a long evaluation; one that died is noticed at once only by its own launcher.
constexpr std::chrono::seconds kPatience(600);

}  // namespace

struct Ranks::Store {
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::string prefix;
};

Ranks::Ranks() {
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
  try {
    store_ = std::make_unique<Store>();
    store_->store = c10::make_intrusive<c10d::TCPStore>(host, options);
    store_->prefix = "ockham/" + text_variable("TORCHELASTIC_RESTART_COUNT", "0") + "/";
  } catch (const std::exception& error) {
    throw_error(ErrorKind::kResource,
                "rank {} of {}: cannot reach the others at {}:{} ({}); check MASTER_ADDR and "
                "MASTER_PORT",
                rank_, size_, host, port, std::string(error.what()).substr(0, 200));
  }
}

Ranks::~Ranks() = default;

std::string Ranks::receive(const std::string& key, int64_t from) {
  try {
    const std::vector<uint8_t> bytes = store_->store->get(store_->prefix + key);
    return {bytes.begin(), bytes.end()};
  } catch (const std::exception& error) {
    throw_error(ErrorKind::kResource,
                "rank {} of {}: rank {} is lost ({}); what was reached is kept: start the same command again with all "
                "ranks to go on",
                rank_, size_, from, std::string(error.what()).substr(0, 120));
  }
}

void Ranks::add_up(std::vector<double>& values) {
  if (size_ == 1) return;
  const std::string step = fmt::format("sum/{}/", step_++);
  const size_t bytes = values.size() * sizeof(double);
  const auto* data = reinterpret_cast<const uint8_t*>(values.data());
  try {
    store_->store->set(fmt::format("{}{}{}", store_->prefix, step, rank_), std::vector<uint8_t>(data, data + bytes));
  } catch (const std::exception& error) {
    throw_error(
        ErrorKind::kResource,
        "rank {} of {}: the first rank is lost ({}); what was reached is kept: start the same command again with "
        "all ranks to go on",
        rank_, size_, std::string(error.what()).substr(0, 120));
  }
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
    store_->store->set(store_->prefix + key, std::vector<uint8_t>(text.begin(), text.end()));
    return text;
  }
  return receive(key, 0);
}

void Ranks::wait_for_all() {
  std::vector<double> nothing(1, 0);
  add_up(nothing);
}

}  // namespace ockham
