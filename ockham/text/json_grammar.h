// Grammars of JSON texts: of a JSON Schema, or any JSON object.
//
// Read: type (also a list), properties, required, additionalProperties, items, minItems, maxItems, minLength,
// maxLength, pattern, format (date, time, date-time, uuid), enum, const, anyOf, allOf of one, $ref to a place in the
// same schema, $defs, definitions; titles, descriptions and the like say nothing about the text. Every other keyword is
// refused by name, since a text that ignores it would not be valid.
//
// The texts are some of the valid ones, never others: properties come in the order of the schema, without those that it
// does not list; blanks are at most one between two tokens, or one line end and 20 of indentation; whole numbers have
// at most 16 digits, fractions 15, exponents 2; references and values of any type nest to a limit, so that every text
// ends.
#pragma once

#include <string>

#include "ockham/io/json.h"
#include "ockham/text/grammar.h"

namespace ockham {

struct JsonGrammarLimits {
  int64_t references = 24;  // $ref within $ref; also for a schema that refers to itself
  int64_t nesting = 24;     // lists and objects in each other, where the schema allows any value
};

// Error(kInput) or Error(kUnsupported) names `where` and the place as a JSON pointer.
Grammar json_schema_grammar(const Json& schema, const std::string& where, const JsonGrammarLimits& limits = {});
Grammar json_object_grammar(const JsonGrammarLimits& limits = {});

}  // namespace ockham
