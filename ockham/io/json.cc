// JSON into ordered trees in linear time, whatever the number of keys, and typed access to the keys of an object.
#include "ockham/io/json.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/json_sax.h"

namespace ockham {
namespace {

constexpr size_t kMaxDepth = 200;

// Builds the tree itself: the library's own builder searches all earlier keys of an object for each new one, and lets
// the last of two equal keys win silently.
class TreeBuilder : public JsonReceiver {
 public:
  explicit TreeBuilder(const std::string& where) : where_(where) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!stack_.back().keys.insert(name).second) {
      throw_input("{}: key '{}' stands twice in one object, expected once; remove one of them", where_, name);
    }
    key_ = std::move(name);
    return true;
  }

 private:
  struct Level {
    Json value;
    std::string key;  // under which the value goes into its parent
    std::unordered_set<std::string> keys;
  };

  bool add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (Json& parent = stack_.back().value; parent.is_array()) {
      parent.push_back(std::move(value));
    } else {
      parent.get_ptr<Json::object_t*>()->emplace_back(std::move(key_), std::move(value));
    }
    return true;
  }
  bool open(Json value) {
    if (stack_.size() >= kMaxDepth) {
      throw_input("{}: JSON is nested deeper than {}, expected a flatter document", where_, kMaxDepth);
    }
    stack_.push_back({std::move(value), std::move(key_), {}});
    key_.clear();
    return true;
  }
  bool close() {
    Level level = std::move(stack_.back());
    stack_.pop_back();
    key_ = std::move(level.key);
    return add(std::move(level.value));
  }

  std::string where_, key_;
  std::vector<Level> stack_;
  Json root_;
};

const Json* find_key(const Json& object, const std::string& key, const std::string& where) {
  if (!object.is_object())
    throw_input("{}: found {}, expected an object with the key '{}'", where, object.type_name(), key);
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& require_key(const Json& object, const std::string& key, const std::string& where) {
  const Json* value = find_key(object, key, where);
  if (value == nullptr) throw_input("{}: key '{}' is missing; add it", where, key);
  return *value;
}

[[noreturn]] void throw_type(const Json& value, const std::string& key, const std::string& where,
                             const char* expected) {
  std::string found = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (found.size() > 60) found = found.substr(0, 60) + "...";
  throw_input("{}: key '{}' is {} ({}), expected {}", where, key, found, value.type_name(), expected);
}

std::string text_of(const Json& value, const std::string& key, const std::string& where) {
  if (!value.is_string()) throw_type(value, key, where, "a text");
  return value.get<std::string>();
}
int64_t integer_of(const Json& value, const std::string& key, const std::string& where) {
  const bool is_too_large =
      value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value.is_number_integer() || is_too_large) throw_type(value, key, where, "a whole number of 64 bits");
  return value.get<int64_t>();
}
double real_of(const Json& value, const std::string& key, const std::string& where) {
  if (!value.is_number()) throw_type(value, key, where, "a number");
  return value.get<double>();
}
bool flag_of(const Json& value, const std::string& key, const std::string& where) {
  if (!value.is_boolean()) throw_type(value, key, where, "true or false");
  return value.get<bool>();
}

}  // namespace

bool JsonReceiver::parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
  position_ = position;
  fault_ = error.what();
  // Keeps what follows the library's own "[...] parse error at line 1, column 5: ".
  if (const size_t at = fault_.find(": "); at != std::string::npos) fault_.erase(0, at + 2);
  return false;
}

void JsonReceiver::run(std::string_view text, const std::string& where) {
  const auto fail = [&](size_t position, const std::string& fault) {
    const std::string_view before = text.substr(0, std::min(position, text.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1);  // npos + 1 is 0
    throw_input("{}: not valid JSON at line {}, column {}: {}; correct it there", where, line, column + 1, fault);
  };
  // The lexer takes a NUL byte for the end of the text and would ignore the rest.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) fail(zero, "a NUL byte");
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) fail(bad, "not UTF-8");
  if (!nlohmann::ordered_json::sax_parse(text, this)) fail(position_ == 0 ? 0 : position_ - 1, fault_);
}

Json parse_json(std::string_view text, const std::string& where) {
  TreeBuilder builder(where);
  builder.run(text, where);
  return builder.take();
}

Json read_json_file(const std::string& path) {
  return parse_json(read_text_file(path), path);
}

void for_each_json_line(const std::string& path,
                        const std::function<bool(Json object, const std::string& where)>& take) {
  const MemoryMap map(path);
  const std::string_view text(reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size());
  int64_t line = 0;
  bool is_empty = true;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view content = text.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (content.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    is_empty = false;
    const std::string where = fmt::format("line {} of {}", line, path);
    Json object = parse_json(content, where);
    if (!object.is_object()) {
      throw_input("{}: found {}, expected one JSON object per line", where, object.type_name());
    }
    if (!take(std::move(object), where)) return;
  }
  if (is_empty) throw_input("{}: is empty, expected one JSON object per line", path);
}

std::vector<Json> read_jsonl_file(const std::string& path, int64_t max_items) {
  std::vector<Json> items;
  for_each_json_line(path, [&](Json object, const std::string&) {
    items.push_back(std::move(object));
    return static_cast<int64_t>(items.size()) != max_items;
  });
  return items;
}

std::string json_text(const Json& object, const std::string& key, const std::string& where) {
  return text_of(require_key(object, key, where), key, where);
}
int64_t json_integer(const Json& object, const std::string& key, const std::string& where) {
  return integer_of(require_key(object, key, where), key, where);
}
double json_real(const Json& object, const std::string& key, const std::string& where) {
  return real_of(require_key(object, key, where), key, where);
}
bool json_flag(const Json& object, const std::string& key, const std::string& where) {
  return flag_of(require_key(object, key, where), key, where);
}
std::string json_text(const Json& object, const std::string& key, const std::string& where,
                      const std::string& fallback) {
  const Json* value = find_key(object, key, where);
  return value == nullptr ? fallback : text_of(*value, key, where);
}
int64_t json_integer(const Json& object, const std::string& key, const std::string& where, int64_t fallback) {
  const Json* value = find_key(object, key, where);
  return value == nullptr ? fallback : integer_of(*value, key, where);
}
double json_real(const Json& object, const std::string& key, const std::string& where, double fallback) {
  const Json* value = find_key(object, key, where);
  return value == nullptr ? fallback : real_of(*value, key, where);
}
bool json_flag(const Json& object, const std::string& key, const std::string& where, bool fallback) {
  const Json* value = find_key(object, key, where);
  return value == nullptr ? fallback : flag_of(*value, key, where);
}

}  // namespace ockham
