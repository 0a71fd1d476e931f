// Reading of safetensors: the header is taken apart while it is parsed, so no size in it is trusted before it is
// checked.
#include "ockham/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_set>

#include "ockham/core/error.h"
#include "ockham/io/json_sax.h"

namespace ockham {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // bytes; the reference reader's limit

// {"__metadata__": {text: text}, NAME: {"dtype": text, "shape": [n...], "data_offsets": [begin, end]}, ...}
class HeaderReceiver : public JsonReceiver {
 public:
  explicit HeaderReceiver(const std::string& where) : where_(where) {}
  SafetensorsHeader header;

  bool null() override { fail("null"); }
  bool boolean(bool) override { fail("a truth value"); }
  bool number_integer(number_integer_t value) override { fail(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override { fail(fmt::format("the number {}", text)); }
  bool binary(binary_t&) override { fail("bytes"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (numbers_ == nullptr || !in_list_ || value > static_cast<uint64_t>(INT64_MAX))
      fail(fmt::format("the number {}", value));
    numbers_->push_back(static_cast<int64_t>(value));
    return true;
  }
  bool string(string_t& value) override {
    if (in_list_) fail("a text");
    if (depth_ == 2 && in_metadata_) {
      header.metadata[key_] = value;
    } else if (depth_ == 2 && key_ == "dtype") {
      const std::optional<DType> dtype = dtype_from_name(value);
      if (!dtype) {
        throw_error(
            ErrorKind::kUnsupported,
            "{}: tensor '{}' has the dtype '{}', expected F32, F16, BF16, F64, an integer of 8 to 64 bits, BOOL, "
            "F8_E4M3 or F8_E5M2; convert it",
            where_, tensor_.name, value);
      }
      tensor_.dtype = *dtype;
    } else {
      fail("a text");
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ >= 2 || in_list_) fail("an object");
    ++depth_;
    if (depth_ == 2) {
      in_metadata_ = key_ == "__metadata__";
      keys_.clear();
      tensor_ = TensorInfo{};
      tensor_.name = key_;
      offsets_.clear();
    }
    return true;
  }
  bool key(string_t& name) override {
    if (!(depth_ == 1 ? names_ : keys_).insert(name).second) {
      throw_input("{}: the name '{}' stands twice in the header{}, expected once; the file is broken", where_, name,
                  depth_ == 1 ? "" : " entry of '" + tensor_.name + "'");
    }
    if (depth_ == 2 && !in_metadata_) {
      if (name == "shape") {
        numbers_ = &tensor_.shape;
      } else if (name == "data_offsets") {
        numbers_ = &offsets_;
      } else if (name == "dtype") {
        numbers_ = nullptr;
      } else {
        throw_input("{}: tensor '{}' has the unknown key '{}', expected dtype, shape and data_offsets", where_,
                    tensor_.name, name);
      }
    }
    key_ = name;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) finish_tensor();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || numbers_ == nullptr || in_list_) fail("a list");
    in_list_ = true;
    return true;
  }
  bool end_array() override {
    in_list_ = false;
    numbers_ = nullptr;
    return true;
  }

 private:
  [[noreturn]] void fail(const std::string& found) const {
    if (depth_ == 0) throw_input("{}: the header is {}, expected an object", where_, found);
    if (depth_ == 1) throw_input("{}: header entry '{}' is {}, expected an object", where_, key_, found);
    if (in_metadata_) throw_input("{}: metadata '{}' is {}, expected a text", where_, key_, found);
    throw_input("{}: tensor '{}': '{}' holds {}, expected {}", where_, tensor_.name, key_, found,
                key_ == "dtype" ? "a text" : "a list of whole numbers, not negative");
  }

  void finish_tensor() {
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!keys_.contains(key))
        throw_input("{}: tensor '{}' has no '{}'; the file is broken", where_, tensor_.name, key);
    }
    if (offsets_.size() != 2 || offsets_[0] > offsets_[1]) {
      throw_input("{}: tensor '{}' has the data_offsets [{}], expected [begin, end] with begin <= end", where_,
                  tensor_.name, fmt::join(offsets_, ", "));
    }
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    int64_t bytes = dtype_size(tensor_.dtype);
    bool overflows = false;
    // A zero anywhere makes the tensor empty, whatever the other sizes are.
    const bool is_empty = std::find(tensor_.shape.begin(), tensor_.shape.end(), 0) != tensor_.shape.end();
    for (const int64_t size : tensor_.shape) overflows = overflows || __builtin_mul_overflow(bytes, size, &bytes);
    if (is_empty) bytes = 0;
    if ((overflows && !is_empty) || tensor_.end - tensor_.begin != bytes) {
      throw_input("{}: tensor '{}' of {} [{}] has {} bytes of data, expected {}; the file is truncated or broken",
                  where_, tensor_.name, dtype_name(tensor_.dtype), fmt::join(tensor_.shape, ", "),
                  tensor_.end - tensor_.begin, overflows ? "fewer elements" : fmt::to_string(bytes));
    }
    header.tensors.push_back(std::move(tensor_));
  }

  std::string where_, key_;
  std::unordered_set<std::string> names_, keys_;
  TensorInfo tensor_;
  std::vector<int64_t> offsets_;
  std::vector<int64_t>* numbers_ = nullptr;  // where the list of the present key goes
  int depth_ = 0;
  bool in_metadata_ = false, in_list_ = false;
};

// Every byte of the data belongs to exactly one tensor.
void check_tiling(std::vector<TensorInfo>& tensors, int64_t data_size, const std::string& where) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t cursor = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.end > data_size) {
      throw_input(
          "{}: tensor '{}' ends at byte {} of the data, expected at most {}; the file is truncated: copy it again",
          where, tensor.name, tensor.end, data_size);
    }
    if (tensor.begin != cursor) {
      throw_input("{}: tensor '{}' begins at byte {} of the data, expected {}: {}; the file is broken", where,
                  tensor.name, tensor.begin, cursor,
                  tensor.begin < cursor ? "tensors overlap" : "bytes belong to no tensor");
    }
    cursor = tensor.end;
  }
  if (cursor != data_size) {
    throw_input("{}: {} bytes follow the last tensor, expected none; the file is broken", where, data_size - cursor);
  }
}

}  // namespace

int64_t TensorInfo::elements() const {
  // Zeros first: the other sizes of an empty tensor may overflow.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes, int64_t file_size,
                                           const std::string& where) {
  uint64_t length = 0;
  if (file_size < 8 || bytes.size() < sizeof length) {
    throw_input("{}: is {} bytes long, expected a safetensors file (at least 8); copy it again", where, file_size);
  }
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeader) {
    throw_input("{}: announces a header of {} bytes, expected at most {}; this is not a safetensors file", where,
                length, kMaxHeader);
  }
  const uint64_t data_begin = length + 8;
  if (data_begin > static_cast<uint64_t>(file_size) || data_begin > bytes.size()) {
    throw_input("{}: announces a header of {} bytes, but only {} follow; the file is truncated: copy it again", where,
                length, file_size - 8);
  }
  HeaderReceiver receiver(where);
  const std::string header_where = where + " (header)";
  receiver.run({reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(length)}, header_where);
  receiver.header.data_begin = static_cast<int64_t>(data_begin);
  check_tiling(receiver.header.tensors, file_size - receiver.header.data_begin, where);
  return std::move(receiver.header);
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : path_(path),
      map_(path),
      header_(parse_safetensors_header(map_.bytes(), static_cast<int64_t>(map_.bytes().size()), path)) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::data(const TensorInfo& tensor) const {
  return map_.bytes().subspan(static_cast<size_t>(header_.data_begin + tensor.begin),
                              static_cast<size_t>(tensor.end - tensor.begin));
}

void SafetensorsFile::copy(const TensorInfo& tensor, void* target) const {
  map_.copy(static_cast<size_t>(header_.data_begin + tensor.begin), static_cast<size_t>(tensor.end - tensor.begin),
            target);
}

void SafetensorsFile::forget() const {
  map_.forget(0, map_.bytes().size());
}

void SafetensorsFile::forget(const TensorInfo& tensor) const {
  map_.forget(static_cast<size_t>(header_.data_begin + tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
}

}  // namespace ockham
