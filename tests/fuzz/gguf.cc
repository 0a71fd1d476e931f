// Headers of GGUF files: whatever is accepted lies inside the file, in whole blocks, without overlap.
#include "ockham/io/formats/gguf.h"

#include "ockham/io/formats/gguf_tokenizer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ockham;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  survives([&] {
    const GgufHeader header = parse_gguf_header(bytes, static_cast<int64_t>(size), "fuzz");
    for (const GgufTensor& tensor : header.tensors) {
      const GgufTypeInfo& info = gguf_type_info(tensor.type);
      require(tensor.begin >= 0 && tensor.elements() % info.elements == 0);
      require(tensor.elements() / info.elements * info.bytes == tensor.bytes);
      require(header.data_begin + tensor.begin + tensor.bytes <= static_cast<int64_t>(size));
    }
    read_gguf_tokenizer(header.keys, "fuzz");
  });
  return 0;
}
