// JSON with keys in file order, and reading of files with errors that name file, key and line.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ockham {

using Json = nlohmann::ordered_json;

// Parses a text; `where` names it in errors (a path, "line 3 of x.jsonl"). Refuses invalid UTF-8 and nesting deeper
// than 200.
Json parse_json(std::string_view text, const std::string& where);
Json read_json_file(const std::string& path);
// Calls `take` with the object of each non-empty line and its place ("line 3 of x.jsonl") until it returns false.
void for_each_json_line(const std::string& path,
                        const std::function<bool(Json object, const std::string& where)>& take);
// One object per non-empty line, of at most `max_items` (0: all). Errors name the line.
std::vector<Json> read_jsonl_file(const std::string& path, int64_t max_items = 0);

// Typed access to a required or optional key; Error(kInput) names `where`, the key, the found type and the expected
// one.
std::string json_text(const Json& object, const std::string& key, const std::string& where);
int64_t json_integer(const Json& object, const std::string& key, const std::string& where);
double json_real(const Json& object, const std::string& key, const std::string& where);
bool json_flag(const Json& object, const std::string& key, const std::string& where);
// Absent or null gives the fallback; a wrong type is still an error.
std::string json_text(const Json& object, const std::string& key, const std::string& where,
                      const std::string& fallback);
int64_t json_integer(const Json& object, const std::string& key, const std::string& where, int64_t fallback);
double json_real(const Json& object, const std::string& key, const std::string& where, double fallback);
bool json_flag(const Json& object, const std::string& key, const std::string& where, bool fallback);

}  // namespace ockham
