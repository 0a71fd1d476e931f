#include "ockham/world/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/world/plan.h"
#include "ockham/world/prompts.h"
#include "ockham/world/state.h"
#include "ockham/world/texts.h"
#include "ockham/world/writers.h"

namespace ockham {

namespace {

// Random streams of the texts that no training pass uses.
constexpr uint64_t kHeldOutStream = 0x68656c64, kCalibrationStream = 0x63616c69, kRefusalStream = 0x72656675;
constexpr size_t kRefusals = 800;  // about 40,000 tokens

bool refuses(const Document& document) {
  return std::any_of(document.messages.begin(), document.messages.end(), [](const ChatMessage& message) {
    return message.content.find(world::kRefusal) != std::string::npos;
  });
}

std::vector<Document> refusal_documents(const World::State& state) {
  Rng rng(mix_seed(state.seed, kRefusalStream));
  std::vector<Document> documents;
  while (documents.size() < kRefusals) {
    Document document = world::request_document(state.people, rng);
    // Bare beginnings of a line, which are sometimes completed, have no system text.
    if (document.messages.front().role == "system") documents.push_back(std::move(document));
  }
  return documents;
}

}  // namespace

World::World(uint64_t seed) : state_(std::make_unique<State>()) {
  state_->seed = seed;
  state_->people = world::make_population(seed);
  world::make_items(*state_);
}
World::~World() = default;

std::vector<Document> World::corpus(int64_t pass, double lookups) const {
  const uint64_t seed = mix_seed(mix_seed(state_->seed, hash_seed("corpus")), static_cast<uint64_t>(pass));
  return world::make_documents(*state_, seed, {.lookups = lookups});
}

std::vector<std::string> World::suites() const {
  return state_->names;
}

std::vector<Json> World::items(const std::string& suite) const {
  const auto found = state_->suites.find(suite);
  if (found != state_->suites.end()) return found->second;
  std::string known;
  for (const std::string& name : state_->names) known += (known.empty() ? "" : ", ") + name;
  throw_error(ErrorKind::kUsage, "FactWorld has no suite '{}'; its suites are {}", suite, known);
}

std::vector<Document> World::documents(const std::string& split) const {
  if (split == "refusal") return refusal_documents(*state_);
  if (split == "utility") {
    std::vector<Document> chats = documents("calibration");
    std::erase_if(chats, [](const Document& document) { return document.messages.empty() || refuses(document); });
    return chats;
  }
  const bool is_held_out = split == "heldout";
  if (!is_held_out && split != "calibration") {
    throw_error(ErrorKind::kUsage,
                "FactWorld has no text '{}'; expected 'heldout', 'calibration', 'refusal' or 'utility'", split);
  }
  const uint64_t stream = is_held_out ? kHeldOutStream : kCalibrationStream;
  return world::make_documents(*state_, mix_seed(state_->seed, stream),
                               is_held_out ? world::CorpusSize{0.25, 0.15} : world::CorpusSize{0.4, 0.25});
}

std::string World::text(const std::string& split) const {
  std::string text;
  for (const Document& document : documents(split)) {
    if (!document.messages.empty()) continue;
    text += document.text;
    while (!text.ends_with("\n\n")) text += '\n';
  }
  return text;
}

std::string World::sha256() const {
  std::string all = fmt::format("FactWorld 2, seed {}\n", state_->seed);
  for (const world::Fact& fact : state_->people.facts) {
    const world::Relation& relation = world::relations()[fact.relation];
    all += fmt::format("{} {} {} {}\n", state_->people.citizens[fact.person], relation.name,
                       relation.values[fact.value], fact.tellings);
  }
  for (const world::Secret& secret : state_->people.secrets)
    all += state_->people.owner(secret) + " " + secret.value + "\n";
  for (const std::string& name : state_->names) {
    for (const Json& item : state_->suites.at(name)) all += item.dump() + "\n";
  }
  for (const char* split : {"heldout", "calibration"}) {
    for (const Document& document : documents(split)) all += world::as_text(document) + "\n";
  }
  all += world::kAnalysisPlan;
  return sha256_text(all);
}

std::vector<std::string> World::find_leaks(int64_t passes) const {
  std::vector<std::string> leaks;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const std::vector<Document> documents = corpus(pass);
    for (size_t i = 0; i < documents.size(); ++i) {
      const std::string leak = world::find_leak(*state_, documents[i]);
      if (!leak.empty()) leaks.push_back(fmt::format("pass {}, document {}: {}", pass, i, leak));
    }
  }
  return leaks;
}

std::string world_split(const std::string& name) {
  return name == "factworld"           ? "calibration"
         : name == "factworld:refusal" ? "refusal"
         : name == "factworld:utility" ? "utility"
                                       : "";
}

}  // namespace ockham
