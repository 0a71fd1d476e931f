// parallel_for over a range, on at most thread_count() threads; the torch-free half has no other parallelism.
#pragma once

#include <cstdint>
#include <functional>

namespace ockham {

// Threads used by parallel_for and by the engines; 0 sets it to the number of cores. Set once by the command line.
void set_thread_count(int count);
int thread_count();
// Calls body(begin, end) over disjoint parts of [0, n), at least `grain` long. The first exception is rethrown.
void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace ockham
