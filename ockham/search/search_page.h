// search.html: what was chosen, how the search got there, and what the same bytes give otherwise.
#pragma once

#include <string>

#include "ockham/io/json.h"

namespace ockham {

// Of search.json (docs/search.md). One file that needs no network.
std::string search_page(const Json& report);

}  // namespace ockham
