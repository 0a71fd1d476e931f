// Streaming writer of GGUF files: under a temporary name until finish().
#include <unistd.h>

#include <cstdio>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf.h"
#include "ockham/io/posix.h"

namespace ockham {
namespace {

constexpr int64_t kAlignment = 32;

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, const std::string& text) {
  put(out, static_cast<uint64_t>(text.size()));
  out += text;
}

enum KeyType : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10, kI64 = 11 };

KeyType type_of(const Json& value) {
  if (value.is_boolean()) return kBool;
  if (value.is_string()) return kString;
  if (value.is_number_float()) return kF32;
  OCKHAM_CHECK(value.is_number_integer());
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= UINT32_MAX ? kU32 : kU64;
  const auto number = value.get<int64_t>();
  if (number >= 0) return number <= int64_t{UINT32_MAX} ? kU32 : kU64;
  return number >= INT32_MIN ? kI32 : kI64;
}

void put_value(std::string& out, const Json& value, KeyType type) {
  switch (type) {
    case kBool:
      return put(out, static_cast<uint8_t>(value.get<bool>() ? 1 : 0));
    case kString:
      return put_text(out, value.get<std::string>());
    case kF32:
      return put(out, value.get<float>());
    case kU32:
      return put(out, value.get<uint32_t>());
    case kI32:
      return put(out, value.get<int32_t>());
    default:
      return put(out, value.get<int64_t>());
  }
}

void put_array(std::string& out, const Json& list, KeyType type) {
  put(out, static_cast<uint32_t>(kArray));
  put(out, static_cast<uint32_t>(type));
  put(out, static_cast<uint64_t>(list.size()));
  for (const Json& value : list) put_value(out, value, type);
}

void put_key(std::string& out, const std::string& key, const Json& value) {
  put_text(out, key);
  if (value.is_object()) return put_array(out, value.at("i32"), kI32);
  if (value.is_array()) return put_array(out, value, value.empty() ? kString : type_of(value.front()));
  const KeyType type = type_of(value);
  put(out, static_cast<uint32_t>(type));
  put_value(out, value, type);
}

int64_t padded(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

struct GgufWriter::State {
  std::string path, temporary;
  std::vector<GgufTensor> tensors;
  size_t next = 0;
  int64_t written = 0;
  bool is_finished = false;
  Descriptor file;

  State(const std::string& target, std::vector<GgufTensor> declared)
      : path(target),
        temporary(temporary_name(target)),
        tensors(std::move(declared)),
        file(open_for_writing(temporary)) {}
  ~State() {
    if (!is_finished) ::unlink(temporary.c_str());
  }
  void write(const void* data, size_t length) {
    write_all(file.get(), data, length, path);
    written += static_cast<int64_t>(length);
  }
  void pad() {
    static constexpr uint8_t kZeros[kAlignment] = {};
    write(kZeros, static_cast<size_t>(padded(written) - written));
  }
};

GgufWriter::GgufWriter(const std::string& path, const Json& keys, std::vector<GgufTensor> tensors)
    : state_(std::make_unique<State>(path, std::move(tensors))) {
  State& state = *state_;
  std::string head = "GGUF";
  put(head, uint32_t{3});
  put(head, static_cast<uint64_t>(state.tensors.size()));
  put(head, static_cast<uint64_t>(keys.size()));
  for (const auto& [key, value] : keys.items()) put_key(head, key, value);
  int64_t offset = 0;
  for (GgufTensor& tensor : state.tensors) {
    const GgufTypeInfo& info = gguf_type_info(tensor.type);
    OCKHAM_CHECK((tensor.shape.empty() ? 1 : tensor.shape.back()) % info.elements == 0);
    tensor.begin = offset;
    tensor.bytes = tensor.elements() / info.elements * info.bytes;
    offset += padded(tensor.bytes);
    put_text(head, tensor.name);
    put(head, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
      put(head, static_cast<uint64_t>(*size));
    put(head, static_cast<uint32_t>(tensor.type));
    put(head, static_cast<uint64_t>(tensor.begin));
  }
  state.write(head.data(), head.size());
  state.pad();
}

GgufWriter::~GgufWriter() = default;

void GgufWriter::append(const std::string& name, std::span<const uint8_t> bytes) {
  State& state = *state_;
  OCKHAM_CHECK(state.next < state.tensors.size() && state.tensors[state.next].name == name);
  OCKHAM_CHECK(static_cast<int64_t>(bytes.size()) == state.tensors[state.next].bytes);
  ++state.next;
  state.write(bytes.data(), bytes.size());
  state.pad();
}

void GgufWriter::finish() {
  State& state = *state_;
  OCKHAM_CHECK(state.next == state.tensors.size());
  sync_descriptor(state.file.get(), state.path);
  if (!state.file.close_now()) throw_system(state.path, "write");
  if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) throw_system(state.path, "move the file there");
  state.is_finished = true;
  sync_directory(parent_directory(state.path));
}

int64_t GgufWriter::bytes() const {
  return state_->written;
}

}  // namespace ockham
