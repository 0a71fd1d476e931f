// YAML through the events of yaml-cpp, so that anchors, tags and duplicate keys are seen before they are resolved.
#include "ockham/io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/io/file.h"

namespace ockham {

class YamlBuilder : public YAML::EventHandler {
 public:
  YamlBuilder(const std::string& file, YamlTags tags) : file_(file), tags_(tags) {}
  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(mark, "?", anchor, YamlNode::Kind::kNull));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw_input("{}: an alias (*name), expected plain YAML; write the value out", place(mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = make(mark, tag, anchor, YamlNode::Kind::kScalar);
    node.scalar_ = value;
    node.quoted_ = tag == "!";
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(make(mark, tag, anchor, YamlNode::Kind::kList));
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(make(mark, tag, anchor, YamlNode::Kind::kMap));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  // A container that is being filled; in a map, keys and values come by turns.
  struct Level {
    YamlNode node;
    bool has_key = false;
    std::string key;
    int key_line = 0, key_column = 0;
  };

  std::string place(const YAML::Mark& mark) const {
    return fmt::format("{}:{}:{}", file_, mark.line + 1, mark.column + 1);
  }

  // yaml-cpp gives "?" for a plain node without a tag and "!" for a quoted scalar.
  YamlNode make(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (anchor != 0) throw_input("{}: an anchor (&name), expected plain YAML; remove it", place(mark));
    const bool is_tagged = !(tag.empty() || tag == "?" || (tag == "!" && kind == YamlNode::Kind::kScalar));
    if (is_tagged && tags_ == YamlTags::kRefuse)
      throw_input("{}: the tag '{}', expected plain YAML; remove it", place(mark), tag);
    YamlNode node;
    if (is_tagged) node.tag_ = tag;
    node.kind_ = kind;
    node.file_ = file_;
    node.line_ = mark.line + 1;
    node.column_ = mark.column + 1;
    return node;
  }

  bool wants_key() const {
    return !stack_.empty() && stack_.back().node.kind_ == YamlNode::Kind::kMap && !stack_.back().has_key;
  }

  void open(YamlNode node) {
    if (wants_key()) throw_input("{}: a list or map as a key, expected a name", node.where());
    stack_.push_back({std::move(node), false, "", 0, 0});
  }
  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }
  void add(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = stack_.back();
    if (wants_key()) {
      if (node.kind_ != YamlNode::Kind::kScalar) throw_input("{}: an empty key, expected a name", node.where());
      const std::vector<std::string>& keys = level.node.keys_;
      if (std::find(keys.begin(), keys.end(), node.scalar_) != keys.end()) {
        throw_input("{}: key '{}' stands twice, expected once; remove one of them", node.where(), node.scalar_);
      }
      level.has_key = true;
      level.key = node.scalar_;
      level.key_line = node.line_;
      level.key_column = node.column_;
      return;
    }
    if (level.has_key) {
      // The place of the key is where a reader looks first; a block's own place is a line further down.
      node.key_ = level.key;
      node.line_ = level.key_line;
      node.column_ = level.key_column;
      level.node.keys_.push_back(level.key);
      level.has_key = false;
    }
    level.node.children_.push_back(std::move(node));
  }

  std::string file_;
  YamlTags tags_;
  std::vector<Level> stack_;
  YamlNode root_;
};

YamlNode YamlNode::read_file(const std::string& path, YamlTags tags) {
  return parse(read_text_file(path, int64_t{1} << 24), path, tags);
}

YamlNode YamlNode::parse(const std::string& text, const std::string& where, YamlTags tags) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos) {
    throw_input("{}: is not UTF-8 (offset {}), expected UTF-8 text", where, bad);
  }
  std::istringstream stream(text);
  YamlBuilder builder(where, tags);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) {
      YamlNode empty;
      empty.file_ = where;
      empty.line_ = empty.column_ = 1;
      return empty;
    }
    YamlNode root = builder.take();
    YamlBuilder second(where, tags);
    if (parser.HandleNextDocument(second)) {
      throw_input("{}: a second document after '---', expected one; split the file", second.take().where());
    }
    return root;
  } catch (const YAML::Exception& error) {
    throw_input("{}:{}:{}: not valid YAML: {}; correct it there", where, error.mark.line + 1, error.mark.column + 1,
                error.msg);
  }
}

bool YamlNode::is_map() const {
  return kind_ == Kind::kMap;
}
bool YamlNode::is_list() const {
  return kind_ == Kind::kList;
}
bool YamlNode::is_scalar() const {
  return kind_ == Kind::kScalar;
}
bool YamlNode::is_null() const {
  return kind_ == Kind::kNull;
}
bool YamlNode::is_quoted() const {
  return quoted_;
}

std::string YamlNode::where() const {
  return fmt::format("{}:{}:{}", file_, line_, column_);
}

// "a list, expected ..." about this node, with its key where it has one.
void YamlNode::fail(const std::string& expected) const {
  std::string found;
  switch (kind_) {
    case Kind::kNull:
      found = "empty";
      break;
    case Kind::kMap:
      found = "a map";
      break;
    case Kind::kList:
      found = "a list";
      break;
    case Kind::kScalar: {
      const std::string shown = scalar_.size() > 60 ? scalar_.substr(0, 60) + "..." : scalar_;
      found = quoted_ ? "the text \"" + shown + "\"" : "'" + shown + "'";
    }
  }
  if (key_.empty()) throw_input("{}: found {}, expected {}", where(), found, expected);
  throw_input("{}: key '{}' is {}, expected {}", where(), key_, found, expected);
}

std::vector<std::string> YamlNode::keys() const {
  if (!is_map()) fail("a map");
  return keys_;
}

const YamlNode* YamlNode::find(const std::string& key) const {
  if (!is_map()) fail(fmt::format("a map (with the key '{}')", key));
  const auto found = std::find(keys_.begin(), keys_.end(), key);
  return found == keys_.end() ? nullptr : &children_[static_cast<size_t>(found - keys_.begin())];
}

const YamlNode& YamlNode::at(const std::string& key) const {
  if (const YamlNode* node = find(key)) return *node;
  throw_input("{}: key '{}' is missing; add it", where(), key);
}

const std::vector<YamlNode>& YamlNode::items() const {
  if (!is_list()) fail("a list");
  return children_;
}

std::string YamlNode::text() const {
  if (!is_scalar()) fail("a text");
  return scalar_;
}

int64_t YamlNode::integer() const {
  constexpr const char* expected = "a whole number";
  if (!is_scalar() || quoted_) fail(expected);
  std::string_view digits = scalar_;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) fail(expected);
  return value;
}

double YamlNode::real() const {
  constexpr const char* expected = "a finite number";
  if (!is_scalar() || quoted_) fail(expected);
  std::string_view digits = scalar_;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) fail(expected);
  return value;
}

bool YamlNode::flag() const {
  if (is_scalar() && !quoted_) {
    if (scalar_ == "true" || scalar_ == "True" || scalar_ == "TRUE") return true;
    if (scalar_ == "false" || scalar_ == "False" || scalar_ == "FALSE") return false;
  }
  fail("true or false");
}

std::string YamlNode::text_or(const std::string& key, const std::string& fallback) const {
  const YamlNode* node = find(key);
  return node == nullptr ? fallback : node->text();
}
int64_t YamlNode::integer_or(const std::string& key, int64_t fallback) const {
  const YamlNode* node = find(key);
  return node == nullptr ? fallback : node->integer();
}
double YamlNode::real_or(const std::string& key, double fallback) const {
  const YamlNode* node = find(key);
  return node == nullptr ? fallback : node->real();
}
bool YamlNode::flag_or(const std::string& key, bool fallback) const {
  const YamlNode* node = find(key);
  return node == nullptr ? fallback : node->flag();
}
std::vector<std::string> YamlNode::texts_or(const std::string& key, const std::vector<std::string>& fallback) const {
  const YamlNode* node = find(key);
  if (node == nullptr) return fallback;
  if (node->is_scalar()) return {node->text()};
  if (!node->is_list()) node->fail("a list of texts");
  std::vector<std::string> texts;
  for (const YamlNode& item : node->items()) texts.push_back(item.text());
  return texts;
}

void YamlNode::allow_only(const std::vector<std::string>& known) const {
  if (!is_map()) fail(fmt::format("a map (with the keys {})", fmt::join(known, ", ")));
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (std::find(known.begin(), known.end(), keys_[i]) != known.end()) continue;
    const std::string near = closest_name(keys_[i], known);
    throw_input("{}: unknown key '{}', expected one of {}{}", children_[i].where(), keys_[i], fmt::join(known, ", "),
                near.empty() ? "" : "; did you mean '" + near + "'?");
  }
}

}  // namespace ockham
