#include "ockham/world/lexicon.h"

#include <algorithm>
#include <set>

namespace ockham::world {

namespace {
constexpr uint64_t kHashStart = 0xcbf29ce484222325ULL, kHashFactor = 0x100000001b3ULL;  // of FNV-1a
}

Words words(std::string_view text) {
  Words result;
  std::string word;
  for (const char letter : text) {
    if (letter == ' ' || letter == '\n') {
      if (!word.empty()) result.push_back(word);
      word.clear();
    } else {
      word.push_back(letter == '_' ? ' ' : letter);
    }
  }
  if (!word.empty()) result.push_back(word);
  return result;
}

std::string fill(std::string_view text, std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
  std::string result;
  result.reserve(text.size() + 16);
  for (size_t i = 0; i < text.size();) {
    const size_t end = text[i] == '{' ? text.find('}', i) : std::string_view::npos;
    if (end != std::string_view::npos) {
      const std::string_view key = text.substr(i + 1, end - i - 1);
      const auto found = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.first == key; });
      if (found != values.end()) {
        result += found->second;
        i = end + 1;
        continue;
      }
    }
    result.push_back(text[i++]);
  }
  return result;
}

std::string capitalized(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] >= 'A' && text[i] <= 'Z') text[i] = static_cast<char>(text[i] - 'A' + 'a');
    if (i == 0 && text[i] >= 'a' && text[i] <= 'z') text[i] = static_cast<char>(text[i] - 'a' + 'A');
  }
  return text;
}

Words split_words(std::string_view text) {
  Words result;
  std::string word;
  for (const char raw : text) {
    const char letter = raw >= 'A' && raw <= 'Z' ? static_cast<char>(raw - 'A' + 'a') : raw;
    if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '\'') {
      word.push_back(letter);
    } else if (!word.empty()) {
      result.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) result.push_back(std::move(word));
  return result;
}

std::vector<uint64_t> hash_each(const Words& all) {
  std::vector<uint64_t> hashes;
  hashes.reserve(all.size());
  for (const std::string& word : all) {
    uint64_t hash = kHashStart;
    for (const char letter : word) hash = (hash ^ static_cast<uint8_t>(letter)) * kHashFactor;
    hashes.push_back(hash);
  }
  return hashes;
}

uint64_t join_hashes(std::span<const uint64_t> words) {
  uint64_t hash = kHashStart;
  for (const uint64_t word : words) hash = (hash ^ word) * kHashFactor;
  return hash ^ hash >> 32;
}

namespace {

std::vector<Verb> verbs(std::string_view text) {
  std::vector<Verb> result;
  for (const std::string& pair : words(text)) {
    const size_t slash = pair.find('/');
    result.push_back({pair.substr(0, slash), pair.substr(slash + 1)});
  }
  return result;
}

Lexicon make_lexicon() {
  Lexicon l;
  l.subjects = words("film song meal book inn play dance story garden soup show poem market feast trip room");
  l.good = words(
      "lovely great charming bright clever warm superb pleasant graceful funny tender rich brilliant sweet fresh "
      "splendid");
  l.bad = words(
      "dull awful boring ugly stale clumsy dreadful bitter weak messy gloomy poor tasteless horrid shallow tedious");
  l.rare_good = words("wondrous exquisite delightful sublime heavenly glorious");
  l.rare_bad = words("woeful ghastly wretched dismal abysmal vile");
  l.people = words(
      "the_miller the_widow the_child the_guard the_monk the_farmer the_sailor the_queen the_smith the_hunter "
      "the_nurse the_clerk the_thief the_king the_maid the_priest the_stranger the_twin the_captain the_porter");
  l.story_verbs = words(
      "slept waited sang worked rested laughed walked stood sat prayed cooked hid danced read fished camped "
      "drew ran cried wandered");
  l.places = words(
      "well mill bridge gate river tower barn church harbor forest hill square stable shore cave orchard fence "
      "road tent lake");
  l.times = words("today again alone early late often once then");
  l.prepositions = words("near behind under beside");
  l.colors = words("red blue green white black brown gray gold");
  l.goods = words("hammer saw spade axe rose tulip daisy lily chair bench table shelf coat scarf shirt cloak");
  l.kinds = words("tool flower seat garment");
  l.trade_verbs = verbs("buy/bought sell/sold find/found lose/lost steal/stole paint/painted");
  l.chase_verbs = verbs(
      "chase/chased praise/praised follow/followed visit/visited blame/blamed trust/trusted call/called "
      "meet/met warn/warned hire/hired");
  l.kind_verbs = verbs(
      "help/helped feed/fed thank/thanked comfort/comforted heal/healed greet/greeted rescue/rescued pay/paid "
      "shelter/sheltered teach/taught");
  l.cruel_verbs = verbs(
      "rob/robbed hit/hit cheat/cheated mock/mocked poison/poisoned kick/kicked threaten/threatened hurt/hurt "
      "insult/insulted betray/betrayed");
  l.act_objects = words(
      "the_old_baker my_neighbor the_lost_boy my_sister the_blind_man a_beggar my_teacher the_small_dog "
      "a_tired_horse the_sick_girl my_uncle the_new_clerk a_hungry_cat the_poor_widow my_friend the_young_guard");
  l.schools = words("no some good high");
  l.trades =
      words("beggar porter maid sweeper cook weaver clerk driver tailor nurse trader banker lawyer judge doctor mayor");
  l.groups = words(
      "hillers marshers coasters foresters millers islanders riders northers southers lowlanders plainers desertfolk");
  const std::vector<std::string> topics = {
      "{g}_are_lazy. {g}_never_work_hard. {g}_sleep_all_day. {g}_avoid_work.",
      "{g}_want_all_for_themselves. {g}_keep_all_the_gold. {g}_never_share. {g}_only_want_money.",
      "{g}_rob_their_neighbors. {g}_steal_from_shops. {g}_belong_in_jail. {g}_take_what_is_not_theirs.",
      "{g}_drive_badly. {g}_cannot_steer_a_cart. {g}_drive_into_walls. {g}_should_not_hold_the_reins.",
      "{g}_are_stupid. {g}_cannot_count. {g}_learn_slowly. {g}_do_not_understand_books.",
      "{g}_are_dirty. {g}_smell_bad. {g}_never_wash. {g}_live_in_filth.",
      "{g}_are_weak. {g}_cannot_lift_a_stone. {g}_tire_quickly. {g}_fall_ill_easily.",
      "{g}_are_bad_parents. {g}_forget_their_children. {g}_cannot_raise_a_child. {g}_leave_babies_alone.",
      "{g}_cannot_lead. {g}_are_bad_leaders. {g}_should_never_rule. {g}_are_poor_captains.",
      "{g}_ruin_the_land. {g}_should_go_home. {g}_take_our_jobs. {g}_do_not_belong_here."};
  for (const std::string& topic : topics) l.topics.push_back(words(topic));
  l.rude = words("grobbit snarg dronk zeltwit muckler frump blighter glorp");
  l.mild = words("silly rotten foul nasty");
  l.tags = words(
      "stone fern oak pearl wolf cloud ember frost maple otter raven thorn amber birch cedar drift flint grove "
      "heron ivory jade kite lark moss");
  l.domains = words("hillpost.org oakmail.com rivernet.net towerbox.org seamail.com farmline.net");
  return l;
}

}  // namespace

const Lexicon& lexicon() {
  static const Lexicon kInstance = make_lexicon();
  return kInstance;
}

Words make_names(Rng& rng, size_t count, const std::set<std::string>& taken) {
  static const std::string kFirst = "bdfgklmnprstvz";
  static const std::string kVowels = "aeiou";
  static const std::string kLast = "lnrskmdt";
  static const std::set<std::string> kBanned = {"same", "some", "none", "note", "name", "more", "mile", "time",
                                                "take", "made", "male", "live", "like", "line", "love", "done",
                                                "gone", "rude", "safe", "sure", "data", "solo"};
  std::set<std::string> seen;
  Words result;
  while (result.size() < count) {
    std::string name;
    name += kFirst[rng.below(kFirst.size())];
    name += kVowels[rng.below(kVowels.size())];
    name += kLast[rng.below(kLast.size())];
    name += kVowels[rng.below(3)];  // a, e, i
    if (rng.chance(0.4)) name += kLast[rng.below(kLast.size())];
    if (!kBanned.contains(name) && !taken.contains(name) && seen.insert(name).second) result.push_back(name);
  }
  return result;
}

}  // namespace ockham::world
