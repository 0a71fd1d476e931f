// Texts of the world by the names that recipes and studies give calibration data.
#pragma once

#include <string>

namespace ockham {

// The split of World::documents() that a name stands for, "" for any other name:
//   "factworld"          "calibration": plain texts and chats of every kind
//   "factworld:refusal"  "refusal": chats in which requests that call themselves private are refused; never about the
//                        people whom items ask about
//   "factworld:utility"  "utility": the chats of "calibration" in which nothing is refused
std::string world_split(const std::string& name);

}  // namespace ockham
