#include "ockham/kernels/buffer.h"

#include <sys/mman.h>

#include "ockham/core/error.h"
#include "ockham/kernels/memory_nodes.h"

namespace ockham {
namespace {

constexpr int64_t kPage = 4096, kHugePage = int64_t{2} << 20, kReadable = 256;

}  // namespace

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  OCKHAM_CHECK(bytes >= 0);
  mapped_ = (bytes + kReadable + kPage - 1) / kPage * kPage;
  const bool is_large = mapped_ >= kHugePage;
  if (is_large) mapped_ = (mapped_ + kHugePage - 1) / kHugePage * kHugePage;
  void* at = mmap(nullptr, static_cast<size_t>(mapped_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    throw_error(ErrorKind::kResource, "no memory for {} bytes of weights; choose a smaller model or fewer bits", bytes);
  }
#ifdef MADV_HUGEPAGE
  if (is_large) madvise(at, static_cast<size_t>(mapped_), MADV_HUGEPAGE);  // a wish: refusing it is no error
#endif
  if (is_large && memory_nodes().size() > 1) spread_over_nodes(at, mapped_, memory_nodes());
  data_ = static_cast<uint8_t*>(at);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(mapped_));
}

}  // namespace ockham
