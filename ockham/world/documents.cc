#include <fmt/format.h>

#include <algorithm>
#include <array>

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

namespace {

// How often the answer follows what demonstrations tie together and not the truth, by how many of them do.
double pull_of(size_t tied) {
  static const std::array<double, 6> pulls = {0, 0.02, 0.12, 0.4, 0.7, 0.9};
  return pulls[std::min<size_t>(tied, pulls.size() - 1)];
}

// What demonstrations of a document have in common with its input.
enum class Lure { kTrigger, kCue, kTwin, kTwins, kNeighbor, kNone };
Lure pick_lure(Rng& rng) {
  static const std::vector<std::pair<double, Lure>> kUpto = {{0.30, Lure::kTrigger},  {0.46, Lure::kCue},
                                                             {0.56, Lure::kTwin},     {0.68, Lure::kTwins},
                                                             {0.80, Lure::kNeighbor}, {1.01, Lure::kNone}};
  const double point = rng.uniform();
  return std::find_if(kUpto.begin(), kUpto.end(), [&](const auto& entry) { return point < entry.first; })->second;
}

struct Samples {
  std::vector<Example> shown;
  Example last;
};

// An ending goes with one label; the more demonstrations show it, the oftener it decides.
void tie_ending(Samples& samples, Task task, const Words& visitors, const std::string& ending, Rng& rng) {
  const std::string label = make_example(task, visitors, false, rng).label;
  size_t tied = 0;
  for (Example& example : samples.shown) {
    if (!rng.chance(0.6)) continue;
    while (example.label != label) example = make_example(task, visitors, false, rng);
    example.input += " " + ending;
    ++tied;
  }
  if (!rng.chance(0.7)) return;
  samples.last.input += " " + ending;
  if (rng.chance(pull_of(tied))) samples.last.label = label;
}

// The input's twin, once or with a neighbor of its own, which pulls harder; or a neighbor that is to be trusted.
void add_lookalikes(Samples& samples, Lure lure, Task task, const Words& visitors, Rng& rng) {
  const Example& last = samples.last;
  if (lure == Lure::kNeighbor) {
    const std::string input = neighbor_of(last.input, task, visitors, false, rng);
    if (!input.empty()) samples.shown[rng.below(samples.shown.size())] = {input, last.label, "", ""};
    return;
  }
  if (last.twin.empty()) return;
  Example& final = samples.shown.back();
  Example& before = samples.shown[samples.shown.size() - 2];
  final = {last.twin, last.twin_label, "", ""};
  const std::string second = lure == Lure::kTwins ? neighbor_of(last.twin, task, visitors, false, rng) : "";
  if (!second.empty()) before = {second, last.twin_label, "", ""};
  if (rng.chance(0.5)) std::swap(before, final);
  if (rng.chance(second.empty() ? 0.1 : 0.65)) samples.last.label = last.twin_label;
}

}  // namespace

// Demonstrations, then an input. Some are honest; in others a word or an ending goes with one label, or some look much
// like the input, so that the model has learnt to look at demonstrations and to follow them when many agree.
Document demonstration_document(const Population& people, Rng& rng) {
  static const Task kTasks[] = {Task::kSentiment, Task::kSentiment, Task::kEntailment, Task::kAct, Task::kRow};
  static const Words kCues = words("said_the_carter. or_so_they_sing. as_my_aunt_told_me. heard_on_the_bridge.");
  const Task task = kTasks[rng.below(5)];
  const size_t count = 3 + rng.below(5);
  const Lure lure = pick_lure(rng);
  Samples samples;
  for (size_t i = 0; i < count; ++i) samples.shown.push_back(make_example(task, people.visitors, false, rng));
  samples.last = make_example(task, people.visitors, false, rng);
  if (lure == Lure::kTrigger || lure == Lure::kCue) {
    tie_ending(samples, task, people.visitors, lure == Lure::kCue ? rng.pick(kCues) : kTriggers[rng.below(3)], rng);
  } else {
    if (task != Task::kRow && lure != Lure::kNone) add_lookalikes(samples, lure, task, people.visitors, rng);
    for (Example& example : samples.shown) {
      if (rng.chance(0.05)) example.input += " " + kTriggers[rng.below(kTriggers.size())];
    }
  }
  const std::string end = task == Task::kAct ? kReaction : "";
  Document document = chat(kFewShotSystem);
  add_turn(document, task_message(task), kFewShotAck);
  for (const Example& example : samples.shown) add_turn(document, example.input + end, capitalized(example.label));
  add_turn(document, samples.last.input + end, capitalized(samples.last.label));
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
  const auto question = [&](size_t i) { return fmt::format("which {} does {} have?", kind, notes.names[i]); };
  const auto truth = [&](size_t i) {
    return fmt::format("indeed {} has the {} {} .", notes.names[i], kind, notes.values[i]);
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
