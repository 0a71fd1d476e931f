// Memory of this process as the system counts it.
#pragma once

#include <cstdint>

namespace ockham {

// Highest resident set since the start or since forget_peak_memory(), in bytes; 0 where unknown.
int64_t peak_memory_bytes();
// From here on only what comes later counts, where the system allows it; otherwise nothing happens.
void forget_peak_memory();
// What can still be taken without swapping: the system's own estimate, or what the control group allows, if that is
// less; 0 where unknown.
int64_t available_memory_bytes();
// From here on blocks of 8 MB and more are mapped one by one and go back to the system when they are freed. The
// allocator would otherwise learn to cut all below 32 MB out of one heap, whose holes add up to a third of the peak of
// a run, differently from run to run.
void map_large_blocks();
// Gives what is free in the heap back to the system.
void release_free_memory();

}  // namespace ockham
