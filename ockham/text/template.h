// Jinja templates and regular expressions of evaluation tasks, through the Rust crates `minijinja` and `fancy-regex`.
// Settings are those of lm-evaluation-harness: blocks are not trimmed, the last line end is kept, an undefined name is
// an error, values print as Python's str(), `regex_replace` is a filter. Python's methods of texts, lists and
// dictionaries work.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/json.h"

namespace ockham {

// The template rendered once per row (objects whose keys are the template's names). Error(kInput) names `where`, the
// row and what is wrong.
std::vector<std::string> render_template(const std::string& source, const std::vector<Json>& rows,
                                         const std::string& where);
// The value of a template that is one `{{ expression }}`, of any JSON type; of every other template its text.
std::vector<Json> evaluate_template(const std::string& source, const std::vector<Json>& rows, const std::string& where);

// Reads a list as Python or JSON writes it (quoted texts and numbers), as templates print it. False when it is none.
bool parse_python_list(const std::string& text, std::vector<std::string>& items);

// Every match as its groups 0, 1, ... (as Python's re; a group without a match is "").
std::vector<std::vector<std::string>> find_all(const std::string& pattern, const std::string& text);
// \1 in `replacement` stands for group 1.
std::string replace_matches(const std::string& pattern, const std::string& replacement, const std::string& text);

}  // namespace ockham
