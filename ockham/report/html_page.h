// What every page has: a head with style, the mark, sections, figures, tables, a foot with script; and escaping.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ockham {

// Text or attribute content; bytes that are not UTF-8 and control characters become U+FFFD.
std::string escape_html(std::string_view text);
// Up to and with the element that holds the page; `title` is escaped here. The page may load nothing from anywhere.
std::string page_begin(const std::string& title);
std::string page_brand();
// All but `id` are HTML; "" for an empty body.
std::string page_section(const std::string& id, const std::string& title, const std::string& lede,
                         const std::string& body);
// On a phone the picture scrolls, so that its text stays readable. All three are HTML.
std::string page_figure(const std::string& title, const std::string& svg, const std::string& below);
// Ends <main> and everything around it.
std::string page_end();

// A table whose first column is text and whose others are numbers unless they say otherwise. Texts are escaped here.
class HtmlTable {
 public:
  HtmlTable(const std::string& label, const std::vector<std::string>& head);
  void row(const std::string& name);
  void number(const std::string& text, const std::string& below = "");
  void rest(const std::string& text, int columns);
  void end_row();
  // A whole row: its name, then numbers.
  void add(const std::vector<std::string>& cells);
  std::string html() const;

 private:
  std::string html_;
};

}  // namespace ockham
