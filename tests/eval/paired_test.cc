// Paired comparison: what is exact can be checked by hand.
#include "ockham/eval/paired.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ockham {
namespace {

std::vector<ItemResult> items(const std::vector<double>& scores) {
  std::vector<ItemResult> all;
  for (size_t i = 0; i < scores.size(); ++i) {
    ItemResult item;
    item.id = fmt::format("{:04}", i);
    item.score = scores[i];
    all.push_back(item);
  }
  return all;
}

// The mean in points.
Statistic mean_points(const Task&, const std::vector<ItemResult>& all) {
  std::vector<double> scores;
  for (const ItemResult& item : all) scores.push_back(item.score);
  return [scores](const std::vector<int32_t>& picked) {
    double sum = 0;
    for (const int32_t i : picked) sum += scores[static_cast<size_t>(i)];
    return 100 * sum / static_cast<double>(picked.size());
  };
}

Difference compare(const std::vector<double>& first, const std::vector<double>& second) {
  const Task task;
  return paired_change({{&task, {items(first)}, {items(second)}}}, 500, 1, mean_points);
}

TEST(Paired, McNemarCountsItemsThatTurned) {
  // One right only before, seven right only after: 2 * (1 + 8) / 2^8.
  std::vector<double> before = {1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0}, after = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
  EXPECT_NEAR(compare(after, before).mcnemar_p, 2 * 9.0 / 256, 1e-12);
  EXPECT_DOUBLE_EQ(compare(before, before).mcnemar_p, 1);
  before[0] = 0.5;
  EXPECT_EQ(compare(after, before).mcnemar_p, -1);
  const Task task;
  const std::vector<ItemResult> draw = items({1, 0});
  EXPECT_EQ(paired_change({{&task, {draw, draw}, {draw}}}, 100, 1, mean_points).mcnemar_p, -1);
}

TEST(Paired, EqualItemsLeaveRoomForUnseenOnes) {
  const Difference same = compare(std::vector<double>(6, 1), std::vector<double>(6, 1));
  EXPECT_DOUBLE_EQ(same.value, 0);
  EXPECT_NEAR(same.interval.high, 100 * (1 - std::pow(0.025, 1.0 / 6)), 1e-9);
  EXPECT_EQ(equivalence(same, same.interval90, 5, 1), Verdict::kCannotTell);
  const Difference many = compare(std::vector<double>(400, 1), std::vector<double>(400, 1));
  EXPECT_EQ(equivalence(many, many.interval90, 5, 1), Verdict::kKeeps);
}

TEST(Paired, OnlyCommonItemsCount) {
  PairedTask task;
  task.first = {items({1, 1, 0})};
  task.second = {items({1, 0})};
  align(task);
  EXPECT_EQ(task.first[0].size(), 2U);
  EXPECT_EQ(task.first[0][1].id, task.second[0][1].id);
}

TEST(Paired, NoiseFloorIsTheRootMeanSquare) {
  EXPECT_DOUBLE_EQ(noise_floor(50, {53, 46}), std::sqrt((9.0 + 16) / 2));
  EXPECT_EQ(noise_floor(50, {}), 0);
  EXPECT_EQ(in_noise_units(-10, 2.5), "4.0");
  EXPECT_EQ(in_noise_units(-10, 0), "–");
}

}  // namespace
}  // namespace ockham
