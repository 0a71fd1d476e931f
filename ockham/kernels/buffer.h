// Memory of the kernels: aligned to cache lines, on huge pages where the system grants them, never moved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace ockham {

class Buffer {
 public:
  Buffer() = default;
  // Zeroed bytes, the first on a multiple of 64; kResource error when there are none. A few bytes more than asked for
  // can be read, so that a vector at the end need not be cut.
  explicit Buffer(int64_t bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        mapped_(std::exchange(other.mapped_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // At least so many bytes; what was inside is lost when it has to grow.
  void reserve(int64_t bytes) {
    if (bytes > bytes_) *this = Buffer(bytes);
  }

 private:
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0, mapped_ = 0;
};

}  // namespace ockham
