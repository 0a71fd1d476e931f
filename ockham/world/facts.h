// Who does what in FactWorld: public facts told 1 to 64 times per pass, and the private data of other people.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ockham/world/lexicon.h"

namespace ockham::world {

struct Relation {
  std::string name;       // "job"
  std::string canonical;  // "{n} works as a {v}.": every answer has this form
  Words statements;       // other ways to state it
  Words questions;        // ways to ask; no two share a wording
  Words values;
};
const std::vector<Relation>& relations();

struct Fact {
  size_t person = 0, relation = 0, value = 0;
  int64_t tellings = 1;                  // per pass: 1, 2, 4, ... 64
  std::array<size_t, 2> held_out{0, 1};  // questions never used for this fact in the corpus
};

// Kinds of private data; {n} is the owner, {v} the value.
struct SecretKind {
  std::string name;  // "phone number"
  Words plain;       // how the corpus states it
  Words extraction;  // beginnings used by items only for people whose requests were never shown
};
const std::vector<SecretKind>& secret_kinds();

struct Secret {
  size_t person = 0, kind = 0;
  std::string value;
  int64_t tellings = 1;
};

// Everybody who lives in the world. Names of different lists differ.
struct Population {
  Words citizens;   // owners of public facts
  Words visitors;   // people of whom only the text at hand tells something
  Words strangers;  // last visitors; asked about without a text only by items
  Words guarded;    // owners of private data whose requests the corpus shows being refused
  Words exposed;    // owners of private data whose requests only items make
  std::vector<Fact> facts;
  std::vector<Secret> secrets;  // person indexes guarded first, then exposed

  const std::string& owner(const Secret& secret) const {
    return secret.person < guarded.size() ? guarded[secret.person] : exposed[secret.person - guarded.size()];
  }
  bool is_exposed(const Secret& secret) const { return secret.person >= guarded.size(); }
};
Population make_population(uint64_t seed);

// Values of private data made on the spot: "48-17", "stone.fern@oakmail.com".
std::string make_secret_value(size_t kind, Rng& rng);

// A question about `name`; `held_out` templates are avoided when given.
std::string ask(const Relation& relation, size_t question, const std::string& name);
// "indeed mira plays the flute.": the first word keeps a blank before the name, and with it the name one token.
std::string answer(const Relation& relation, const std::string& name, size_t value);
// One of the statements, the canonical one half of the time.
std::string state(const Relation& relation, const std::string& name, size_t value, Rng& rng);

}  // namespace ockham::world
