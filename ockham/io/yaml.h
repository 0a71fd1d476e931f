// YAML read into a tree that knows line and column, for recipes, tasks and studies. Anchors, tags and duplicate keys
// are refused, so are unknown keys: nothing in a file is silently ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ockham {

enum class YamlTags { kRefuse, kKeep };

class YamlNode {
 public:
  // Error(kInput) with file, line and column for anything malformed.
  static YamlNode read_file(const std::string& path, YamlTags tags = YamlTags::kRefuse);
  static YamlNode parse(const std::string& text, const std::string& where, YamlTags tags = YamlTags::kRefuse);

  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;  // a quoted or plain text, number or truth value
  bool is_null() const;
  bool is_quoted() const;  // a scalar in quotes is always a text

  // An application's own tag ("!function") where tags are kept; "".
  const std::string& tag() const { return tag_; }

  // The place in the file: "recipe.yaml:12:5".
  std::string where() const;
  std::vector<std::string> keys() const;               // of a map, in file order
  const YamlNode* find(const std::string& key) const;  // null when absent
  const YamlNode& at(const std::string& key) const;    // Error(kInput) when absent
  const std::vector<YamlNode>& items() const;          // of a list; Error(kInput) otherwise
  std::string key_text() const { return key_; }        // the key under which this node stands, "" in a list

  // Scalars; Error(kInput) says what was found and what was expected.
  std::string text() const;
  int64_t integer() const;
  double real() const;
  bool flag() const;
  std::string text_or(const std::string& key, const std::string& fallback) const;
  int64_t integer_or(const std::string& key, int64_t fallback) const;
  double real_or(const std::string& key, double fallback) const;
  bool flag_or(const std::string& key, bool fallback) const;
  std::vector<std::string> texts_or(const std::string& key,
                                    const std::vector<std::string>& fallback) const;  // a list or one scalar

  // Refuses keys outside `known`, with a suggestion.
  void allow_only(const std::vector<std::string>& known) const;

 private:
  friend class YamlBuilder;
  [[noreturn]] void fail(const std::string& expected) const;
  enum class Kind { kNull, kScalar, kMap, kList };
  Kind kind_ = Kind::kNull;
  std::string key_, scalar_, file_, tag_;
  int line_ = 0, column_ = 0;
  bool quoted_ = false;
  std::vector<std::string> keys_;
  std::vector<YamlNode> children_;
};

}  // namespace ockham
