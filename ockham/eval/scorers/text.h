// Text rules shared by the parsers. ASCII case folding as Python's lower() on ASCII; bytes above 127 are left alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);                          // first letter upper, the rest lower
std::string_view strip(std::string_view text);                          // blanks, tabs, line ends
std::string_view before(std::string_view text, std::string_view mark);  // up to the first mark; all of it without one
bool contains_any(std::string_view text, const std::vector<std::string>& phrases);
std::string replace_all(std::string text, std::string_view from, std::string_view to);
int64_t code_points(std::string_view text);
// Lower case, "_" and ASCII punctuation to blanks, articles dropped, blanks collapsed (the rule of TriviaQA).
std::string normalize_answer(std::string_view text);
bool is_blank(std::string_view text);

// Item fields; errors name the item.
std::string item_name(const Json& item);
std::vector<std::string> item_texts(const Json& item,
                                    const std::string& key);  // list or single text; empty when absent
// A label given as text, number or truth value, as text; "" when absent.
std::string item_label(const Json& item, const std::string& key = "label");
// Index of the label in `option`: an index as it is, a text by equality. Error(kInput) when it is none of them.
int64_t label_index(const Json& item, const std::vector<std::string>& options);

}  // namespace ockham
