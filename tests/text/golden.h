// tests/text/golden.json, written by scripts/make_tokenizer_golden.py with the reference packages.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

inline const Json& golden() {
  static const Json json = read_json_file(std::string(OCKHAM_SOURCE_DIR) + "/tests/text/golden.json");
  return json;
}

}  // namespace ockham
