// What every page has: a head with style, the mark, a foot with script; and escaping.
#pragma once

#include <string>
#include <string_view>

namespace ockham {

// Text or attribute content; bytes that are not UTF-8 and control characters become U+FFFD.
std::string escape_html(std::string_view text);
// Up to and with the element that holds the page; `title` is escaped here. The page may load nothing from anywhere.
std::string page_begin(const std::string& title);
std::string page_brand();
// Ends <main> and everything around it.
std::string page_end();

}  // namespace ockham
