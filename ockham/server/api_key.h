// Keys of services: from the environment only, and never in a message.
#pragma once

#include <span>
#include <string>

namespace ockham {

// The first of these variables that is set, blanks around it taken off; "" for none. Error(kUsage) for a key that
// cannot stand in a header.
std::string key_from_environment(std::span<const char* const> names);
// `text` with [key] in the place of the key; keys of under four characters would take out half of a text and stay.
std::string without_key(std::string text, const std::string& key);

}  // namespace ockham
