// Devices and threads of libtorch. CUDA is not linked: its library is opened at run time where the user's libtorch has
// it.
#pragma once

#include <exception>
#include <string>

#include "ockham/tensor/tensor.h"

namespace ockham {

// Threads of one operation; also switches off nested thread pools. Call before the first tensor.
void set_tensor_threads(int count);
// "cpu" or "cuda". Error(kUnsupported) says why CUDA cannot be had: no libtorch_cuda beside libtorch_cpu, no driver, no
// device.
at::Device open_device(const std::string& name);
// The element type to compute in for weights stored as `stored`: the same, unless this processor has no instructions
// for its products (bf16 without AVX512-BF16 or AMX, f16 without AVX512-FP16 or AMX); those are five to a hundred times
// slower than float32 there.
DType arithmetic_dtype(DType stored, const at::Device& device);
// Whether an exception says that memory could not be had: the language's, libtorch's, oneDNN's or the system's (for
// the stack of a thread).
bool is_out_of_memory(const std::exception& error);
// Whether open_device("cuda") would succeed; for tests that need a GPU.
bool has_cuda();

}  // namespace ockham
