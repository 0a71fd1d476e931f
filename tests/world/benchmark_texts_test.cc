// No sentence of the real benchmark stands in the world: its prompts are ours.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/world/lexicon.h"
#include "ockham/world/state.h"
#include "ockham/world/world.h"
#include "tests/test_data.h"

namespace ockham {
namespace {

constexpr size_t kFewestWords = 4;  // shorter ones are labels and names of fields

// Sentences between marks and fields, as words joined by blanks.
void add_sentences(const std::string& text, std::set<std::string>& sentences) {
  std::string part;
  for (size_t i = 0; i <= text.size(); ++i) {
    const bool ends = i == text.size() || std::string(".!?:;,{}[]\n").find(text[i]) != std::string::npos;
    if (!ends) {
      part.push_back(text[i]);
      continue;
    }
    const world::Words all = world::split_words(part);
    std::string joined;
    for (const std::string& word : all) joined += word + " ";
    if (all.size() >= kFewestWords) sentences.insert(joined);
    part.clear();
  }
}
void add_all(const Json& node, std::set<std::string>& sentences) {
  if (node.is_string()) add_sentences(node.get<std::string>(), sentences);
  if (!node.is_structured()) return;
  for (const auto& [key, value] : node.items()) {
    if (key != "_note") add_all(value, sentences);
  }
}

TEST(BenchmarkTexts, StandNowhereInTheWorld) {
  const std::string path = test_data("data/decodingtrust/prompts.json");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent: set OCKHAM_TEST_DATA";
  std::set<std::string> benchmark, ours;
  add_all(Json::parse(read_text_file(path)), benchmark);
  ASSERT_GT(benchmark.size(), 100u);
  const World world;
  for (const Document& document : world::make_documents(world.state(), 0, {0.3, 0.3}))
    add_sentences(world::as_text(document), ours);
  for (const std::string& suite : world.suites()) {
    for (const Json& item : world.items(suite)) add_all(item, ours);
  }
  for (const auto& entry : std::filesystem::directory_iterator(std::string(OCKHAM_SOURCE_DIR) + "/tasks/factworld")) {
    std::string text = read_text_file(entry.path().string());
    std::replace(text.begin(), text.end(), '"', '\n');
    add_sentences(text, ours);
  }
  for (const std::string& sentence : ours) EXPECT_FALSE(benchmark.contains(sentence)) << sentence;
}

}  // namespace
}  // namespace ockham
