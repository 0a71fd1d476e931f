// NumPy files: magic, version, a Python dictionary as text, data.
#include "ockham/io/npy.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/io/file.h"

namespace ockham {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kMaxFile = int64_t{1} << 36;

// Reads {'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }: just what NumPy writes, in any order of keys.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : rest_(text), where_(where) {}
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;

  void run() {
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        descr = quoted();
      } else if (key == "fortran_order" && !fortran_order) {
        fortran_order = truth();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        fail(fmt::format("the key '{}' is unknown or stands twice", key));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_blanks();
    if (!rest_.empty()) fail("text after the closing brace");
    if (!descr || !fortran_order || !shape) fail("one of descr, fortran_order, shape is missing");
  }

 private:
  [[noreturn]] void fail(const std::string& found) const {
    throw_input("{}: bad .npy header: {}; expected what numpy.save writes", where_, found);
  }
  void skip_blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip_blanks();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(fmt::format("'{}' is missing before '{}'", c, rest_.substr(0, 20)));
  }
  std::string quoted() {
    const char quote = take('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const size_t end = rest_.find(quote);
    if (end == std::string_view::npos) fail("an unfinished text");
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool truth() {
    skip_blanks();
    for (const auto& [word, value] : {std::pair{std::string_view("True"), true}, {std::string_view("False"), false}}) {
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    fail("fortran_order is neither True nor False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> sizes;
    expect('(');
    while (!take(')')) {
      skip_blanks();
      int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0) fail("a size in shape is not a whole number");
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      sizes.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::string_view rest_;
  std::string where_;
};

// Code points of a text type ("<U6": 6), 0 for another type.
int64_t text_length(const std::string& dtype) {
  int64_t length = 0;
  if (!dtype.starts_with("<U")) return 0;
  const auto [end, error] = std::from_chars(dtype.data() + 2, dtype.data() + dtype.size(), length);
  return error == std::errc() && end == dtype.data() + dtype.size() && length > 0 && length < (1 << 20) ? length : 0;
}

int64_t item_size(const std::string& dtype) {
  if (const int64_t length = text_length(dtype); length > 0) return 4 * length;
  if (dtype == "<i4" || dtype == "<f4") return 4;
  if (dtype == "<i8" || dtype == "<f8") return 8;
  return 0;
}

template <typename T>
int32_t token_at(const NpyArray& array, int64_t index, const std::string& path) {
  T id = 0;
  std::memcpy(&id, array.bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
    throw_input("{}: token id {} at position {}, expected 0 to {}", path, id, index,
                std::numeric_limits<int32_t>::max());
  }
  return static_cast<int32_t>(id);
}

// UTF-32 padded with zeros, as UTF-8.
std::string decode_text(const char* bytes, int64_t length, const std::string& path) {
  std::string text;
  for (int64_t i = 0; i < length; ++i) {
    uint32_t point = 0;
    std::memcpy(&point, bytes + 4 * i, sizeof point);
    if (point == 0) break;
    if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      throw_input("{}: a text holds the code point {:#x}, expected Unicode", path, point);
    const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
    if (point < 0x80) {
      put(point);
    } else if (point < 0x800) {
      put(0xC0 | point >> 6);
      put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
      put(0xE0 | point >> 12);
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    } else {
      put(0xF0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3F));
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    }
  }
  return text;
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (content.size() < 10 || !content.starts_with(kMagic)) {
    throw_input("{}: is not a .npy file (its first bytes are not \\x93NUMPY); write it with numpy.save", where);
  }
  const int major = static_cast<unsigned char>(content[6]);
  if (major != 1 && major != 2) throw_input("{}: .npy format version {}, expected 1 or 2", where, major);
  const size_t width = major == 1 ? 2 : 4;
  if (content.size() < 8 + width) throw_input("{}: ends inside the .npy header; the file is truncated", where);
  uint32_t length = 0;
  std::memcpy(&length, content.data() + 8, width);  // little endian, like the machine
  const size_t begin = 8 + width;
  if (length > content.size() - begin) {
    throw_input("{}: announces a header of {} bytes, but only {} follow; the file is truncated", where, length,
                content.size() - begin);
  }
  HeaderParser header(content.substr(begin, length), where);
  header.run();

  NpyArray array;
  array.dtype = *header.descr;
  array.shape = *header.shape;
  int64_t size = item_size(array.dtype);
  if (size == 0) {
    throw_input(
        "{}: holds '{}', expected little-endian int32, int64, float32, float64 or texts ('<i4', '<i8', '<f4', "
        "'<f8', '<U6')",
        where, array.dtype);
  }
  if (*header.fortran_order && array.shape.size() > 1) {
    throw_input("{}: is in column order, expected row order; save it with numpy.ascontiguousarray", where);
  }
  bool overflows = false;
  for (const int64_t extent : array.shape) overflows = overflows || __builtin_mul_overflow(size, extent, &size);
  const std::string_view data = content.substr(begin + length);
  if (overflows || static_cast<uint64_t>(size) != data.size()) {
    throw_input("{}: shape ({}) of '{}' does not fit the {} bytes of data; the file is truncated or broken", where,
                fmt::join(array.shape, ", "), array.dtype, data.size());
  }
  array.bytes.assign(data.begin(), data.end());
  return array;
}

NpyArray read_npy(const std::string& path) {
  const MemoryMap map(path);
  if (map.bytes().size() > static_cast<size_t>(kMaxFile)) {
    throw_input("{}: is {} bytes long, expected at most {}; split the file", path, map.bytes().size(), kMaxFile);
  }
  return parse_npy(map.bytes(), path);
}

std::vector<std::vector<int32_t>> read_token_ids_npy(const std::string& path) {
  const NpyArray array = read_npy(path);
  if (array.dtype != "<i4" && array.dtype != "<i8") {
    throw_input("{}: holds '{}', expected token ids as int32 or int64", path, array.dtype);
  }
  if (array.shape.size() != 2 || array.shape[0] == 0 || array.shape[1] == 0) {
    throw_input("{}: has the shape ({}), expected (sequences, tokens), neither zero", path,
                fmt::join(array.shape, ", "));
  }
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(array.shape[0]));
  int64_t index = 0;
  for (std::vector<int32_t>& sequence : ids) {
    sequence.reserve(static_cast<size_t>(array.shape[1]));
    for (int64_t i = 0; i < array.shape[1]; ++i, ++index) {
      sequence.push_back(array.dtype == "<i4" ? token_at<int32_t>(array, index, path)
                                              : token_at<int64_t>(array, index, path));
    }
  }
  return ids;
}

std::vector<std::string> read_labels_npy(const std::string& path) {
  const NpyArray array = read_npy(path);
  const int64_t length = text_length(array.dtype);
  if (length == 0 && array.dtype != "<i4" && array.dtype != "<i8")
    throw_input("{}: holds '{}', expected whole numbers or texts", path, array.dtype);
  if (array.shape.size() != 1)
    throw_input("{}: has the shape ({}), expected one dimension", path, fmt::join(array.shape, ", "));
  std::vector<std::string> labels;
  for (int64_t i = 0; i < array.shape[0]; ++i) {
    if (length > 0) {
      labels.push_back(decode_text(array.bytes.data() + i * 4 * length, length, path));
    } else if (array.dtype == "<i8") {
      int64_t value = 0;
      std::memcpy(&value, array.bytes.data() + i * 8, sizeof value);
      labels.push_back(std::to_string(value));
    } else {
      int32_t value = 0;
      std::memcpy(&value, array.bytes.data() + i * 4, sizeof value);
      labels.push_back(std::to_string(value));
    }
  }
  return labels;
}

void write_token_ids_npy(const std::string& path, const std::vector<std::vector<int32_t>>& ids) {
  const size_t tokens = ids.empty() ? 0 : ids[0].size();
  std::string header =
      fmt::format("{{'descr': '<i4', 'fortran_order': False, 'shape': ({}, {}), }}", ids.size(), tokens);
  // Magic, version, length and header together fill whole blocks of 64 bytes, the last of them a line break.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string content(kMagic);
  content += {'\1', '\0'};
  const auto length = static_cast<uint16_t>(header.size());
  content.append(reinterpret_cast<const char*>(&length), sizeof length);
  content += header;
  for (const std::vector<int32_t>& sequence : ids) {
    if (sequence.size() != tokens) {
      throw_input("{}: sequences of {} and of {} tokens, expected one length; cut them first", path, tokens,
                  sequence.size());
    }
    content.append(reinterpret_cast<const char*>(sequence.data()), sequence.size() * sizeof(int32_t));
  }
  write_file_atomically(path, content);
}

}  // namespace ockham
