// Generated texts as calibration data, for the commands that take `--calibration`.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/documents.h"

namespace ockham {

// A TextSource: the documents of "factworld"; empty for another name.
std::vector<Document> world_documents(const std::string& name);

}  // namespace ockham
