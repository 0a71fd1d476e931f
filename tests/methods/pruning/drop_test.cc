// drop: which blocks go, by their change or by number.
#include <gtest/gtest.h>

#include "ockham/core/error.h"
#include "ockham/model/families.h"
#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

std::map<std::string, double> drop(const std::map<std::string, ParamValue>& given,
                                   const std::vector<BlockChange>& changes) {
  const MethodEntry& entry = find_method("drop", "test");
  const auto allocation = entry.allocate(Params("test", entry.parameters, given));
  const Family& family = *find_family("llama");
  for (size_t block = 0; block < changes.size(); ++block) {
    Block whole;
    whole.linears.resize(kLinearRoles);
    std::vector<const Linear*> pointers;
    for (size_t role = 0; role < kLinearRoles; ++role) {
      Linear& linear = whole.linears[role];
      linear.name = block_prefix(family, static_cast<int64_t>(block)) + std::string(family.linears[role]);
      linear.role = static_cast<LinearRole>(role);
      pointers.push_back(&linear);
    }
    allocation->notice(whole, changes[block]);
    allocation->look(pointers, std::vector<LayerStats>(kLinearRoles));
  }
  return allocation->values();
}

std::string gone(const std::map<std::string, double>& values) {
  std::set<std::string> blocks;
  for (const auto& [name, value] : values)
    if (value == 1) blocks.insert(name.substr(13, 1));
  std::string text;
  for (const std::string& block : blocks) text += block;
  return text;
}

const std::vector<BlockChange> kChanges = {{.5, .1, .4}, {.2, .3, .1}, {.1, .2, .3}, {.9, .05, .6}};

TEST(Drop, BlocksThatChangeLeastGo) {
  EXPECT_EQ(gone(drop({{"count", int64_t{2}}}, kChanges)), "12");
  EXPECT_EQ(gone(drop({{"count", int64_t{0}}}, kChanges)), "");
  EXPECT_EQ(drop({}, kChanges).size(), 28U);
}

TEST(Drop, HalvesAreChosenByTheirOwnChange) {
  const auto attention = drop({{"unit", std::string("attention")}, {"count", int64_t{2}}}, kChanges);
  EXPECT_EQ(gone(attention), "03");
  EXPECT_EQ(attention.size(), 16U);
  EXPECT_EQ(attention.at("model.layers.3.self_attn.o_proj"), 1);
  const auto mlp = drop({{"unit", std::string("mlp")}}, kChanges);
  EXPECT_EQ(gone(mlp), "1");
  EXPECT_EQ(mlp.size(), 12U);
}

TEST(Drop, NumbersTakeTheirPlace) {
  EXPECT_EQ(gone(drop({{"which", std::string("3, 0")}}, kChanges)), "03");
}

TEST(Drop, ImpossibleChoicesAreRefused) {
  for (const char* which : {"4", "a", "1,", "1,,2", "-1", "1 2", "99999999999999999999"})
    EXPECT_THROW(drop({{"which", std::string(which)}}, kChanges), Error) << which;
  EXPECT_THROW(drop({{"count", int64_t{4}}}, kChanges), Error);
}

}  // namespace
}  // namespace ockham
