// The one source that is compiled for OpenMP (cmake/Ockham.cmake), since that decides what at::parallel_for is.
#include "ockham/tensor/parallel.h"

#include <ATen/Parallel.h>

#if !defined(_OPENMP) && !defined(__clang_analyzer__)
#error "compile this file for OpenMP: every kernel would run on one thread"
#endif

namespace ockham {

void parallel_rows(int64_t begin, int64_t end, int64_t grain,
                   const std::function<void(int64_t from, int64_t to)>& body) {
  at::parallel_for(begin, end, grain, [&body](int64_t from, int64_t to) { body(from, to); });
}

}  // namespace ockham
