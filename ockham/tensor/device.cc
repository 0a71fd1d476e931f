// libtorch registers its CUDA backend when libtorch_cuda.so is loaded. It looks for the backend once, when first asked
// about CUDA, and keeps the answer, so loading comes before any question.
#include "ockham/tensor/device.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <new>
#include <string_view>
#include <system_error>

#include "ockham/core/error.h"
#include "ockham/core/version.h"

namespace ockham {
namespace {

// Empty when CUDA can be used, otherwise the reason.
std::string cuda_problem() {
  static const std::string kProblem = []() -> std::string {
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* reason = dlerror();
      return fmt::format("libtorch_cuda.so cannot be loaded ({})", reason == nullptr ? "no reason given" : reason);
    }
    try {
      at::globalContext().lazyInitDevice(at::kCUDA);
    } catch (const std::exception& error) {
      return fmt::format("the CUDA driver does not start ({})", error.what());
    }
    return at::hasCUDA() ? "" : "libtorch_cuda.so finds no device";
  }();
  return kProblem;
}

}  // namespace

void set_tensor_threads(int count) {
  at::set_num_threads(count);
  at::set_num_interop_threads(1);
}

at::Device open_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name != "cuda") throw_error(ErrorKind::kUsage, "--device: found '{}', expected cpu or cuda", name);
  const std::string problem = cuda_problem();
  if (!problem.empty())
    throw_error(ErrorKind::kUnsupported,
                "--device cuda: {}; install the CUDA libraries of the torch wheel or use --device cpu", problem);
  return at::Device(at::kCUDA, 0);
}

DType arithmetic_dtype(DType stored, const at::Device& device) {
  if (!device.is_cpu()) return stored;
  const bool is_native = stored == DType::kBF16  ? has_cpu_flag("avx512_bf16") || has_cpu_flag("amx_bf16")
                         : stored == DType::kF16 ? has_cpu_flag("avx512_fp16") || has_cpu_flag("amx_fp16")
                                                 : true;
  return is_native ? stored : DType::kF32;
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
    return system->code() == std::errc::not_enough_memory ||
           system->code() == std::errc::resource_unavailable_try_again;
  }
  // The allocator of the processor throws nothing more special than c10::Error.
  const std::string_view text = error.what();
  return text.find("DefaultCPUAllocator") != text.npos || text.find("out of memory") != text.npos;
}

bool has_cuda() {
  return cuda_problem().empty();
}

}  // namespace ockham
