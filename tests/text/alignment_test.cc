// Alignment by compression: sizes by hand, distances, and texts found among others.
#include "ockham/text/alignment.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ockham {
namespace {

TEST(Alignment, SizesFollowTheBlockFormat) {
  EXPECT_EQ(compressed_size(""), 1U);          // one token
  EXPECT_EQ(compressed_size("abc"), 4U);       // and three literals
  EXPECT_EQ(compressed_size("abcdabcd"), 8U);  // token, 4 literals, distance; a last token
  EXPECT_EQ(compressed_size(std::string(15, 'x').replace(0, 15, "abcdefghijklmno")), 17U);  // a byte for the length
  // One literal, then a match of 999 bytes: 980 beyond the token and the 4 of every match take 4 bytes.
  EXPECT_EQ(compressed_size(std::string(1000, 'a')), 1U + 1 + 2 + 4 + 1);
}

TEST(Alignment, EqualTextsAreNearAndUnrelatedOnesFar) {
  std::string words, numbers;
  for (int i = 0; i < 200; ++i) {
    words += "the city of " + std::to_string(i * 7919 % 1000) + " lies by a river; ";
    numbers += std::to_string(static_cast<unsigned>(i) * 2654435761U) + "\n";
  }
  EXPECT_LT(compression_distance(words, words), 0.1);
  EXPECT_GT(compression_distance(words, numbers), 0.8);
  EXPECT_NEAR(compression_distance(words, numbers), compression_distance(numbers, words), 0.05);
}

TEST(Alignment, TextsOfTheTargetsKindComeFirst) {
  const auto recipe = [](int i) {
    return "Take " + std::to_string(i % 7 + 2) + " eggs, flour and butter, stir well and bake for " +
           std::to_string(20 + i % 30) + " minutes until golden.";
  };
  const auto proof = [](int i) {
    return "Let n be a natural number with n mod " + std::to_string(i % 11 + 3) +
           " = 1; by induction on n the claim follows from lemma " + std::to_string(i) + ".";
  };
  std::vector<std::string> candidates, targets;
  for (int i = 0; i < 40; ++i) candidates.push_back(i % 2 == 0 ? recipe(i) : proof(i));
  for (int i = 100; i < 110; ++i) targets.push_back(proof(i));
  const std::vector<double> found = alignments(candidates, targets);
  for (size_t i = 0; i < 40; i += 2) EXPECT_GT(found[i + 1], found[i]);
  EXPECT_EQ(alignments({"a"}, {}), std::vector<double>{0});
}

}  // namespace
}  // namespace ockham
