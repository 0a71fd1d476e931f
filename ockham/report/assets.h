// Style and script of the report page, kept inside the page so that it needs no network.
#pragma once

#include <string_view>

namespace ockham {

std::string_view page_style();
std::string_view page_script();

}  // namespace ockham
