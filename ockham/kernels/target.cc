#include "ockham/kernels/target.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/kernels/kernel_table.h"

namespace ockham {
namespace {

#if defined(__x86_64__)
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
         has_f16c();
}
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512bitalg");
}
// Tiles are large registers, which Linux saves only for programs that have asked.
bool has_amx() {
#if defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool has_tiles = (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1);  // AMX-BF16, AMX-TILE, AMX-INT8
  if (!has_tiles || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;  // AVX512-BF16
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

std::vector<Target> find_targets() {
  std::vector<Target> found = {Target::kPortable};
#if defined(__x86_64__)
  if (has_avx2()) found.push_back(Target::kAvx2);
  if (has_avx2() && has_avx512()) found.push_back(Target::kAvx512);
  if (found.back() == Target::kAvx512 && has_amx()) found.push_back(Target::kAmx);
#endif
  return found;
}

std::atomic<Target>& chosen() {
  static std::atomic<Target> target = available_targets().back();
  return target;
}

}  // namespace

std::string_view target_name(Target target) {
  constexpr std::string_view kNames[] = {"portable", "avx2", "avx512", "amx"};
  return kNames[static_cast<int>(target)];
}

std::span<const Target> available_targets() {
  static const std::vector<Target> kTargets = find_targets();
  return kTargets;
}

Target current_target() {
  return chosen();
}

Target find_target(std::string_view name) {
  std::string known;
  for (const Target target : available_targets()) {
    if (target_name(target) == name) return target;
    known += (known.empty() ? "" : ", ") + std::string(target_name(target));
  }
  throw_error(ErrorKind::kUsage, "no kernels {} on this machine; take one of {}", name, known);
}

void set_target(Target target) {
  for (const Target available : available_targets()) {
    if (available == target) {
      chosen() = target;
      return;
    }
  }
  throw_error(ErrorKind::kUnsupported, "kernels for {} do not run here; the best that this machine has is {}",
              target_name(target), target_name(available_targets().back()));
}

const KernelSet& current_kernels() {
  switch (current_target()) {
#if defined(__x86_64__)
    case Target::kAmx:
      return amx_kernels();
    case Target::kAvx512:
      return avx512_kernels();
    case Target::kAvx2:
      return avx2_kernels();
#endif
    default:
      return portable_kernels();
  }
}

}  // namespace ockham
