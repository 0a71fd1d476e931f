#include "ockham/text/json_grammar.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/text/character_reader.h"
#include "ockham/text/pattern_grammar.h"

namespace ockham {
namespace {

using Expression = GrammarExpression;
using Expressions = std::vector<Expression>;

constexpr int64_t kMostListed = 100000;
constexpr size_t kMostRules = 100000;

// Say nothing about which values are valid.
const std::set<std::string> kAnnotations = {"title",      "description", "default", "examples",   "example",
                                            "deprecated", "$schema",     "$id",     "$comment",   "$defs",
                                            "readOnly",   "writeOnly",   "$anchor", "definitions"};
// By type: what is read beside `type`.
const std::map<std::string, std::set<std::string>> kKeywords = {
    {"object", {"properties", "required", "additionalProperties"}},
    {"array", {"items", "minItems", "maxItems"}},
    {"string", {"minLength", "maxLength", "pattern", "format"}},
    {"integer", {}},
    {"number", {}},
    {"boolean", {}},
    {"null", {}}};
const std::map<std::string, std::string> kFormats = {
    {"date", R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])$)"},
    {"time", R"(^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
    {"date-time",
     R"(^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$)"},
    {"uuid", R"(^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$)"}};

Expression literal(std::string text) {
  return Expression::literal(std::move(text));
}
Expression digits(int64_t least, int64_t most) {
  return Expression::repetition(Expression::characters({{'0', '9'}}), least, most);
}
Expression optional(Expression part) {
  return Expression::repetition(std::move(part), 0, 1);
}

// A character of a JSON string, as itself where JSON lets it be, else escaped.
Expression spell_in_string(std::vector<CharacterRange> ranges) {
  ranges = normalized(std::move(ranges));
  const auto holds = [&](uint32_t code) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [code](const auto& r) { return r.first <= code && code <= r.last; });
  };
  Expressions choices;
  std::vector<CharacterRange> escaped = complement(ranges);
  escaped.insert(escaped.end(), {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  if (auto plain = complement(escaped); !plain.empty()) choices.push_back(Expression::characters(std::move(plain)));
  for (uint32_t code = 0; code <= '\\'; ++code) {
    if ((code > 0x1F && code != '"' && code != '\\') || !holds(code)) continue;
    const std::string text = Json(std::string(1, static_cast<char>(code))).dump();
    choices.push_back(literal(text.substr(1, text.size() - 2)));
  }
  return choices.empty() ? Expression::characters({}) : Expression::alternatives(std::move(choices));
}

// Rules that all JSON texts share.
class JsonRules {
 public:
  int32_t add(std::string name) {
    if (grammar.rules.size() >= kMostRules)
      throw_error(ErrorKind::kUnsupported, "the schema has more than {} parts; make it smaller", kMostRules);
    grammar.rules.push_back({std::move(name), {}});
    return static_cast<int32_t>(grammar.rules.size()) - 1;
  }
  int32_t add(std::string name, Expression body) {
    const int32_t rule = add(std::move(name));
    set(rule, std::move(body));
    return rule;
  }
  void set(int32_t rule, Expression body) { grammar.rules[static_cast<size_t>(rule)].body = std::move(body); }
  Expression shared(const std::string& name, Expression (JsonRules::*make)()) {
    const auto found = shared_.find(name);
    if (found != shared_.end()) return Expression::reference(found->second);
    const int32_t rule = add(name, (this->*make)());
    shared_[name] = rule;
    return Expression::reference(rule);
  }
  Expression blank() { return shared("blank", &JsonRules::make_blank); }
  Expression character() { return shared("character", &JsonRules::make_character); }
  Expression string() { return shared("string", &JsonRules::make_string); }
  Expression integer() { return shared("integer", &JsonRules::make_integer); }
  Expression number() { return shared("number", &JsonRules::make_number); }
  Expression boolean() { return Expression::alternatives({literal("true"), literal("false")}); }
  // `items` joined by commas between the brackets, at least one.
  Expression enclosed(const char* open, Expression inside, const char* close) {
    return Expression::sequence({literal(open), blank(), std::move(inside), blank(), literal(close)});
  }
  Expression comma() { return Expression::sequence({literal(","), blank()}); }
  Expression list(Expression item, int64_t least, int64_t most);
  Expression pairs(Expression value);
  Expression value(int64_t nesting);
  Expression object(int64_t nesting);

  Grammar grammar;

 private:
  Expression make_blank() {
    const Expression line = Expression::sequence(
        {literal("\n"), Expression::repetition(Expression::characters({{' ', ' '}, {'\t', '\t'}}), 0, 20)});
    return Expression::alternatives({Expression::sequence({}), literal(" "), line});
  }
  Expression make_character();
  Expression make_string() {
    return Expression::sequence({literal("\""), Expression::repetition(character(), 0, -1), literal("\"")});
  }
  Expression make_integer() {
    const Expression whole = Expression::sequence({Expression::characters({{'1', '9'}}), digits(0, 15)});
    return Expression::sequence({optional(literal("-")), Expression::alternatives({literal("0"), whole})});
  }
  Expression make_number() {
    const Expression sign = optional(Expression::characters({{'+', '+'}, {'-', '-'}}));
    return Expression::sequence(
        {integer(), optional(Expression::sequence({literal("."), digits(1, 15)})),
         optional(Expression::sequence({Expression::characters({{'e', 'e'}, {'E', 'E'}}), sign, digits(1, 2)}))});
  }
  std::map<std::string, int32_t> shared_;
  std::map<int64_t, int32_t> values_, objects_;  // by nesting that is left
};

Expression JsonRules::make_character() {
  const std::vector<CharacterRange> hexadecimal = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  const auto digit = [&] { return Expression::characters(hexadecimal); };
  // Not the halves of a pair, U+D800 to U+DFFF.
  const Expression code = Expression::alternatives(
      {Expression::sequence({Expression::characters({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}),
                             digit(), digit(), digit()}),
       Expression::sequence({Expression::characters({{'D', 'D'}, {'d', 'd'}}), Expression::characters({{'0', '7'}}),
                             digit(), digit()})});
  const Expression escape = Expression::alternatives(
      {Expression::characters(
           {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}),
       Expression::sequence({literal("u"), code})});
  return Expression::alternatives({Expression::characters(complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}})),
                                   Expression::sequence({literal("\\"), escape})});
}

Expression JsonRules::list(Expression item, int64_t least, int64_t most) {
  if (most == 0) return enclosed("[", Expression::sequence({}), "]");
  Expression more = Expression::repetition(Expression::sequence({comma(), item}), std::max<int64_t>(least - 1, 0),
                                           most < 0 ? -1 : most - 1);
  Expression items = Expression::sequence({std::move(item), std::move(more)});
  return enclosed("[", least > 0 ? std::move(items) : optional(std::move(items)), "]");
}

// Any keys, the same kind of value for all.
Expression JsonRules::pairs(Expression value) {
  const Expression pair = Expression::sequence({string(), literal(":"), blank(), std::move(value)});
  const Expression more = Expression::repetition(Expression::sequence({comma(), pair}), 0, -1);
  return enclosed("{", optional(Expression::sequence({pair, more})), "}");
}

Expression JsonRules::object(int64_t nesting) {
  const auto found = objects_.find(nesting);
  if (found != objects_.end()) return Expression::reference(found->second);
  const int32_t rule = add("object");
  objects_[nesting] = rule;
  set(rule, nesting > 0 ? pairs(value(nesting - 1)) : Expression::characters({}));
  return Expression::reference(rule);
}

Expression JsonRules::value(int64_t nesting) {
  const auto found = values_.find(nesting);
  if (found != values_.end()) return Expression::reference(found->second);
  const int32_t rule = add("value");
  values_[nesting] = rule;
  Expressions choices = {string(), number(), boolean(), literal("null")};
  if (nesting > 0) {
    choices.push_back(object(nesting));
    choices.push_back(list(value(nesting - 1), 0, -1));
  }
  set(rule, Expression::alternatives(std::move(choices)));
  return Expression::reference(rule);
}

class SchemaReader {
 public:
  SchemaReader(const Json& schema, const std::string& where, const JsonGrammarLimits& limits)
      : schema_(schema), where_(where), limits_(limits) {}
  Grammar read();

 private:
  // A part of the schema whose rule is to be filled.
  struct Place {
    const Json* schema;
    std::string pointer;
    int64_t references;  // that led here
  };
  Expression rule_of(const Json& schema, std::string pointer, int64_t references);
  Expression read_schema(const Place& place);
  Expression read_typed(const Place& place, const std::string& type);
  Expression read_reference(const Place& place);
  Expression read_any_of(const Place& place, const char* keyword);
  Expression read_values(const Place& place, const Json& values);
  Expression read_object(const Place& place);
  Expression read_properties(const Place& place, const Json& properties);
  Expression read_array(const Place& place);
  Expression read_string(const Place& place);
  std::vector<std::string> types_of(const Place& place) const;
  bool has_type(const Json& value, const std::vector<std::string>& types) const;
  void check_keywords(const Place& place, const std::set<std::string>& known) const;
  std::pair<int64_t, int64_t> bounds(const Place& place, const char* least, const char* most) const;
  std::string where(const Place& place) const { return where_ + ", " + place.pointer; }

  const Json& schema_;
  const std::string& where_;
  const JsonGrammarLimits& limits_;
  JsonRules rules_;
  std::map<std::pair<const Json*, int64_t>, int32_t> known_;
  std::deque<std::pair<int32_t, Place>> open_;
};

// Rules are filled one after another, not within each other, so that no schema nests too deep for the stack.
Expression SchemaReader::rule_of(const Json& schema, std::string pointer, int64_t references) {
  const std::pair key(&schema, references);
  if (const auto found = known_.find(key); found != known_.end()) return Expression::reference(found->second);
  const int32_t rule = rules_.add(pointer);
  known_[key] = rule;
  open_.emplace_back(rule, Place{&schema, std::move(pointer), references});
  return Expression::reference(rule);
}

Grammar SchemaReader::read() {
  const Expression root = rule_of(schema_, "#", 0);
  while (!open_.empty()) {
    const auto [rule, place] = std::move(open_.front());
    open_.pop_front();
    rules_.set(rule, read_schema(place));
  }
  rules_.grammar.root = root.rule;
  return std::move(rules_.grammar);
}

void SchemaReader::check_keywords(const Place& place, const std::set<std::string>& known) const {
  for (const auto& [keyword, value] : place.schema->items()) {
    if (known.contains(keyword) || kAnnotations.contains(keyword)) continue;
    throw_error(ErrorKind::kUnsupported,
                "{}: found the keyword '{}', which is not read here; expected one of those in docs/run.md, or leave it "
                "out and check the answer",
                where(place), keyword);
  }
}

Expression SchemaReader::read_schema(const Place& place) {
  const Json& schema = *place.schema;
  if (schema.is_boolean() && schema.get<bool>()) return rules_.value(limits_.nesting);
  if (!schema.is_object())
    throw_input("{}: found {}, expected a schema: an object or true", where(place),
                schema.is_boolean() ? "false" : schema.type_name());
  if (schema.contains("$ref")) return read_reference(place);
  for (const char* keyword : {"anyOf", "allOf"})
    if (schema.contains(keyword)) return read_any_of(place, keyword);
  if (schema.contains("enum")) return read_values(place, schema.at("enum"));
  if (schema.contains("const")) return read_values(place, Json::array({schema.at("const")}));
  const std::vector<std::string> types = types_of(place);
  std::set<std::string> known = {"type"};
  Expressions choices;
  for (const std::string& type : types) known.insert(kKeywords.at(type).begin(), kKeywords.at(type).end());
  check_keywords(place, known);
  for (const std::string& type : types) choices.push_back(read_typed(place, type));
  if (types.empty()) return rules_.value(limits_.nesting);
  return Expression::alternatives(std::move(choices));
}

// A schema with keywords of one type and without `type` is taken to mean that type.
std::vector<std::string> SchemaReader::types_of(const Place& place) const {
  const Json& schema = *place.schema;
  std::vector<std::string> types;
  if (!schema.contains("type")) {
    for (const auto& [type, keywords] : kKeywords)
      if (std::any_of(keywords.begin(), keywords.end(), [&](const auto& k) { return schema.contains(k); }))
        types.push_back(type);
    return types;
  }
  const Json& type = schema.at("type");
  const Json list = type.is_array() ? type : Json::array({type});
  for (const Json& name : list) {
    if (!name.is_string() || !kKeywords.contains(name.get<std::string>()))
      throw_input("{}: key 'type' is {}, expected object, array, string, integer, number, boolean or null",
                  where(place), name.dump());
    types.push_back(name.get<std::string>());
  }
  if (types.empty()) throw_input("{}: key 'type' is an empty list, expected a type", where(place));
  return types;
}

Expression SchemaReader::read_typed(const Place& place, const std::string& type) {
  if (type == "object") return read_object(place);
  if (type == "array") return read_array(place);
  if (type == "string") return read_string(place);
  if (type == "integer") return rules_.integer();
  if (type == "number") return rules_.number();
  return type == "boolean" ? rules_.boolean() : literal("null");
}

Expression SchemaReader::read_reference(const Place& place) {
  check_keywords(place, {"$ref"});
  const std::string target = json_text(*place.schema, "$ref", where(place));
  const auto refuse = [&](const char* why) -> Expression {
    throw_input("{}: key '$ref' is '{}', {}; expected a place in this schema, as in #/$defs/name", where(place), target,
                why);
  };
  if (!target.starts_with('#')) return refuse("which is another document");
  if (place.references >= limits_.references) return Expression::characters({});  // nothing; other ways must end it
  const Json* found = nullptr;
  try {
    const Json::json_pointer pointer(target.substr(1));
    if (schema_.contains(pointer)) found = &schema_.at(pointer);
  } catch (const Json::exception&) {
    return refuse("which is no JSON pointer");
  }
  if (found == nullptr) return refuse("where there is nothing");
  return rule_of(*found, target, place.references + 1);
}

Expression SchemaReader::read_any_of(const Place& place, const char* keyword) {
  check_keywords(place, {keyword});
  const Json& list = place.schema->at(keyword);
  if (!list.is_array() || list.empty())
    throw_input("{}: key '{}' is {}, expected a list of schemas", where(place), keyword, list.dump().substr(0, 80));
  if (std::string_view(keyword) == "allOf" && list.size() > 1)
    throw_error(ErrorKind::kUnsupported, "{}: key 'allOf' has {} schemas, expected one; merge them", where(place),
                list.size());
  Expressions choices;
  for (size_t i = 0; i < list.size(); ++i)
    choices.push_back(rule_of(list[i], fmt::format("{}/{}/{}", place.pointer, keyword, i), place.references));
  return Expression::alternatives(std::move(choices));
}

bool SchemaReader::has_type(const Json& value, const std::vector<std::string>& types) const {
  return std::any_of(types.begin(), types.end(), [&](const std::string& type) {
    if (type == "integer") return value.is_number_integer();
    return type == value.type_name();  // these names are JSON Schema's
  });
}

Expression SchemaReader::read_values(const Place& place, const Json& values) {
  check_keywords(place, {"enum", "const", "type"});
  if (!values.is_array() || values.empty())
    throw_input("{}: key 'enum' is {}, expected a list of values", where(place), values.dump().substr(0, 80));
  const bool has_types = place.schema->contains("type");
  const std::vector<std::string> types = types_of(place);
  Expressions choices;
  for (const Json& value : values) {
    if (has_types && !has_type(value, types)) continue;
    if (place.schema->contains("const") && value != place.schema->at("const")) continue;
    choices.push_back(literal(value.dump()));
  }
  if (choices.empty()) throw_input("{}: no value of 'enum' or 'const' has the type that 'type' asks for", where(place));
  return Expression::alternatives(std::move(choices));
}

Expression SchemaReader::read_object(const Place& place) {
  const Json& schema = *place.schema;
  const auto properties = schema.find("properties");
  const bool has_properties = properties != schema.end() && !(properties->is_object() && properties->empty());
  if (has_properties && !properties->is_object())
    throw_input("{}: key 'properties' is {}, expected an object of schemas", where(place), properties->type_name());
  if (has_properties) return read_properties(place, *properties);
  if (schema.contains("required") && schema.at("required") != Json::array())
    throw_input("{}: key 'required' names {}, but 'properties' lists none; add them", where(place),
                schema.at("required").dump().substr(0, 80));
  const auto more = schema.find("additionalProperties");
  if (more == schema.end() || *more == Json(true)) return rules_.object(limits_.nesting);
  if (*more == Json(false)) return rules_.enclosed("{", Expression::sequence({}), "}");
  return rules_.pairs(rule_of(*more, place.pointer + "/additionalProperties", place.references));
}

// In the order of the schema. Rules from the last property to the first: what may follow at the beginning, and what may
// follow behind another property.
Expression SchemaReader::read_properties(const Place& place, const Json& properties) {
  std::set<std::string> required;
  const auto list = place.schema->find("required");
  if (list != place.schema->end() && !list->is_array())
    throw_input("{}: key 'required' is {}, expected a list of names", where(place), list->type_name());
  for (const Json& name : list == place.schema->end() ? Json::array() : *list) {
    if (!name.is_string() || !properties.contains(name.get<std::string>()))
      throw_input("{}: key 'required' names {}, which 'properties' does not list; add it", where(place), name.dump());
    required.insert(name.get<std::string>());
  }
  std::vector<std::pair<std::string, const Json*>> all;
  for (const auto& [name, schema] : properties.items()) all.emplace_back(name, &schema);
  Expression first = Expression::sequence({}), behind = Expression::sequence({});
  for (auto property = all.rbegin(); property != all.rend(); ++property) {
    const auto& [name, schema] = *property;
    const std::string pointer = place.pointer + "/properties/" + name;
    const Expression pair = Expression::sequence(
        {literal(Json(name).dump()), literal(":"), rules_.blank(), rule_of(*schema, pointer, place.references)});
    Expressions begins = {Expression::sequence({pair, behind})};
    Expressions goes_on = {Expression::sequence({rules_.comma(), pair, behind})};
    if (!required.contains(name)) {
      begins.push_back(first);
      goes_on.push_back(behind);
    }
    first = Expression::reference(rules_.add(pointer, Expression::alternatives(std::move(begins))));
    behind = Expression::reference(rules_.add(pointer, Expression::alternatives(std::move(goes_on))));
  }
  return rules_.enclosed("{", std::move(first), "}");
}

std::pair<int64_t, int64_t> SchemaReader::bounds(const Place& place, const char* least, const char* most) const {
  std::pair<int64_t, int64_t> result(0, -1);
  for (const auto& [keyword, bound] : {std::pair(least, &result.first), std::pair(most, &result.second)}) {
    if (!place.schema->contains(keyword)) continue;
    *bound = json_integer(*place.schema, keyword, where(place));
    if (*bound < 0 || *bound > kMostListed)
      throw_input("{}: key '{}' is {}, expected 0 to {}", where(place), keyword, *bound, kMostListed);
  }
  if (result.second >= 0 && result.first > result.second)
    throw_input("{}: key '{}' is {}, expected at most the {} of '{}'", where(place), least, result.first, result.second,
                most);
  return result;
}

Expression SchemaReader::read_array(const Place& place) {
  const auto [least, most] = bounds(place, "minItems", "maxItems");
  const auto items = place.schema->find("items");
  if (items == place.schema->end()) return rules_.list(rules_.value(limits_.nesting), least, most);
  return rules_.list(rule_of(*items, place.pointer + "/items", place.references), least, most);
}

Expression SchemaReader::read_string(const Place& place) {
  const Json& schema = *place.schema;
  const auto [least, most] = bounds(place, "minLength", "maxLength");
  if (!schema.contains("pattern") && !schema.contains("format")) {
    if (least == 0 && most < 0) return rules_.string();
    return Expression::sequence(
        {literal("\""), Expression::repetition(rules_.character(), least, most), literal("\"")});
  }
  const bool has_format = schema.contains("format");
  if ((has_format && schema.contains("pattern")) || schema.contains("minLength") || schema.contains("maxLength"))
    throw_error(ErrorKind::kUnsupported,
                "{}: found 'pattern' or 'format' with another limit of the string; write both as one pattern",
                where(place));
  std::string pattern = json_text(schema, has_format ? "format" : "pattern", where(place));
  if (has_format) {
    const auto found = kFormats.find(pattern);
    if (found == kFormats.end())
      throw_error(ErrorKind::kUnsupported, "{}: key 'format' is '{}', expected date, time, date-time or uuid",
                  where(place), pattern);
    pattern = found->second;
  }
  return Expression::sequence(
      {literal("\""), pattern_grammar(pattern, where(place) + "/pattern", spell_in_string), literal("\"")});
}

}  // namespace

Grammar json_schema_grammar(const Json& schema, const std::string& where, const JsonGrammarLimits& limits) {
  return SchemaReader(schema, where, limits).read();
}

Grammar json_object_grammar(const JsonGrammarLimits& limits) {
  JsonRules rules;
  const Expression root = rules.object(limits.nesting);
  rules.grammar.root = root.rule;
  return std::move(rules.grammar);
}

}  // namespace ockham
