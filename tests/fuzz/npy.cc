// .npy files: what is accepted has as many bytes as its shape says.
#include "ockham/io/npy.h"

#include <cstdlib>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  survives([&] {
    const NpyArray array = parse_npy({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    // "<U6": six code points of four bytes.
    int64_t bytes = array.dtype[1] == 'U' ? 4 * std::atoll(array.dtype.c_str() + 2) : array.dtype.back() == '8' ? 8 : 4;
    for (const int64_t extent : array.shape) bytes *= extent;
    require(bytes == static_cast<int64_t>(array.bytes.size()) && array.bytes.size() < size);
  });
  return 0;
}
