#include "ockham/kernels/buffer.h"

#include <sys/mman.h>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// From kLarge bytes on whole huge pages: what they waste is little beside what tables of small pages cost kernels that
// walk over many rows at once.
constexpr int64_t kPage = 4096, kHugePage = int64_t{2} << 20, kLarge = kHugePage / 4, kReadable = 256;

int64_t rounded(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  OCKHAM_CHECK(bytes >= 0);
  const bool is_large = bytes + kReadable >= kLarge;
  // Where the system puts a mapping is no multiple of a huge page: one more leaves room for a beginning that is.
  mapped_ = is_large ? rounded(bytes + kReadable, kHugePage) + kHugePage : rounded(bytes + kReadable, kPage);
  void* at = mmap(nullptr, static_cast<size_t>(mapped_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    throw_error(ErrorKind::kResource, "no memory for {} bytes of weights; choose a smaller model or fewer bits", bytes);
  }
  start_ = data_ = static_cast<uint8_t*>(at);
  if (!is_large) return;
  data_ += rounded(reinterpret_cast<intptr_t>(at), kHugePage) - reinterpret_cast<intptr_t>(at);
#ifdef MADV_HUGEPAGE
  madvise(data_, static_cast<size_t>(mapped_ - kHugePage), MADV_HUGEPAGE);  // a wish: refusing it is no error
#endif
}

Buffer::~Buffer() {
  if (start_ != nullptr) munmap(start_, static_cast<size_t>(mapped_));
}

}  // namespace ockham
