// Reads /proc for the description of the machine.
#include "ockham/core/version.h"

#include <fmt/format.h>

#include <array>
#include <ctime>
#include <fstream>
#include <thread>

namespace ockham {

std::string version() {
  return OCKHAM_VERSION;
}

namespace {

struct Processor {
  std::string model = "unknown processor", flags;  // flags between blanks
};

const Processor& processor() {
  static const Processor kFound = [] {
    Processor result;
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      const size_t colon = line.find(": ");
      if (colon == std::string::npos) continue;
      if (line.starts_with("model name")) result.model = line.substr(colon + 2);
      if (line.starts_with("flags") && result.flags.empty()) result.flags = " " + line.substr(colon + 2) + " ";
    }
    return result;
  }();
  return kFound;
}

}  // namespace

bool has_cpu_flag(const std::string& name) {
  return processor().flags.find(" " + name + " ") != std::string::npos;
}

std::string machine_description() {
  std::string found;
  for (const char* wanted : {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"})
    if (has_cpu_flag(wanted)) found += fmt::format(" {}", wanted);
  return fmt::format("{}, {} cores,{}", processor().model, std::thread::hardware_concurrency(),
                     found.empty() ? " no vector extension of note" : found);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace ockham
