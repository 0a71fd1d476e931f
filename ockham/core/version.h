// Version of the program and a one-line description of the machine it runs on.
#pragma once

#include <string>

namespace ockham {

std::string version();              // "0.1.0"
std::string machine_description();  // "Intel Xeon ..., 2 cores, avx512f avx512_bf16 ..."
// Whether the processor has an instruction set, by its name in /proc/cpuinfo ("avx512_bf16").
bool has_cpu_flag(const std::string& name);
std::string utc_now();  // "2026-01-31T12:00:00Z"

}  // namespace ockham
