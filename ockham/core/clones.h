// One plain loop compiled for several instruction sets; the program chooses when it starts. Only where the compiler and
// the loader can: not with clang or under the sanitizers, where the function is compiled once.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define OCKHAM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define OCKHAM_CLONES
#endif
