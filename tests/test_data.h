// Where the real test material lies: $OCKHAM_TEST_DATA, or `shared` beside the sources. Tests that need it skip with a
// message where it is absent.
#pragma once

#include <cstdlib>
#include <string>

namespace ockham {

// The folder, or what lies `below` it; nothing need be there.
inline std::string test_data(const std::string& below = "") {
  const char* given = std::getenv("OCKHAM_TEST_DATA");
  const std::string root = given != nullptr ? given : OCKHAM_SOURCE_DIR "/../shared";
  return below.empty() ? root : root + "/" + below;
}

}  // namespace ockham
