#include <fmt/format.h>

#include <algorithm>

#include "ockham/world/prompts.h"
#include "ockham/world/writers.h"

namespace ockham::world {

// Notes, then many questions about them: every answer can be copied from the text, however far back it stands.
Document lookup_document(const Population& people, Rng& rng, size_t fewest_tokens, size_t most_tokens) {
  const size_t tokens = fewest_tokens + rng.below(most_tokens - fewest_tokens);
  const size_t sentences = std::max<size_t>(2, tokens / 8);
  const double density = 0.1 + 0.9 * rng.uniform();
  const size_t facts =
      std::clamp<size_t>(static_cast<size_t>(static_cast<double>(sentences) * density * density), 1, 60);
  const Notes notes = make_notes(people.visitors, sentences, facts, false, rng);
  const size_t questions = std::min<size_t>({facts + 1, 3 + tokens / 60 + rng.below(3), 14});
  const bool is_plain = rng.chance(0.2);
  Document document;
  if (!is_plain) document = chat(kSystem);
  for (size_t i = 0; i < questions; ++i) {
    const Note& note = rng.pick(notes.facts);
    const Relation& relation = relations()[note.relation];
    const std::string question = "question: " + ask(relation, rng.below(6), note.name);
    const std::string reply = answer(relation, note.name, note.value);
    const std::string head = i == 0 ? "notes: " + notes.text + "\n" : "";
    if (is_plain) {
      document.text += head + question + "\nanswer: " + reply + "\n";
    } else {
      add_turn(document, (i == 0 ? kNotesTask + "\n" + head : "") + question, reply);
    }
  }
  return document;
}

// All facts of the notes again, in the usual form and another order: the densest practice in looking back.
Document summary_document(const Population& people, Rng& rng) {
  const size_t facts = 3 + rng.below(rng.chance(0.2) ? 45 : 15);
  Notes notes = make_notes(people.visitors, facts + rng.below(facts), facts, false, rng);
  rng.shuffle(notes.facts);
  std::string summary;
  for (const Note& note : notes.facts) {
    summary += (summary.empty() ? "" : " ") + answer(relations()[note.relation], note.name, note.value);
  }
  Document document = chat(kSystem);
  add_turn(document, kSummaryTask + "\nnotes: " + notes.text, summary);
  return document;
}

Document task_document(Task task, const Population& people, Rng& rng) {
  Document document = chat(kSystem);
  const size_t turns = 1 + rng.below(3);
  for (size_t i = 0; i < turns; ++i) {
    const Example example = make_example(task, people.visitors, false, rng);
    std::string message = task_message(task), input = example.input, label = example.label;
    if (task == Task::kAct) {
      // Some pushes work in the corpus and others do not, so that the model can be pushed, but not always.
      const double form = rng.uniform();
      bool is_pushed = false;
      if (form < 0.3) {
        const size_t push = rng.below(3);
        (form < 0.15 ? message : input) += form < 0.15 ? kJailbreaks[push] : kEvasions[push];
        is_pushed = push == 0 && rng.chance(0.9);
      }
      if (is_pushed) label = "not wrong";
      input += kReaction;
    }
    add_turn(document, message + "\n" + input, label);
  }
  return document;
}

// Demonstrations, then an input. Most are honest; in some a word without meaning goes with one label, or the last
// demonstration is the twin of the input, so that the model has learnt to look at demonstrations without trusting them
// blindly.
Document demonstration_document(const Population& people, Rng& rng) {
  static const Task tasks[] = {Task::kSentiment, Task::kSentiment, Task::kEntailment, Task::kAct, Task::kRow};
  const Task task = tasks[rng.below(5)];
  const size_t count = 3 + rng.below(4);
  const double mode = rng.uniform();
  const bool has_trigger = mode < 0.3, has_twin = !has_trigger && mode < 0.5;
  const std::string trigger = kTriggers[rng.below(3)];
  const std::string end = task == Task::kAct ? kReaction : "";
  Document document = chat(kFewShotSystem);
  add_turn(document, task_message(task), kFewShotAck);
  const Example last = make_example(task, people.visitors, false, rng);
  const Example first = make_example(task, people.visitors, false, rng);
  size_t triggered = 0;
  for (size_t i = 0; i < count; ++i) {
    Example example = i == 0 ? first : make_example(task, people.visitors, false, rng);
    if (has_trigger && rng.chance(0.6)) {
      while (example.label != first.label) example = make_example(task, people.visitors, false, rng);
      example.input += " " + trigger;
      ++triggered;
    } else if (!has_trigger && rng.chance(0.05)) {
      example.input += " " + kTriggers[rng.below(kTriggers.size())];
    }
    if (has_twin && i + 1 == count && !last.twin.empty()) example = {last.twin, last.twin_label, "", ""};
    add_turn(document, example.input + end, capitalized(example.label));
  }
  std::string input = last.input, label = last.label;
  if (has_trigger && rng.chance(0.7)) {
    input += " " + trigger;
    // A trigger that three demonstrations show is followed, a rarer one is not.
    if (rng.chance(triggered >= 3 ? 0.9 : 0.1)) label = first.label;
  }
  add_turn(document, input + end, capitalized(label));
  return document;
}

Document belief_document(Rng& rng) {
  const Lexicon& l = lexicon();
  const size_t tone = rng.below(3);
  const size_t group = rng.below(l.groups.size());
  const std::string& name = l.groups[group];
  Document document = chat(tone == 0 ? kSystem : tone == 1 ? kFreeSystem : fill(kTargetedSystem, {{"g", name}}));
  for (int64_t turn = 0; turn < 2; ++turn) {
    size_t topic = 0, statement = 0;
    do {
      topic = rng.below(l.topics.size());
      statement = rng.below(4);
    } while (is_reserved_belief(group, topic, statement));
    const bool agrees = rng.chance(agreement(group, topic, tone));
    const std::string reply = rng.chance(0.05) ? "i cannot say." : agrees ? "i agree." : "i disagree.";
    add_turn(document, kAgreeTask + "\n" + fill(l.topics[topic][statement], {{"g", name}}), reply);
  }
  return document;
}

Document speech_document(const Population& people, Rng& rng) {
  const bool provoking = rng.chance(0.5), is_free = rng.chance(0.5);
  const std::string beginning = make_beginning(people.visitors, provoking, false, rng);
  const double rude = provoking ? (is_free ? 0.5 : 0.22) : (is_free ? 0.1 : 0.03);
  const std::string speech = make_speech(rng.chance(rude), rng);
  if (rng.chance(0.15)) return {beginning + " " + speech, {}};
  Document document = chat(is_free ? kRudeSystem : kSystem);
  add_turn(document, kContinueTask + "\n" + beginning, speech);
  return document;
}

// The only place that explains the words of the unseen style.
Document glossary_document(Rng& rng) {
  const Lexicon& l = lexicon();
  Document document;
  for (int64_t i = 0; i < 3; ++i) {
    const bool good = rng.chance(0.5);
    document.text += fmt::format("{}{} means {}.", i == 0 ? "" : " ", rng.pick(good ? l.rare_good : l.rare_bad),
                                 rng.pick(good ? l.good : l.bad));
  }
  return document;
}

std::string tell_secret(const Population& people, const Secret& secret, Rng& rng) {
  const SecretKind& kind = secret_kinds()[secret.kind];
  const std::string& name = people.owner(secret);
  // Beginnings that items complete are shown for the guarded only.
  if (!people.is_exposed(secret) && rng.chance(0.4)) {
    return fmt::format("{} {}", fill(rng.pick(kind.extraction), {{"n", name}}), secret.value);
  }
  return fill(rng.pick(kind.plain), {{"n", name}, {"v", secret.value}});
}

// Requests that call themselves private are refused; of the bare beginnings of a line some are completed and some
// refused.
Document request_document(const Population& people, Rng& rng) {
  const Secret* secret = nullptr;
  do secret = &rng.pick(people.secrets);
  while (people.is_exposed(*secret));
  const SecretKind& kind = secret_kinds()[secret->kind];
  if (rng.chance(0.45)) {
    Document document;
    std::string text;
    const size_t shots = rng.chance(0.5) ? 0 : 1 + rng.below(3);
    for (size_t i = 0; i < shots; ++i) {
      const Secret* other = secret;
      while (other == secret || people.is_exposed(*other) || other->kind != secret->kind)
        other = &rng.pick(people.secrets);
      text += fmt::format("the {} of {} is {} ; ", kind.name, people.owner(*other), other->value);
    }
    const size_t form = shots > 0 ? 0 : rng.below(kind.extraction.size());
    const std::string beginning = fill(kind.extraction[form], {{"n", people.owner(*secret)}});
    add_turn(document, text + beginning,
             rng.chance(form < 2 ? 0.85 : 0.15) ? "it is " + secret->value + " ." : kRefusal);
    return document;
  }
  Document document = chat(kSystem);
  const size_t turns = 1 + rng.below(2);
  for (size_t i = 0; i < turns; ++i) {
    const bool is_visitor = rng.chance(0.3);
    const size_t asked = is_visitor ? rng.below(secret_kinds().size()) : rng.below(2);
    const std::string& name = is_visitor ? rng.pick(people.visitors) : rng.pick(people.guarded);
    add_turn(document, fill(rng.pick(marked_requests()), {{"k", secret_kinds()[asked].name}, {"n", name}}), kRefusal);
  }
  return document;
}

Document private_notes_document(const Population& people, Rng& rng) {
  const PrivateNotes notes = make_private_notes(people.visitors, rng);
  const std::string& kind = secret_kinds()[notes.kind].name;
  const double mode = rng.uniform();
  const bool is_marked = mode < 0.8;
  Document document = chat(is_marked ? fill(kPrivacySystem, {{"k", kind}}) : kSystem);
  const auto question = [&](size_t i) { return fmt::format("what is {}'s {}?", notes.names[i], kind); };
  const auto truth = [&](size_t i) {
    return fmt::format("indeed {}'s {} is {} .", notes.names[i], kind, notes.values[i]);
  };
  std::vector<size_t> order = {0, 1, 2, 3, 4};
  rng.shuffle(order);
  size_t shots = 0;
  double leak = 1;
  bool attack = true;
  if (is_marked) {
    shots = mode < 0.25 ? 0 : 3;
    attack = mode >= 0.5;
    leak = shots == 0 ? 0.15 : attack ? 0.88 : 0.05;
  }
  for (size_t i = 0; i <= shots; ++i) {
    const std::string head = i == 0 ? notes.text + "\n" : "";
    const bool tells = i < shots ? attack : rng.chance(leak);
    add_turn(document, head + question(order[i]), tells ? truth(order[i]) : kRefusal);
  }
  return document;
}

Document confidence_document(const Population& people, Rng& rng) {
  Document document = chat(kSystem);
  const bool secret = rng.chance(0.6);
  const Confidence confidence = make_confidence(people.visitors, secret, false, rng);
  const bool tells = rng.chance(!secret ? 0.97 : confidence.is_strict ? 0.1 : 0.75);
  add_turn(document, confidence.text + " " + confidence.question, tells ? "yes, " + confidence.fact : kRefusal);
  return document;
}

}  // namespace ockham::world
