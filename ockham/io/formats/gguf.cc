// Reading of GGUF files.
#include "ockham/io/formats/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <regex>
#include <set>

#include "ockham/core/error.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxKeys = 1 << 12, kMaxTensors = 1 << 20, kMaxString = 1 << 26, kMaxDimensions = 4;
constexpr int kMaxDepth = 4;  // of arrays in arrays

// Reads forward through the header; every step is checked against what is left.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  size_t position() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  template <typename T>
  T number(const char* what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  int64_t count(const char* what, int64_t limit) {
    const auto value = number<uint64_t>(what);
    if (value > static_cast<uint64_t>(limit)) {
      throw_input("{}: {} at byte {} is {}, expected at most {}; the file is damaged, download it again", where_, what,
                  at_ - 8, value, limit);
    }
    return static_cast<int64_t>(value);
  }
  std::string text(const char* what) {
    const auto length = static_cast<size_t>(count(what, kMaxString));
    need(length, what);
    std::string value(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
    if (find_invalid_utf8(value) != std::string::npos)
      throw_input("{}: {} at byte {} is not UTF-8; the file is damaged, download it again", where_, what, at_);
    at_ += length;
    return value;
  }
  Json value(uint32_t type, const std::string& key, int depth);

 private:
  void need(size_t length, const char* what) const {
    if (length > left()) {
      throw_input("{}: ends inside {} at byte {}, expected {} more bytes; the file is truncated, download it again",
                  where_, what, at_, length);
    }
  }
  Json array(const std::string& key, int depth);

  std::span<const std::byte> bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

Json Cursor::array(const std::string& key, int depth) {
  const auto type = number<uint32_t>("an array's type");
  // Every element takes at least a byte, so what is left bounds the count.
  const int64_t length = count("an array's length", static_cast<int64_t>(left()));
  if (depth >= kMaxDepth) throw_input("{}: key '{}' nests arrays deeper than {}", where_, key, kMaxDepth);
  Json result = Json::array();
  for (int64_t i = 0; i < length; ++i) result.push_back(value(type, key, depth + 1));
  return result;
}

Json Cursor::value(uint32_t type, const std::string& key, int depth) {
  constexpr const char* kWhat = "a key's value";
  switch (type) {
    case 0:
      return number<uint8_t>(kWhat);
    case 1:
      return number<int8_t>(kWhat);
    case 2:
      return number<uint16_t>(kWhat);
    case 3:
      return number<int16_t>(kWhat);
    case 4:
      return number<uint32_t>(kWhat);
    case 5:
      return number<int32_t>(kWhat);
    case 6:
      return number<float>(kWhat);
    case 7:
      return number<uint8_t>(kWhat) != 0;
    case 8:
      return text(kWhat);
    case 9:
      return array(key, depth);
    case 10:
      return number<uint64_t>(kWhat);
    case 11:
      return number<int64_t>(kWhat);
    case 12:
      return number<double>(kWhat);
    default:
      throw_input("{}: key '{}' has type {}, expected 0 to 12; the file is damaged, download it again", where_, key,
                  type);
  }
}

GgufTensor read_tensor_info(Cursor& cursor, const std::string& where) {
  GgufTensor tensor;
  tensor.name = cursor.text("a tensor's name");
  const auto dimensions = cursor.number<uint32_t>("a tensor's dimensions");
  if (dimensions > kMaxDimensions) {
    throw_input("{}: tensor '{}' has {} dimensions, expected at most {}; the file is damaged, download it again", where,
                tensor.name, dimensions, kMaxDimensions);
  }
  for (uint32_t i = 0; i < dimensions; ++i) {
    tensor.shape.insert(tensor.shape.begin(), cursor.count("a tensor's size", int64_t{1} << 48));
  }
  const auto number = cursor.number<uint32_t>("a tensor's type");
  const GgufTypeInfo* type = find_gguf_type(number);
  if (type == nullptr) {
    throw_error(ErrorKind::kUnsupported,
                "{}: tensor '{}' has type {}, expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K; "
                "take a file of one of these types",
                where, tensor.name, number);
  }
  tensor.type = type->type;
  tensor.begin = cursor.count("a tensor's offset", int64_t{1} << 60);
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(elements, size, &elements))
      throw_input("{}: tensor '{}' is larger than any file; the file is damaged, download it again", where,
                  tensor.name);
  }
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % type->elements != 0) {
    throw_input("{}: tensor '{}' has rows of {} elements, expected a multiple of {} for {}; the file is damaged", where,
                tensor.name, row, type->elements, type->name);
  }
  if (__builtin_mul_overflow(elements / type->elements, type->bytes, &tensor.bytes))
    throw_input("{}: tensor '{}' is larger than any file; the file is damaged, download it again", where, tensor.name);
  return tensor;
}

void check_places(const GgufHeader& header, int64_t file_size, int64_t alignment, const std::string& where) {
  std::vector<const GgufTensor*> order;
  std::set<std::string> names;
  for (const GgufTensor& tensor : header.tensors) {
    order.push_back(&tensor);
    if (!names.insert(tensor.name).second)
      throw_input("{}: tensor '{}' is there twice; write the file again", where, tensor.name);
    if (tensor.begin % alignment != 0) {
      throw_input("{}: tensor '{}' begins at {}, expected a multiple of {}; write the file again", where, tensor.name,
                  tensor.begin, alignment);
    }
    if (tensor.bytes > file_size - header.data_begin || tensor.begin > file_size - header.data_begin - tensor.bytes) {
      throw_input(
          "{}: tensor '{}' needs {} bytes at {}, the file holds {} bytes of data; it is truncated, download it "
          "again",
          where, tensor.name, tensor.bytes, tensor.begin, file_size - header.data_begin);
    }
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->begin < b->begin; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->bytes > 0 && order[i]->bytes > 0 && order[i - 1]->begin + order[i - 1]->bytes > order[i]->begin) {
      throw_input("{}: tensors '{}' and '{}' overlap; the file is damaged, download it again", where,
                  order[i - 1]->name, order[i]->name);
    }
  }
}

int64_t read_alignment(const Json& keys, const std::string& where) {
  const auto found = keys.find("general.alignment");
  if (found == keys.end()) return 32;
  const int64_t alignment = json_integer(keys, "general.alignment", where);
  if (alignment < 1 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0) {
    throw_input("{}: key 'general.alignment' is {}, expected a power of two; the file is damaged", where, alignment);
  }
  return alignment;
}

}  // namespace

int64_t GgufTensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

GgufHeader parse_gguf_header(std::span<const std::byte> bytes, int64_t file_size, const std::string& where) {
  Cursor cursor(bytes, where);
  if (cursor.number<uint32_t>("the magic number") != 0x46554747U)
    throw_input("{}: does not begin with 'GGUF'; name a GGUF file", where);
  const auto version = cursor.number<uint32_t>("the version");
  if (version != 2 && version != 3) {
    throw_error(ErrorKind::kUnsupported, "{}: is GGUF version {}, expected 3 (or 2); convert the model again", where,
                version);
  }
  const int64_t tensors = cursor.count("the tensor count", kMaxTensors);
  const int64_t keys = cursor.count("the key count", kMaxKeys);
  GgufHeader header;
  for (int64_t i = 0; i < keys; ++i) {
    const std::string key = cursor.text("a key's name");
    if (header.keys.contains(key)) throw_input("{}: key '{}' is there twice; write the file again", where, key);
    const auto type = cursor.number<uint32_t>("a key's type");
    header.keys[key] = cursor.value(type, key, 0);
  }
  for (int64_t i = 0; i < tensors; ++i) header.tensors.push_back(read_tensor_info(cursor, where));
  const int64_t alignment = read_alignment(header.keys, where);
  header.data_begin = (static_cast<int64_t>(cursor.position()) + alignment - 1) / alignment * alignment;
  if (header.tensors.empty()) return header;
  if (header.data_begin > file_size)
    throw_input("{}: ends before its data at byte {}; it is truncated, download it again", where, header.data_begin);
  check_places(header, file_size, alignment, where);
  return header;
}

GgufFile::GgufFile(const std::string& path) : path_(path), map_(path) {
  header_ = parse_gguf_header(map_.bytes(), static_cast<int64_t>(map_.bytes().size()), path);
}

std::span<const uint8_t> GgufFile::data(const GgufTensor& tensor) const {
  const auto* base = reinterpret_cast<const uint8_t*>(map_.bytes().data());
  return {base + header_.data_begin + tensor.begin, static_cast<size_t>(tensor.bytes)};
}

void GgufFile::forget() const {
  map_.forget(0, map_.bytes().size());
}

void GgufFile::forget(const GgufTensor& tensor) const {
  map_.forget(static_cast<size_t>(header_.data_begin + tensor.begin), static_cast<size_t>(tensor.bytes));
}

std::vector<std::unique_ptr<GgufFile>> open_gguf(const std::string& path) {
  std::vector<std::unique_ptr<GgufFile>> files;
  files.push_back(std::make_unique<GgufFile>(path));
  const int64_t count = json_integer(files.front()->header().keys, "split.count", path, 1);
  if (count <= 1) return files;
  static const std::regex kPattern("(.*)-([0-9]{5})-of-([0-9]{5})\\.gguf");
  std::smatch match;
  const std::string name = fs::path(path).filename().string();
  if (!std::regex_match(name, match, kPattern) || std::stoll(match[3]) != count) {
    throw_input("{}: is one of {} parts, expected a name such as model-00001-of-{:05}.gguf; restore the name", path,
                count, count);
  }
  const std::string stem = match[1];
  files.clear();
  for (int64_t i = 1; i <= count; ++i) {
    const std::string part = fmt::format("{}-{:05}-of-{:05}.gguf", stem, i, count);
    const fs::path place = fs::path(path).parent_path() / part;
    if (!fs::exists(place)) {
      throw_input("{}: part {} of {} is missing, expected it beside {}; download it", place.string(), i, count, name);
    }
    files.push_back(std::make_unique<GgufFile>(place.string()));
    const int64_t number = json_integer(files.back()->header().keys, "split.no", place.string());
    if (number != i - 1)
      throw_input("{}: key 'split.no' is {}, expected {}; restore the files' names", place.string(), number, i - 1);
  }
  return files;
}

std::string find_gguf(const std::string& model) {
  if (model.ends_with(".gguf") && fs::is_regular_file(model)) return model;
  if (!fs::is_directory(model) || fs::exists(fs::path(model) / "config.json")) return "";
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(model)) {
    const std::string path = entry.path().string();
    if (path.ends_with(".gguf")) found.push_back(path);
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) return "";
  if (found.size() > 1 && found.front().find("-00001-of-") == std::string::npos)
    throw_input("{}: holds {} GGUF files, expected one model; name the file", model, found.size());
  return found.front();
}

}  // namespace ockham
