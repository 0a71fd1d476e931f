#include "ockham/report/html_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "ockham/io/file.h"
#include "ockham/report/assets.h"

namespace ockham {

std::string escape_html(std::string_view text) {
  std::string clean;
  // Model output may hold anything; bytes that are not UTF-8 become the replacement character.
  for (std::string_view rest = text; !rest.empty();) {
    const size_t bad = find_invalid_utf8(rest);
    clean += rest.substr(0, std::min(bad, rest.size()));
    if (bad >= rest.size()) break;
    clean += "\xEF\xBF\xBD";
    rest.remove_prefix(bad + 1);
  }
  std::string result;
  result.reserve(clean.size() + clean.size() / 8);
  for (char c : clean) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if ((c >= 0 && c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
          result += "\xEF\xBF\xBD";
        else
          result += c;
    }
  }
  return result;
}

std::string page_begin(const std::string& title) {
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'; img-src data:\">"
      "<link rel=\"icon\" href=\"data:,\"><title>" +
      escape_html(title) + "</title><style>";
  html += page_style();
  return html + "</style></head><body><div class=\"page\">";
}

std::string page_brand() {
  return "<div class=\"brand\"><svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><path d=\"M2 16 14 3l4 2.5L7 16z\" "
         "fill=\"currentColor\"/><path d=\"M2 18.5h16\" stroke=\"currentColor\" "
         "stroke-width=\"1.6\"/></svg>Ockham</div>";
}

std::string page_section(const std::string& id, const std::string& title, const std::string& lede,
                         const std::string& body) {
  if (body.empty()) return "";
  return fmt::format("<section id=\"{}\"><h2>{}</h2><p class=\"lede\">{}</p>{}</section>", id, title, lede, body);
}

std::string page_figure(const std::string& title, const std::string& svg, const std::string& below) {
  return fmt::format(
      "<figure class=\"card\" style=\"margin:0\"><h3>{0}</h3><div style=\"margin-top:12px;overflow-x:auto\" "
      "tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><div style=\"min-width:440px\">{1}</div></div>{2}</figure>",
      title, svg, below);
}

HtmlTable::HtmlTable(const std::string& label, const std::vector<std::string>& head)
    : html_(fmt::format(
          "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table class=\"wide\"><thead><tr>",
          escape_html(label))) {
  for (size_t i = 0; i < head.size(); ++i)
    html_ += fmt::format("<th scope=\"col\"{}>{}</th>", i == 0 ? "" : " class=\"num\"", escape_html(head[i]));
  html_ += "</tr></thead><tbody>";
}

void HtmlTable::row(const std::string& name) {
  html_ += "<tr><th scope=\"row\">" + escape_html(name) + "</th>";
}
void HtmlTable::number(const std::string& text, const std::string& below) {
  html_ += "<td class=\"num\">" + escape_html(text);
  if (!below.empty()) html_ += "<span class=\"sub\">" + escape_html(below) + "</span>";
  html_ += "</td>";
}
void HtmlTable::rest(const std::string& text, int columns) {
  html_ += fmt::format("<td colspan=\"{}\">{}</td>", columns, escape_html(text));
}
void HtmlTable::end_row() {
  html_ += "</tr>";
}
void HtmlTable::add(const std::vector<std::string>& cells) {
  row(cells.front());
  for (size_t i = 1; i < cells.size(); ++i) number(cells[i]);
  end_row();
}
std::string HtmlTable::html() const {
  return html_ + "</tbody></table></div>";
}

std::string page_end() {
  std::string html =
      "</main><footer>Written by Ockham. This file is complete in itself and asks for nothing from the "
      "network.</footer></div><div id=\"tip\" role=\"tooltip\" hidden></div><script>";
  html += page_script();
  return html + "</script></body></html>\n";
}

}  // namespace ockham
