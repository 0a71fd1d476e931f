// Loops of kernels over tensors, on the threads that libtorch uses for its own.
#pragma once

#include <cstdint>
#include <functional>

namespace ockham {

// Calls body(from, to) over disjoint parts of [begin, end), at least `grain` long, on at most at::get_num_threads()
// threads; as one part where it is called from such a part. The first exception is rethrown. at::parallel_for itself
// does this only in a source that is compiled for OpenMP, and elsewhere runs on one thread without a word: call this
// one instead.
void parallel_rows(int64_t begin, int64_t end, int64_t grain,
                   const std::function<void(int64_t from, int64_t to)>& body);

}  // namespace ockham
