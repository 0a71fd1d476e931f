// A set of 64-bit hashes that are only ever added: open addressing, one cache line for most questions.
#pragma once

#include <cstdint>
#include <vector>

namespace ockham::world {

class HashSet {
 public:
  void insert(uint64_t hash) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    uint64_t& slot = slots_[place_of(hash)];
    if (slot == hash) return;
    slot = hash;
    ++count_;
  }
  bool contains(uint64_t hash) const { return count_ > 0 && slots_[place_of(hash)] == hash; }

 private:
  static constexpr uint64_t kFree = 0;  // a hash of 0 is always contained, which forbids one text in 2^64 too many

  // Of the hash, or of the free slot where it belongs.
  size_t place_of(uint64_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t place = hash & mask;
    while (slots_[place] != kFree && slots_[place] != hash) place = (place + 1) & mask;
    return place;
  }
  void grow() {
    std::vector<uint64_t> old(slots_.empty() ? size_t{1} << 10 : 2 * slots_.size());
    old.swap(slots_);
    for (const uint64_t hash : old)
      if (hash != kFree) slots_[place_of(hash)] = hash;
  }

  std::vector<uint64_t> slots_;  // a power of two of them, at most half of them taken
  size_t count_ = 0;
};

}  // namespace ockham::world
