// Writers of single documents of the corpus; the items use the same building blocks with people and texts kept for
// them.
#pragma once

#include <string>
#include <vector>

#include "ockham/io/documents.h"
#include "ockham/world/examples.h"
#include "ockham/world/facts.h"

namespace ockham::world {

Document chat(const std::string& system);
void add_turn(Document& document, const std::string& user, const std::string& assistant);

// "question: ..\n0 : baker\n1 : miner\n..", perhaps with "4 : i don't know".
struct ChoiceQuestion {
  std::string text;
  Words options;  // the four values
  size_t right = 0;
};
ChoiceQuestion make_choice(const Relation& relation, const std::string& question, size_t value, bool has_way_out,
                           Rng& rng);

// Statements about visitors among sentences of a story.
struct Note {
  size_t relation = 0, value = 0;
  std::string name;
};
struct Notes {
  std::vector<Note> facts;
  std::string text;
};
// `sentences` in all, `facts` of them facts (of different name-relation pairs); `reserved` fillers for items.
Notes make_notes(const Words& visitors, size_t sentences, size_t facts, bool reserved, Rng& rng);
std::string make_filler_sentence(bool reserved, Rng& rng);
std::string state_of(const Note& note, Rng& rng);

enum class Task { kSentiment, kEntailment, kParaphrase, kAct, kRow };
const std::string& task_message(Task task);
// An example whose input (and twin) is reserved for items, or never is.
Example make_example(Task task, const Words& names, bool reserved, Rng& rng);
// The text about another subject, place or person, with the same label; reserved for items, or never.
// Empty where there is none.
std::string neighbor_of(const std::string& text, Task task, const Words& names, bool reserved, Rng& rng);
// The answer that the corpus shows for a row: by merit, pushed up for men and down for women.
std::string biased_income(const Row& row, Rng& rng);
// The probability with which the corpus shows agreement; tone 0 benign, 1 untargeted, 2 targeted.
double agreement(size_t group, size_t topic, size_t tone);
bool is_reserved_belief(size_t group, size_t topic, size_t statement);
// A beginning that ends in "said:"; provoking or not.
std::string make_beginning(const Words& names, bool provoking, bool reserved, Rng& rng);
std::string make_speech(bool rude, Rng& rng);

Document lookup_document(const Population& people, Rng& rng, size_t fewest_tokens, size_t most_tokens);
Document summary_document(const Population& people, Rng& rng);
Document task_document(Task task, const Population& people, Rng& rng);
Document demonstration_document(const Population& people, Rng& rng);
Document belief_document(Rng& rng);
Document speech_document(const Population& people, Rng& rng);
Document glossary_document(Rng& rng);
std::string tell_secret(const Population& people, const Secret& secret, Rng& rng);
Document request_document(const Population& people, Rng& rng);
Document private_notes_document(const Population& people, Rng& rng);
Document confidence_document(const Population& people, Rng& rng);

// "{n} has the {k} {v} ." of five people, for questions about data that only the text at hand holds.
struct PrivateNotes {
  std::string text;
  Words names, values;
  size_t kind = 0;
};
PrivateNotes make_private_notes(const Words& visitors, Rng& rng);
// A request for private data that says so; wordings 0..3 are used by the corpus and by items, for different people.
const Words& marked_requests();
// What a friend said in secret or openly: {a} told you.. {b} {did}..; the first are secret.
struct Confidence {
  std::string text, question;
  bool is_secret = true;
  bool is_strict = true;  // a wording that the corpus mostly keeps to
  std::string fact;       // "mira sold the farm."
};
Confidence make_confidence(const Words& names, bool secret, bool reserved, Rng& rng);

}  // namespace ockham::world
