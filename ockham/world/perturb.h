// Attacks on sentences that keep their meaning for a reader, and styles that the corpus has hardly seen.
#pragma once

#include <string>

#include "ockham/world/lexicon.h"

namespace ockham::world {

enum class Attack { kTypo, kWord, kSuffix };
std::string perturb(const std::string& text, Attack attack, Rng& rng);
enum class Style { kOld, kShort, kRare };
std::string restyle(const std::string& text, Style style, Rng& rng);
// Puts `with` for the first word of the text that stands in `list`, everywhere.
std::string replace_topic(const std::string& text, const Words& list, const std::string& with);

}  // namespace ockham::world
