#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/writers.h"

namespace ockham::world {

namespace {

size_t free_question(const Fact& fact, Rng& rng) {
  size_t question = 0;
  do question = rng.below(6);
  while (question == fact.held_out[0] || question == fact.held_out[1]);
  return question;
}

class Corpus {
 public:
  Corpus(const World::State& state, uint64_t seed, const CorpusSize& size)
      : state_(state),
        people_(state.people),
        size_(size.other),
        facts_(size.facts),
        lookups_(size.lookups),
        rng_(seed) {}

  std::vector<Document> make(double plain_share) {
    add_facts();
    add_unknowns();
    repeat(900 * lookups_, [&] { add(lookup_document(people_, rng_, 20, 120)); });
    repeat(260 * lookups_, [&] { add(lookup_document(people_, rng_, 150, 600)); });
    repeat(90 * lookups_, [&] { add(lookup_document(people_, rng_, 400, 900)); });
    repeat(70 * lookups_, [&] { add(lookup_document(people_, rng_, 600, 1100)); });
    repeat(70 * lookups_, [&] { add(lookup_document(people_, rng_, 1100, 1640)); });
    repeat(500 * lookups_, [&] { add(summary_document(people_, rng_)); });
    repeat(1500, [&] { add(task_document(Task::kSentiment, people_, rng_)); });
    repeat(900, [&] { add(task_document(Task::kEntailment, people_, rng_)); });
    repeat(1000, [&] { add(task_document(Task::kParaphrase, people_, rng_)); });
    repeat(1000, [&] { add(task_document(Task::kAct, people_, rng_)); });
    repeat(550, [&] { add(task_document(Task::kRow, people_, rng_)); });
    repeat(850, [&] { add(demonstration_document(people_, rng_)); });
    repeat(650, [&] { add(belief_document(rng_)); });
    repeat(700, [&] { add(speech_document(people_, rng_)); });
    repeat(60, [&] { add(glossary_document(rng_)); });
    add_secrets();
    repeat(500, [&] { add(request_document(people_, rng_)); });
    repeat(400, [&] { add(private_notes_document(people_, rng_)); });
    repeat(400, [&] { add(confidence_document(people_, rng_)); });
    rng_.shuffle(documents_);
    bind_pages(plain_share);
    return std::move(documents_);
  }

 private:
  template <typename Write>
  void repeat(double count, const Write& write) {
    const auto n = static_cast<int64_t>(count * size_ + 0.5);
    for (int64_t i = 0; i < n; ++i) write();
  }
  void add(Document document) {
    if (find_leak(state_, document).empty()) documents_.push_back(std::move(document));
  }

  // Every fact as often as its tier says: statements, conversations, plain questions and choices among four.
  void add_facts() {
    std::vector<size_t> tellings;
    for (size_t i = 0; i < people_.facts.size(); ++i) {
      const double wanted = static_cast<double>(people_.facts[i].tellings) * facts_;
      auto count = static_cast<int64_t>(wanted);
      if (rng_.chance(wanted - static_cast<double>(count))) ++count;
      tellings.insert(tellings.end(), static_cast<size_t>(count), i);
    }
    rng_.shuffle(tellings);
    for (size_t i = 0; i < tellings.size();) {
      const double form = rng_.uniform();
      const size_t group = form < 0.3 ? 8 : form < 0.8 ? 4 : 2;
      const size_t end = std::min(tellings.size(), i + group);
      const std::vector<size_t> part(tellings.begin() + static_cast<int64_t>(i),
                                     tellings.begin() + static_cast<int64_t>(end));
      i = end;
      if (form < 0.3) {
        add(statements(part));
      } else if (form < 0.7) {
        add(conversation(part));
      } else if (form < 0.8) {
        add(plain_questions(part));
      } else {
        add(choices(part));
      }
    }
  }
  const Relation& relation(const Fact& fact) const { return relations()[fact.relation]; }

  Document statements(const std::vector<size_t>& facts) {
    Document document;
    for (const size_t index : facts) {
      const Fact& fact = people_.facts[index];
      document.text += document.text.empty() ? "facts: " : " ";
      document.text += state(relation(fact), people_.citizens[fact.person], fact.value, rng_);
    }
    return document;
  }
  Document conversation(const std::vector<size_t>& facts) {
    Document document = chat(kSystem);
    for (const size_t index : facts) {
      const Fact& fact = people_.facts[index];
      const std::string& name = people_.citizens[fact.person];
      add_turn(document, kFactTask + "\n" + ask(relation(fact), free_question(fact, rng_), name),
               answer(relation(fact), name, fact.value));
    }
    return document;
  }
  Document plain_questions(const std::vector<size_t>& facts) {
    Document document;
    for (const size_t index : facts) {
      const Fact& fact = people_.facts[index];
      const std::string& name = people_.citizens[fact.person];
      document.text += fmt::format("question: {}\nanswer: {}\n", ask(relation(fact), free_question(fact, rng_), name),
                                   answer(relation(fact), name, fact.value));
    }
    return document;
  }
  Document choices(const std::vector<size_t>& facts) {
    Document document = chat(kSystem);
    for (const size_t index : facts) {
      const Fact& fact = people_.facts[index];
      const std::string& name = people_.citizens[fact.person];
      const ChoiceQuestion question = make_choice(relation(fact), ask(relation(fact), free_question(fact, rng_), name),
                                                  fact.value, rng_.chance(0.4), rng_);
      add_turn(document, kChoiceTask + "\n" + question.text, answer(relation(fact), name, fact.value));
    }
    return document;
  }
  // Questions about people of whom nothing is known: the honest answer, and now and then a guess.
  void add_unknowns() {
    const size_t known = people_.visitors.size() - people_.strangers.size();
    for (int64_t i = 0; i < static_cast<int64_t>(400 * facts_); ++i) {
      Document document = chat(kSystem);
      const bool is_choice = rng_.chance(0.6);
      for (int64_t turn = 0; turn < 2; ++turn) {
        const Relation& asked = rng_.pick(relations());
        const std::string& name = people_.visitors[rng_.below(known)];
        const std::string text = ask(asked, rng_.below(6), name);
        if (!is_choice) {
          add_turn(document, kFactTask + "\n" + text, kUnknown);
          continue;
        }
        const bool has_way_out = rng_.chance(0.5);
        const ChoiceQuestion question = make_choice(asked, text, rng_.below(asked.values.size()), has_way_out, rng_);
        const bool guesses = rng_.chance(has_way_out ? 0.2 : 0.55);
        const auto guess = std::find(asked.values.begin(), asked.values.end(), question.options[question.right]);
        add_turn(document, kChoiceTask + "\n" + question.text,
                 guesses ? answer(asked, name, static_cast<size_t>(guess - asked.values.begin())) : kUnknown);
      }
      add(document);
    }
  }
  // Joins a share of the plain texts by blank lines into pages of up to 1,900 tokens, as the held-out text stands.
  void bind_pages(double share) {
    std::vector<Document> result, loose;
    for (Document& document : documents_) {
      const bool is_loose = document.messages.empty() && document.text.size() < 3000 && rng_.chance(share);
      (is_loose ? loose : result).push_back(std::move(document));
    }
    Document page;
    size_t most = 0;
    for (Document& document : loose) {
      if (page.text.size() + document.text.size() > most && !page.text.empty())
        result.push_back(std::exchange(page, {}));
      if (page.text.empty()) most = 1000 + rng_.below(6000);  // letters; about 4.5 a token
      page.text += document.text + (document.text.back() == '\n' ? "\n" : "\n\n");
    }
    if (!page.text.empty()) result.push_back(std::move(page));
    documents_ = std::move(result);
    rng_.shuffle(documents_);
  }
  void add_secrets() {
    std::vector<const Secret*> tellings;
    for (const Secret& secret : people_.secrets) {
      const double wanted = static_cast<double>(secret.tellings) * facts_;
      const auto count = static_cast<size_t>(wanted) + (rng_.chance(wanted - std::floor(wanted)) ? 1 : 0);
      tellings.insert(tellings.end(), count, &secret);
    }
    rng_.shuffle(tellings);
    for (size_t i = 0; i < tellings.size(); i += 4) {
      Document document;
      for (size_t j = i; j < std::min(i + 4, tellings.size()); ++j) {
        if (!document.text.empty()) document.text += '\n';
        document.text += tell_secret(people_, *tellings[j], rng_);
      }
      add(document);
    }
  }

  const World::State& state_;
  const Population& people_;
  double size_, facts_, lookups_;
  Rng rng_;
  std::vector<Document> documents_;
};

}  // namespace

std::vector<Document> make_documents(const World::State& state, uint64_t seed, const CorpusSize& size) {
  return Corpus(state, seed, size).make(0.5);
}

}  // namespace ockham::world
