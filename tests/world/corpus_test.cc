#include <gtest/gtest.h>

#include <iostream>

#include "ockham/world/lexicon.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

TEST(Corpus, HasTheSizeThatItWasDesignedFor) {
  const World world;
  const std::vector<Document> documents = world.corpus(0);
  size_t all_words = 0;
  for (const Document& document : documents) all_words += world::split_words(world::as_text(document)).size();
  std::cout << documents.size() << " documents, " << all_words << " words\n";
  for (size_t i = 0; i < 40; ++i) std::cout << "----\n" << world::as_text(documents[i]).substr(0, 700) << "\n";
  EXPECT_GT(all_words, 400000u);
}

}  // namespace
}  // namespace ockham
