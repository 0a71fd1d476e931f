// An allocator of libtorch that keeps the last freed blocks, the oldest of which go first.
#include "ockham/tensor/allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>

namespace ockham {
namespace {

constexpr size_t kSmallest = size_t{1} << 20;

struct Block {
  void* data;
  size_t bytes;
};

// Sizes differ by an eighth at most, so that a tensor of nearly the same length finds a block.
size_t rounded(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

class CachingAllocator final : public c10::Allocator {
 public:
  // The context is the data itself and the deleter always the same, which oneDNN's scratch memory relies on.
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kSmallest ? c10::alloc_cpu(bytes) : allocate_large(rounded(bytes));
    return {data, data, &CachingAllocator::release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &CachingAllocator::release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  void empty() { trim(0); }
  void set_most(size_t bytes) { most_ = bytes; }
  void begin_frugal() {
    {
      const std::scoped_lock lock(mutex_);
      if (frugal_++ == 0) largest_ = used_;
    }
    trim(most_);
  }
  void end_frugal() { --frugal_; }
  static CachingAllocator& instance() {
    static auto* const kInstance = new CachingAllocator;  // outlives every tensor
    return *kInstance;
  }

 private:
  static void release(void* data) { instance().give_back(data); }

  void* allocate_large(size_t bytes) {
    void* data = take(bytes);
    if (data == nullptr) {
      make_room(bytes);
      data = fresh(bytes);
    }
    const std::scoped_lock lock(mutex_);
    large_[data] = bytes;
    used_ += bytes;
    largest_ = std::max(largest_, used_);
    return data;
  }

  void give_back(void* data) {
    Block block{data, 0};
    {
      const std::scoped_lock lock(mutex_);
      if (const auto found = large_.find(data); found != large_.end()) {
        block.bytes = found->second;
        used_ -= block.bytes;
        large_.erase(found);
      }
    }
    if (block.bytes == 0) return c10::free_cpu(data);
    keep(block);
  }

  void* fresh(size_t bytes) {
    try {
      return c10::alloc_cpu(bytes);
    } catch (const std::exception&) {
      trim(0);  // what is kept may be what is missing
      return c10::alloc_cpu(bytes);
    }
  }

  void* take(size_t bytes) {
    const std::scoped_lock lock(mutex_);
    for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
      if (it->bytes != bytes) continue;
      void* data = it->data;
      total_ -= bytes;
      kept_.erase(std::next(it).base());
      return data;
    }
    return nullptr;
  }

  void keep(const Block& block) {
    {
      const std::scoped_lock lock(mutex_);
      kept_.push_back(block);
      total_ += block.bytes;
    }
    trim(most_);
  }

  // What is kept goes before more memory is asked for than was ever in use.
  void make_room(size_t bytes) {
    if (frugal_ == 0) return;
    size_t most = 0;
    {
      const std::scoped_lock lock(mutex_);
      if (used_ + bytes < largest_) most = largest_ - used_ - bytes;
    }
    trim(most);
  }

  void trim(size_t most) {
    const std::scoped_lock lock(mutex_);
    if (frugal_ > 0) most = std::min(most, largest_ - used_);
    while (total_ > most) {
      total_ -= kept_.front().bytes;
      c10::free_cpu(kept_.front().data);
      kept_.pop_front();
    }
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> large_;  // in use: bytes of each
  std::list<Block> kept_;                    // the oldest first
  size_t total_ = 0, most_ = 0;              // kept
  size_t used_ = 0, largest_ = 0;            // in use, now and at most
  std::atomic<int> frugal_ = 0;
};

}  // namespace

void use_caching_allocator(size_t most_bytes) {
  // libtorch reads it at its first allocation; a user's own setting stands.
  setenv("THP_MEM_ALLOC_ENABLE", "1", 0);
  CachingAllocator::instance().set_most(most_bytes);
  c10::SetCPUAllocator(&CachingAllocator::instance(), 1);
}

void empty_allocator_cache() {
  CachingAllocator::instance().empty();
}

FrugalCache::FrugalCache() {
  CachingAllocator::instance().begin_frugal();
}

FrugalCache::~FrugalCache() {
  CachingAllocator::instance().end_frugal();
}

}  // namespace ockham
