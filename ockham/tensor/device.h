// Devices and threads of libtorch. CUDA is not linked: its library is opened at run time where the user's libtorch has
// it.
#pragma once

#include <string>

#include "ockham/tensor/tensor.h"

namespace ockham {

// Threads of one operation; also switches off nested thread pools. Call before the first tensor.
void set_tensor_threads(int count);
// "cpu" or "cuda". Error(kUnsupported) says why CUDA cannot be had: no libtorch_cuda beside libtorch_cpu, no driver, no
// device.
at::Device open_device(const std::string& name);
// Whether open_device("cuda") would succeed; for tests that need a GPU.
bool has_cuda();

}  // namespace ockham
