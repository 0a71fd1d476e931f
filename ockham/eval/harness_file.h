// One task file of lm-evaluation-harness together with the files that it includes.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"
#include "ockham/io/yaml.h"

namespace ockham {

// The nearer file's keys win.
class HarnessFile {
 public:
  explicit HarnessFile(const std::string& path);

  // The node of a key with a value; null where it is absent or null. A Python function is refused.
  const YamlNode* find(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  // Refuses every key that would be ignored.
  void allow_known() const;
  const std::string& path() const { return path_; }

  static void refuse_tag(const YamlNode& node, const std::string& key);

 private:
  std::string path_;
  std::vector<YamlNode> layers_;
};

// A YAML value as JSON; plain scalars take the type that they look like.
Json yaml_json(const YamlNode& node, const std::string& key);

}  // namespace ockham
