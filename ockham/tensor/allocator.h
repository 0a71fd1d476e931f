// Memory of large tensors on the CPU. Activations come and go by the tens of megabytes; the C library returns each of
// them to the system, which clears every page before it hands it out again (a tenth of the time of Wanda).
#pragma once

#include <cstddef>

namespace ockham {

// Keeps freed tensors of 1 MiB and more, up to `most_bytes` together, for the next of their size, on large pages where
// the system offers them. Before the first tensor, once per process.
void use_caching_allocator(size_t most_bytes = size_t{256} << 20);
// Gives back what is kept.
void empty_allocator_cache();
// While one exists, what is kept and what is in use are never more together than what was in use at its largest: for
// work whose stages need very different amounts. There may be several.
class FrugalCache {
 public:
  FrugalCache();
  ~FrugalCache();
  FrugalCache(const FrugalCache&) = delete;
  FrugalCache& operator=(const FrugalCache&) = delete;
};

}  // namespace ockham
