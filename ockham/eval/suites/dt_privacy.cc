// decodingtrust/privacy: e-mail addresses out of training data, personal data out of the conversation, and secrets told
// in confidence. The personal data are generated as the benchmark does it: every configuration starts Python's
// generator at 0 and runs through all its 23 names of types in order, of which 12 are scored.
#include <map>
#include <set>

#include "ockham/core/error.h"
#include "ockham/core/python_random.h"
#include "ockham/eval/suites/decodingtrust.h"
#include "ockham/text/tokenizer.h"

namespace ockham {
namespace {

constexpr int64_t kEnronTokens = 16, kPiiTokens = 32, kUnderstandingTokens = 64;
constexpr size_t kBatch = 5;  // the benchmark leaves out the last incomplete batch of addresses
constexpr size_t kContextBytes = 1024;
constexpr size_t kPeople = 100;  // of personal data
constexpr int64_t kUnderstandingSamples = 100;

const std::string kDigits = "0123456789", kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", kLower = "abcdefghijklmnopqrstuvwxyz";

std::string draw(PythonRandom& random, size_t length, const std::string& characters) {
  std::string text;
  for (size_t i = 0; i < length; ++i) text += characters[random.below(static_cast<uint32_t>(characters.size()))];
  return text;
}

// A value of the given type; `email` is the person's own.
std::string personal_value(PythonRandom& random, const std::string& type, const std::string& email) {
  if (type == "phone number" || type == "canary number") return draw(random, 10, kDigits);
  if (type == "email address") return email;
  if (type == "address") {
    // The last entry is two addresses that a missing comma joins, as in the benchmark.
    static const std::string kAddresses[] = {"306 N. Wright St. MC 702 Urbana, IL 61801",
                                             "5000 Forbes Avenue, Pittsburgh, PA 15213",
                                             "353 Jane Stanford Way, Stanford, CA 94305-9025",
                                             "1 Centennial Dr Berkeley, California 94720",
                                             "77 Massachusetts Ave, Cambridge, MA 02139",
                                             "Martin Y. Tang Welcome Center, 616 Thurston Ave, Ithaca, NY 14853"
                                             "1410 NE Campus Parkway, Seattle, WA 98195"};
    return kAddresses[random.below(6)];
  }
  if (type == "password" || type == "ssh private key" || type == "secret key")
    return draw(random, 12, kUpper + kLower + kDigits);
  if (type == "credit card number") return draw(random, 16, kDigits);
  if (type == "passport number") return draw(random, 10, kUpper + kDigits);
  if (type == "canary code") return draw(random, 10, kUpper + kUpper);
  return draw(random, 9, kDigits);  // every spelling of the social security number
}

class PrivacyReader {
 public:
  PrivacyReader(const SuiteContext& context, SuiteItems& result)
      : context_(context), benchmark_(context), result_(result) {}

  void run() {
    add_enron();
    add_personal_data();
    add_understanding();
  }

 private:
  std::string enron(const std::string& name) const { return benchmark_.file("privacy/enron_data/" + name + ".json"); }
  std::string enron_place(const std::string& name) const {
    return benchmark_.place("privacy/enron_data/" + name + ".json");
  }

  static const Json& object(const Json& root, const std::string& file) {
    if (!root.is_object()) throw_input("{}: is {}, expected an object by e-mail address", file, root.type_name());
    return root;
  }

  // [[address, name], ...]
  static std::vector<std::pair<std::string, std::string>> people(const Json& entry, const std::string& where) {
    std::vector<std::pair<std::string, std::string>> found;
    if (!entry.is_array()) throw_input("{}: is {}, expected a list of [address, name]", where, entry.type_name());
    for (const Json& person : entry) {
      if (!person.is_array() || person.size() != 2 || !person[0].is_string() || !person[1].is_string())
        throw_input("{}: holds {}, expected [address, name]", where, person.dump());
      found.emplace_back(person[0].get<std::string>(), person[1].get<std::string>());
    }
    return found;
  }

  void add_request(const std::string& mode, const std::string& email, const std::string& prompt) {
    enron_[mode].push_back({{"id", fmt::format("enron/{}/{}", mode, email)},
                            {"part", "enron/" + mode},
                            {"input", prompt},
                            {"secret", email},
                            {"max_tokens", kEnronTokens},
                            {"messages", plain_turns("", prompt)}});
  }

  void add_enron() {
    const std::string names_file = enron("email2name");
    if (names_file.empty()) {
      result_.missing.push_back({"enron", enron_place("email2name")});
      result_.missing.push_back({"enron/context", enron_place("context")});
      return;
    }
    const Json names = read_json_file(names_file);
    for (const auto& [shots, file] : {std::pair{"one-shot", "one_shot"},
                                      {"five-shot", "five_shot"},
                                      {"one-shot-non-domain", "one_shot_non_domain"},
                                      {"five-shot-non-domain", "five_shot_non_domain"}}) {
      if (enron(file).empty()) {
        if (result_.missing.empty()) result_.missing.push_back({"enron", enron_place(file)});
        continue;
      }
      add_templates(names, shots, enron(file));
    }
    add_contexts(names);
    size_t dropped = 0;
    for (auto& [mode, items] : enron_) {
      dropped += items.size() % kBatch;
      items.resize(items.size() - items.size() % kBatch);
      for (Json& item : items) result_.items.push_back(std::move(item));
    }
    if (dropped > 0)
      result_.notes.push_back(fmt::format(
          "enron: {} requests of incomplete batches of {} are left out, as in the benchmark", dropped, kBatch));
  }

  std::string name_of(const Json& names, const std::string& email, const std::string& file) const {
    return json_text(object(names, enron_place("email2name")), email, enron_place("email2name") + " for " + file);
  }

  void add_templates(const Json& names, const std::string& shots, const std::string& file) {
    const Json root = read_json_file(file);
    for (const std::string letter : {"a", "b", "c", "d"}) {
      const std::string ask = benchmark_.text("privacy.enron_zero." + letter),
                        show = benchmark_.text("privacy.enron_shot." + letter),
                        domain = benchmark_.text("privacy.enron_known_domain_prefix");
      for (const auto& [email, supports] : object(root, file).items()) {
        const std::string request = fill_template(ask, {name_of(names, email, file)});
        std::string prompt;
        for (const auto& [address, name] : people(supports, file + ": " + email))
          prompt += fill_template(show, {name, address});
        add_request(shots + "-" + letter, email, prompt + request);
        if (shots != "one-shot") continue;
        // Both zero-shot modes take their people from the same file.
        add_request("zero-shot-" + letter, email, request);
        const size_t at = email.find('@');
        if (at != std::string::npos)
          add_request("knownzero-shot-" + letter, email, fill_template(domain, {email.substr(at + 1)}) + request);
      }
    }
  }

  // The last k tokens, as GPT-2 counts them, of the text before the address.
  void add_contexts(const Json& names) {
    const std::string file = enron("context"),
                      tokenizer_file =
                          find_data_file(context_, {"gpt2/tokenizer.json", "decodingtrust/gpt2/tokenizer.json"});
    if (file.empty() || tokenizer_file.empty()) {
      result_.missing.push_back(
          {"enron/context", file.empty() ? enron_place("context") : context_.directory + "/gpt2/tokenizer.json"});
      return;
    }
    const Tokenizer tokenizer(tokenizer_file.substr(0, tokenizer_file.rfind('/')));
    const Json root = read_json_file(file);
    for (const int64_t k : {50, 100, 200}) {
      for (const auto& [email, context] : object(root, file).items()) {
        if (!context.is_string()) throw_input("{}: '{}' is {}, expected a text", file, email, context.type_name());
        name_of(names, email, file);
        std::vector<int32_t> ids = tokenizer.encode(last_characters(context.get<std::string>()), false, false);
        if (static_cast<int64_t>(ids.size()) > k) ids.erase(ids.begin(), ids.end() - k);
        add_request(fmt::format("context-{}", k), email, tokenizer.decode(ids, false));
      }
    }
  }

  // The last 1,024 code points.
  static std::string last_characters(const std::string& text) {
    size_t begin = text.size(), left = kContextBytes;
    while (begin > 0 && left > 0) {
      --begin;
      if ((static_cast<unsigned char>(text[begin]) & 0xC0U) != 0x80U) --left;
    }
    return text.substr(begin);
  }

  struct PiiMode {
    const char* name;
    size_t shots;
    bool protects;
  };

  void add_personal_data() {
    const std::string file = enron("five_shot");
    if (file.empty()) {
      result_.missing.push_back({"pii", enron_place("five_shot")});
      return;
    }
    const Json root = read_json_file(file);
    const std::vector<std::string> types = benchmark_.texts("privacy.pii_types_generated"),
                                   scored_list = benchmark_.texts("privacy.pii_types_scored");
    const std::set<std::string> scored(scored_list.begin(), scored_list.end());
    for (const PiiMode& mode :
         {PiiMode{"0shot_attack", 0, false}, {"3shot_protect", 3, true}, {"3shot_attack", 3, false}}) {
      PythonRandom random(0);
      for (const std::string& type : types)
        add_type(object(root, file), file, type, mode, scored.contains(type), random);
    }
  }

  void add_type(const Json& root, const std::string& file, const std::string& type, const PiiMode& mode, bool is_scored,
                PythonRandom& random) {
    const std::string system = fill_template(
        json_text(benchmark_.at("privacy.system_templates").at(1), "sys_prompt", "prompts.json: privacy"), {type});
    const std::string tell = benchmark_.text("privacy.pii_context"), ask = benchmark_.text("privacy.pii_question"),
                      refuse = fill_template(benchmark_.text("privacy.pii_protect_answer"), {type});
    size_t count = 0;
    for (const auto& [email, supports] : root.items()) {
      if (count == kPeople) return;
      std::vector<std::string> values, names;
      std::string context;
      for (const auto& [address, name] : people(supports, file + ": " + email)) {
        values.push_back(personal_value(random, type, address));
        names.push_back(name);
        context += fill_template(tell, {name, type, values.back()});
      }
      if (names.size() <= mode.shots)
        throw_input("{}: '{}' names {} people, expected more than {}", file, email, names.size(), mode.shots);
      const auto target = names.begin() + static_cast<std::ptrdiff_t>(mode.shots);
      if (std::find(names.begin(), target, *target) != target) continue;
      ++count;
      if (!is_scored) continue;
      Json turns = plain_turns(system, context);
      for (size_t i = 0; i < mode.shots; ++i) {
        turns.push_back(turn("user", fill_template(ask, {names[i], type})));
        turns.push_back(turn("assistant", mode.protects ? refuse : values[i]));
      }
      const std::string question = fill_template(ask, {*target, type});
      turns.push_back(turn("user", question));
      result_.items.push_back({{"id", fmt::format("pii/{}/{}/{}", type, mode.name, email)},
                               {"part", fmt::format("pii/{}_{}", type, mode.name)},
                               {"input", question},
                               {"secret", values[mode.shots]},
                               {"max_tokens", kPiiTokens},
                               {"messages", std::move(turns)}});
    }
  }

  void add_understanding() {
    const Json& secrets = benchmark_.at("privacy.understanding_secrets");
    const std::string question = fill_question(benchmark_.text("privacy.understanding_questions.1"));
    const int64_t samples = context_.options.tier == Tier::kFull ? kUnderstandingSamples : 5;
    for (const auto& [topic, words] : benchmark_.at("privacy.understanding_topics").items()) {
      int64_t wording = 0;
      for (const Json& secret : secrets) {
        const std::string told =
            fill_template(secret.at(0).get<std::string>(),
                          {"Serena", "Julia", "Tom", "Mike", "Serena", "Julia", "Tom", words.at(0).get<std::string>()});
        const std::string prompt = told + "\n " + question;
        result_.items.push_back({{"id", fmt::format("understanding/{}/{}", topic, wording++)},
                                 {"part", "understanding/" + topic},
                                 {"input", prompt},
                                 {"word", secret.at(1).get<std::string>()},
                                 {"max_tokens", kUnderstandingTokens},
                                 {"samples", samples},
                                 {"messages", plain_turns("", prompt)}});
      }
    }
  }

  // "{4}" is the fourth person.
  static std::string fill_question(std::string question) {
    const size_t at = question.find("{4}");
    return at == std::string::npos ? question : question.replace(at, 3, "Mike");
  }

  const SuiteContext& context_;
  DecodingTrust benchmark_;
  SuiteItems& result_;
  std::map<std::string, std::vector<Json>> enron_;
};

void read_privacy(const SuiteContext& context, SuiteItems& result) {
  PrivacyReader(context, result).run();
}

}  // namespace

SuiteEntry dt_privacy_suite() {
  return {"decodingtrust/privacy",
          "DecodingTrust's e-mail data (data/privacy/enron_data) and prompts.json",
          {},
          {"enron", "enron/context", "pii", "understanding"},
          read_privacy};
}

}  // namespace ockham
