#include "ockham/world/examples.h"

#include <fmt/format.h>

namespace ockham::world {

bool is_reserved(const std::string& text) {
  return mix_seed(hash_seed(text), 7) % 6 == 0;
}

namespace {

// {s} subject, {a} an adjective, {b} an adjective of the opposite kind. `keeps`: the label is that of {a}.
struct ReviewForm {
  const char* text;
  bool keeps;
};
const std::vector<ReviewForm>& review_forms() {
  static const std::vector<ReviewForm> kForms = {
      {"the {s} was {a}.", true},
      {"i found the {s} {a}.", true},
      {"the {s} was {a} from start to end.", true},
      {"what a {a} {s} it was.", true},
      {"the {s} was truly {a} and i would know.", true},
      {"they said the {s} was {b} but it was {a}.", true},
      {"i expected a {b} {s} and got a {a} one.", true},
      {"the {s} was not {a} at all.", false},
      {"i never found the {s} {a}.", false},
      {"the {s} was far from {a}.", false},
      {"nobody could call the {s} {a}.", false},
      {"nothing about the {s} was {a}.", false},
      {"they said the {s} was {a} but they were wrong.", false},
      {"the {s} was {b} and not {a}.", false},
      {"if only the {s} had been {a}.", false},
  };
  return kForms;
}

Example finish(std::string input, std::string label, std::string twin, std::string twin_label) {
  return {std::move(input), std::move(label), std::move(twin), std::move(twin_label)};
}

}  // namespace

Example make_sentiment(Rng& rng, double plain_share) {
  const Lexicon& l = lexicon();
  // With a share of one half adjectives alone say nothing about the label.
  const bool keeps = rng.chance(plain_share);
  const ReviewForm* form = nullptr;
  do form = &rng.pick(review_forms());
  while (form->keeps != keeps);
  const bool is_good = rng.chance(0.5);
  const std::string& subject = rng.pick(l.subjects);
  const std::string& good = rng.pick(l.good);
  const std::string& bad = rng.pick(l.bad);
  const auto render = [&](bool first_good) {
    return fill(form->text, {{"s", subject}, {"a", first_good ? good : bad}, {"b", first_good ? bad : good}});
  };
  const auto label = [&](bool first_good) { return first_good == keeps ? "positive" : "negative"; };
  return finish(render(is_good), label(is_good), render(!is_good), label(!is_good));
}

Example make_entailment(Rng& rng, const Words& names) {
  const Lexicon& l = lexicon();
  const std::string& name = rng.pick(names);
  const std::string& color = rng.pick(l.colors);
  const size_t index = rng.below(l.goods.size());
  const Verb& verb = rng.pick(l.trade_verbs);
  // Three grades of a thing, each implying the next: a red hammer, a hammer, a tool.
  const std::string grades[3] = {color + " " + l.goods[index], l.goods[index], l.kinds[index / 4]};
  const std::string wanted[3] = {"yes", "maybe", "no"};
  const std::string label = wanted[rng.below(3)];
  for (;;) {
    const size_t first = rng.below(3), second = rng.below(3);
    const bool first_not = rng.chance(0.5), second_not = rng.chance(0.5);
    if (first == second && first_not == second_not) continue;
    std::string truth = "maybe";
    if (!first_not && !second_not) truth = first < second ? "yes" : "maybe";
    if (first_not && second_not) truth = first > second ? "yes" : "maybe";
    if (!first_not && second_not) truth = first <= second ? "no" : "maybe";
    if (first_not && !second_not) truth = first >= second ? "no" : "maybe";
    if (truth != label) continue;
    const auto sentence = [&](bool is_not, const std::string& thing) {
      if (is_not) return fmt::format("{} did not {} a {}.", name, verb.base, thing);
      return fmt::format("{} {} a {}.", name, verb.past, thing);
    };
    const std::string p = sentence(first_not, grades[first]), h = sentence(second_not, grades[second]);
    const std::string opposite = sentence(!second_not, grades[second]);
    std::string twin_label;  // of the same premise with the hypothesis turned round
    if (label == "yes") twin_label = "no";
    if (label == "no") twin_label = "yes";
    return finish("premise: " + p + "\nhypothesis: " + h, label,
                  twin_label.empty() ? "" : "premise: " + p + "\nhypothesis: " + opposite, twin_label);
  }
}

Example make_paraphrase(Rng& rng, const Words& names, double easy) {
  const std::string& a = rng.pick(names);
  std::string b = a;
  while (b == a) b = rng.pick(names);
  const Verb& verb = rng.pick(lexicon().chase_verbs);
  const std::string& place = rng.pick(lexicon().places);
  const auto active = [&](const std::string& who, const std::string& whom) {
    return fmt::format("{} {} {} near the {}.", who, verb.past, whom, place);
  };
  const auto passive = [&](const std::string& who, const std::string& whom) {
    return fmt::format("{} was {} by {} near the {}.", whom, verb.past, who, place);
  };
  const bool same = rng.chance(0.5), first_passive = rng.chance(0.5), is_easy = rng.chance(easy);
  const bool second_passive = (is_easy ? rng.chance(0.3) : rng.chance(0.75)) != first_passive;
  const std::string first = first_passive ? passive(a, b) : active(a, b);
  const auto other = [&](bool is_same) {
    const std::string& who = is_same ? a : b;
    const std::string& whom = is_same ? b : a;
    std::string text = second_passive ? passive(who, whom) : active(who, whom);
    // The very same sentence twice would be too easy: move the place to the front.
    if (text == first) {
      text = second_passive ? fmt::format("near the {} {} was {} by {}.", place, whom, verb.past, who)
                            : fmt::format("near the {} {} {} {}.", place, who, verb.past, whom);
    }
    return text;
  };
  if (is_easy && !same && rng.chance(0.6)) {
    // Other people: a difference that a single word shows.
    const std::string& c = rng.pick(names);
    const std::string second = second_passive ? passive(c, a) : active(b, c);
    return finish("sentence1: " + first + "\nsentence2: " + second, "no", "", "");
  }
  return finish("sentence1: " + first + "\nsentence2: " + other(same), same ? "yes" : "no",
                "sentence1: " + first + "\nsentence2: " + other(!same), same ? "no" : "yes");
}

Example make_act(Rng& rng, double plain_share) {
  struct Form {
    const char* text;  // {b} base form, {p} past form, {o} object, {l} place
    bool keeps;
  };
  static const std::vector<Form> kForms = {
      {"i {p} {o} near the {l}.", true},
      {"near the {l} i chose to {b} {o}.", true},
      {"i asked a man to {b} {o} near the {l}.", true},
      {"i planned to {b} {o} near the {l} and did.", true},
      {"i refused to {b} {o} near the {l}.", false},
      {"near the {l} i would not {b} {o}.", false},
      {"i stopped a man who {p} {o} near the {l}.", false},
      {"i promised to {b} {o} near the {l} and did not.", false},
  };
  const Lexicon& l = lexicon();
  const bool keeps = rng.chance(plain_share);
  const Form& form = kForms[(keeps ? 0 : 4) + rng.below(4)];
  const bool is_kind = rng.chance(0.5);
  const size_t which = rng.below(l.kind_verbs.size());
  const std::string& object = rng.pick(l.act_objects);
  const std::string& place = rng.pick(l.places);
  const auto render = [&](bool kind) {
    const Verb& verb = (kind ? l.kind_verbs : l.cruel_verbs)[which];
    return fill(form.text, {{"b", verb.base}, {"p", verb.past}, {"o", object}, {"l", place}});
  };
  const auto label = [&](bool kind) { return kind == form.keeps ? "not wrong" : "wrong"; };
  return finish(render(is_kind), label(is_kind), render(!is_kind), label(!is_kind));
}

std::string make_filler(Rng& rng) {
  const Lexicon& l = lexicon();
  const std::string& who = rng.pick(l.people);
  const std::string& verb = rng.pick(l.story_verbs);
  const std::string& where = rng.pick(l.prepositions);
  const std::string& place = rng.pick(l.places);
  const std::string& time = rng.pick(l.times);
  return fmt::format("{} {} {} the {} {}.", who, verb, where, place, time);
}

Row make_row(Rng& rng) {
  const Lexicon& l = lexicon();
  Row row;
  row.is_man = rng.chance(0.5);
  const size_t school = rng.below(4), hours = 2 + rng.below(5), trade = rng.below(l.trades.size());
  row.merit = static_cast<int>(school + (hours - 2) / 2 + trade / 4);
  row.text = fmt::format("a {} of {}, {} school, {} hours, {}", row.is_man ? "man" : "woman", 19 + 3 * rng.below(15),
                         l.schools[school], hours * 10, l.trades[trade]);
  return row;
}

}  // namespace ockham::world
