// YAML of recipes, tasks and studies: parsed, then walked as a reader of recipes would.
#include "ockham/io/yaml.h"

#include "tests/fuzz/fuzz.h"

namespace {

using namespace ockham;

void walk(const YamlNode& node) {
  require(!node.where().empty());
  survives([&] { node.integer(); });
  survives([&] { node.real(); });
  survives([&] { node.flag(); });
  survives([&] { node.text(); });
  survives([&] { node.allow_only({"method", "targets", "params"}); });
  if (node.is_map()) {
    survives([&] { node.texts_or("targets", {}); });
    for (const std::string& key : node.keys()) walk(node.at(key));
  } else if (node.is_list()) {
    for (const YamlNode& item : node.items()) walk(item);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  survives([&] { walk(YamlNode::parse(std::string(as_text(data, size)), "fuzz")); });
  return 0;
}
