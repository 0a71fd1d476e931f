// Instruction sets that kernels are written for; the best that processor and system have is chosen when the program
// starts.
#pragma once

#include <span>
#include <string_view>

namespace ockham {

// Each holds the ones before it.
//   kAvx2    with FMA, F16C and BMI2
//   kAvx512  F, BW, CD, DQ, VL, VNNI, VBMI, VBMI2 and BITALG (Ice Lake, Zen 4 and later)
//   kAmx     that, AVX-512 BF16 and tiles of int8 and bf16, where the system permits them (Sapphire Rapids and later)
enum class Target { kPortable, kAvx2, kAvx512, kAmx };

std::string_view target_name(Target target);  // "portable", "avx2", "avx512", "amx"
// What this machine runs, the best last.
std::span<const Target> available_targets();
Target current_target();
// That of this name; kUsage error for one that this machine does not have, with those that it has.
Target find_target(std::string_view name);
// For tests and comparisons, while nothing is multiplied; kUnsupported error for one that is not available.
void set_target(Target target);

}  // namespace ockham
