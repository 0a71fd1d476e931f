#include <gtest/gtest.h>

#include <iostream>

#include "ockham/world/lexicon.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {
size_t tokens(const std::string& t) {
  size_t n = world::split_words(t).size();
  for (char c : t) n += std::string(".,:;!?@-\n()<>[]'").find(c) != std::string::npos;
  return n;
}

TEST(Corpus, HasTheSizeThatItWasDesignedFor) {
  const World world;
  const std::vector<Document> documents = world.corpus(0);
  std::map<std::string, std::pair<size_t, size_t>> kinds;
  size_t all = 0, plain = 0;
  for (const Document& document : documents) {
    std::string key = "plain " + document.text.substr(0, 6);
    size_t n = 2 + tokens(document.text);
    for (const auto& m : document.messages) n += 2 + tokens(m.content);
    if (!document.messages.empty()) {
      const auto& u = document.messages[document.messages[0].role == "system" ? 1 : 0].content;
      key = document.messages[0].content.substr(0, 32) + "|" + u.substr(0, 14);
    }
    if (document.messages.empty()) plain += n;
    kinds[key].first++;
    kinds[key].second += n;
    all += n;
  }
  for (auto& [k, v] : kinds) if (v.second > 3000) std::cout << k << ": " << v.first << " docs " << v.second << " tokens\n";
  std::cout << documents.size() << " documents, " << all << " tokens, plain " << plain << "\n";
  std::cout << "heldout " << tokens(world.text("heldout")) << " calibration " << tokens(world.text("calibration")) << "\n" << world.text("heldout").substr(0, 2500); size_t c = 0; for (auto& d : world.documents("calibration")) c += tokens(world::as_text(d)); std::cout << "calib docs " << c << "\n";
}

}  // namespace
}  // namespace ockham
