// uniform: every linear alike.
#include <gtest/gtest.h>

#include "tests/methods/methods_fixture.h"

namespace ockham {
namespace {

TEST(Uniform, GivesEveryLinearTheMean) {
  const MethodEntry& entry = find_method("uniform", "test");
  const auto uniform = entry.allocate(Params("test", entry.parameters, {{"mean", 0.7}}));
  Linear a = test::make_linear(test::example_weights()), b = a;
  b.name = "model.layers.1.mlp.up_proj";
  uniform->look({&a}, {LayerStats{}});
  uniform->look({&b}, {LayerStats{}});
  EXPECT_EQ(uniform->values(), (std::map<std::string, double>{{a.name, 0.7}, {b.name, 0.7}}));
}

}  // namespace
}  // namespace ockham
