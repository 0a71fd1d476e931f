// Numbers that CPython 3.11 gave for the same seeds.
#include "ockham/core/python_random.h"

#include <gtest/gtest.h>

#include <string>

namespace ockham {
namespace {

TEST(PythonRandom, BitsAndChoices) {
  PythonRandom random(0);
  EXPECT_EQ(random.bits(32), 3626764237U);
  EXPECT_EQ(random.bits(32), 1654615998U);
  EXPECT_EQ(random.bits(32), 3255389356U);
  std::string digits;
  for (int i = 0; i < 10; ++i) digits += static_cast<char>('0' + random.below(10));
  EXPECT_EQ(digits, "6048764759");
  std::vector<uint32_t> below;
  for (int i = 0; i < 5; ++i) below.push_back(random.below(6));
  EXPECT_EQ(below, (std::vector<uint32_t>{1, 4, 1, 2, 1}));
}

TEST(PythonRandom, SamplesOfSmallAndLargePopulations) {
  PythonRandom random(100);
  EXPECT_EQ(random.sample(200, 32),
            (std::vector<uint32_t>{37, 117, 116, 44, 180, 100, 187, 89,  110, 129, 28, 136, 31, 20,  197, 67,
                                   12, 168, 165, 52, 85,  58,  79,  195, 45,  36,  48, 88,  94, 160, 104, 53}));
  EXPECT_EQ(random.sample(10, 3), (std::vector<uint32_t>{6, 7, 4}));
  const std::vector<uint32_t> large = random.sample(5000, 32);
  EXPECT_EQ(std::vector<uint32_t>(large.begin(), large.begin() + 8),
            (std::vector<uint32_t>{3072, 1314, 1016, 1479, 46, 4937, 3240, 1209}));
}

TEST(PythonRandom, SeedsOfMoreThan32Bits) {
  EXPECT_EQ(PythonRandom((uint64_t{1} << 40) + 5).bits(32), 2166296868U);
}

}  // namespace
}  // namespace ockham
