// Headers of safetensors: whatever is accepted tiles the data exactly.
#include "ockham/io/safetensors.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  survives([&] {
    const SafetensorsHeader header = parse_safetensors_header(bytes, static_cast<int64_t>(size), "fuzz");
    int64_t cursor = 0;
    for (const TensorInfo& tensor : header.tensors) {
      require(tensor.begin == cursor && tensor.end >= tensor.begin);
      require(tensor.elements() * dtype_size(tensor.dtype) == tensor.end - tensor.begin);
      cursor = tensor.end;
    }
    require(header.data_begin + cursor == static_cast<int64_t>(size));
  });
  // The same text with a length that fits it: gets past the first check far more often.
  const uint64_t length = size;
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  file += as_text(data, size);
  survives([&] {
    parse_safetensors_header(std::as_bytes(std::span(file)), static_cast<int64_t>(file.size()) + 64, "fuzz");
  });
  return 0;
}
