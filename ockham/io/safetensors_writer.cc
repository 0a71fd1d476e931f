// Streaming writer of safetensors: under a temporary name until finish().
#include <unistd.h>

#include <cstdio>
#include <set>

#include "ockham/core/error.h"
#include "ockham/io/json.h"
#include "ockham/io/posix.h"
#include "ockham/io/safetensors.h"

namespace ockham {

struct SafetensorsWriter::State {
  std::string path, temporary;
  std::vector<TensorInfo> tensors;
  size_t next = 0;
  int64_t filled = 0;  // bytes of the next one
  bool finished = false;
  Descriptor file;

  State(const std::string& target, std::vector<TensorInfo> declared)
      : path(target),
        temporary(temporary_name(target)),
        tensors(std::move(declared)),
        file(open_for_writing(temporary)) {}
  ~State() {
    if (!finished) ::unlink(temporary.c_str());
  }
};

namespace {

// Fills in begin and end, in the declared order, and gives the header with its padding (8 + length is a multiple of 8).
std::string make_header(std::vector<TensorInfo>& tensors, const std::map<std::string, std::string>& metadata) {
  std::set<std::string> names;
  // Written by hand: an ordered_json object of all tensors takes quadratic time.
  std::string header = "{";
  const auto add = [&](const std::string& name, const Json& value) {
    if (header.size() > 1) header += ',';
    header += Json(name).dump() + ":" + value.dump();
  };
  if (!metadata.empty()) add("__metadata__", Json(metadata));
  int64_t cursor = 0;
  for (TensorInfo& tensor : tensors) {
    OCKHAM_CHECK(names.insert(tensor.name).second && tensor.name != "__metadata__");
    tensor.begin = cursor;
    cursor += tensor.elements() * dtype_size(tensor.dtype);
    tensor.end = cursor;
    add(tensor.name,
        {{"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}});
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(tensors, metadata);
  state_ = std::make_unique<State>(path, std::move(tensors));
  const uint64_t length = header.size();
  write_all(state_->file.get(), &length, sizeof length, path);
  write_all(state_->file.get(), header.data(), header.size(), path);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::append(const std::string& name, std::span<const std::byte> bytes) {
  OCKHAM_CHECK(state_->next < state_->tensors.size());
  const TensorInfo& tensor = state_->tensors[state_->next];
  const int64_t size = tensor.end - tensor.begin, filled = state_->filled + static_cast<int64_t>(bytes.size());
  OCKHAM_CHECK(tensor.name == name && filled <= size && (size == 0 || !bytes.empty()));
  write_all(state_->file.get(), bytes.data(), bytes.size(), state_->path);
  state_->filled = filled < size ? filled : 0;
  if (filled == size) ++state_->next;
}

void SafetensorsWriter::finish() {
  OCKHAM_CHECK(!state_->finished && state_->next == state_->tensors.size());
  sync_descriptor(state_->file.get(), state_->path);
  if (!state_->file.close_now()) throw_system(state_->path, "write");
  if (::rename(state_->temporary.c_str(), state_->path.c_str()) != 0) throw_system(state_->path, "move the file there");
  state_->finished = true;
  sync_directory(parent_directory(state_->path));
}

}  // namespace ockham
