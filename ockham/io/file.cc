// Checked reading, UTF-8, SHA-256 and memory maps.
#include "ockham/io/file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/io/posix.h"

namespace ockham {
namespace {

size_t read_some(int fd, char* data, size_t size, const std::string& path) {
  for (;;) {
    const ssize_t got = ::read(fd, data, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) throw_input("{}: cannot be read: {}; expected a readable file", path, system_reason());
  }
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    OCKHAM_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
  }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(const void* data, size_t size) { OCKHAM_CHECK(EVP_DigestUpdate(context_, data, size) == 1); }
  std::string finish() {
    std::array<unsigned char, 32> digest{};
    OCKHAM_CHECK(EVP_DigestFinal_ex(context_, digest.data(), nullptr) == 1);
    std::string text;
    for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  EVP_MD_CTX* context_;
};

}  // namespace

std::string read_file(const std::string& path, int64_t max_bytes) {
  const Descriptor file(open_for_reading(path));
  struct stat status {};
  std::string content;
  if (::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    if (status.st_size > max_bytes) {
      throw_input("{}: is {} bytes long, expected at most {}; split the file", path, int64_t{status.st_size},
                  max_bytes);
    }
    content.reserve(static_cast<size_t>(status.st_size));
  }
  std::vector<char> buffer(size_t{1} << 16);
  while (const size_t got = read_some(file.get(), buffer.data(), buffer.size(), path)) {
    content.append(buffer.data(), got);
    if (static_cast<int64_t>(content.size()) > max_bytes) {
      throw_input("{}: is longer than {} bytes, the most that is read; split the file", path, max_bytes);
    }
  }
  return content;
}

std::string read_text_file(const std::string& path, int64_t max_bytes) {
  std::string text = read_file(path, max_bytes);
  if (text.empty()) throw_input("{}: is empty, expected text", path);
  if (const size_t zero = text.find('\0'); zero != std::string::npos) {
    throw_input("{}: is binary (a NUL byte at offset {}), expected UTF-8 text", path, zero);
  }
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos) {
    throw_input("{}: is not UTF-8 (byte 0x{:02x} at offset {}), expected UTF-8 text; convert it, as with iconv", path,
                static_cast<unsigned char>(text[bad]), bad);
  }
  return text;
}

// Well-formed sequences only: no overlong forms, no surrogates, nothing above U+10FFFF (Unicode 15, table 3-7).
size_t find_invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  size_t i = 0;
  while (i < text.size()) {
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      i += 1;
    } else if (lead >= 0xC2 && lead <= 0xDF && follows(i + 1)) {
      i += 2;
    } else if (lead >= 0xE0 && lead <= 0xEF && follows(i + 1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) &&
               follows(i + 2)) {
      i += 3;
    } else if (lead >= 0xF0 && lead <= 0xF4 && follows(i + 1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) &&
               follows(i + 2) && follows(i + 3)) {
      i += 4;
    } else {
      return i;
    }
  }
  return std::string_view::npos;
}

std::string sha256_text(std::string_view text) {
  Sha256 hash;
  hash.add(text.data(), text.size());
  return hash.finish();
}

std::string sha256_file(const std::string& path) {
  const Descriptor file(open_for_reading(path));
  Sha256 hash;
  std::vector<char> buffer(size_t{1} << 20);
  while (const size_t got = read_some(file.get(), buffer.data(), buffer.size(), path)) hash.add(buffer.data(), got);
  return hash.finish();
}

MemoryMap::MemoryMap(const std::string& path) {
  const Descriptor file(open_for_reading(path));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_system(path, "find its size");
  if (!S_ISREG(status.st_mode)) throw_input("{}: is not a regular file; copy it into one", path);
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    size_ = 0;
    throw_system(path, "map it into memory");
  }
  data_ = static_cast<const std::byte*>(address);
}

MemoryMap::~MemoryMap() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MemoryMap::MemoryMap(MemoryMap&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

void MemoryMap::copy(size_t offset, size_t length, void* target) const {
  constexpr size_t piece = size_t{8} << 20;
  for (size_t done = 0; done < length; done += piece) {
    const size_t size = std::min(piece, length - done);
    std::memcpy(static_cast<std::byte*>(target) + done, data_ + offset + done, size);
    forget(offset + done, size);
  }
}

void MemoryMap::forget(size_t offset, size_t length) const {
  if (data_ == nullptr || offset >= size_) return;
  // The system maps up to 16 pages around each one that is touched, so the range is widened by as many; a neighbour
  // that is still in use is only mapped once more.
  const size_t around = 16 * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t end = length > size_ - offset ? size_ : offset + length;
  const size_t first = offset / around * around;
  const size_t last = std::min(size_, (end + around - 1) / around * around);
  if (first < last) ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace ockham
