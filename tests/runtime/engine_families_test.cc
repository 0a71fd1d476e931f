// Every family against logits of Hugging Face transformers (scripts/make_family_goldens.py).
#include "ockham/kernels/target.h"
#include "tests/io/scratch.h"
#include "tests/model/family_files.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham {
namespace {

class EngineFamilies : public testing::TestWithParam<std::string> {
 protected:
  EngineFamilies() : golden_(read_json_file(test::golden_path(GetParam()))) {
    test::write_family(golden_, scratch_.path());
  }
  static std::vector<int32_t> ids() {
    std::vector<int32_t> result;
    for (int32_t i = 0; i < 24; ++i) result.push_back((i * 7 + 3) % 32);
    return result;
  }
  void compare(const std::vector<float>& logits, size_t vocabulary) const {
    for (const auto& [position, values] : golden_["logits"].items()) {
      const auto wanted = values.get<std::vector<double>>();
      for (size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR(logits[std::stoul(position) * vocabulary + i], wanted[i], 1e-4) << position << " " << i;
    }
    double squares = 0;
    for (const float value : logits) squares += static_cast<double>(value) * value;
    EXPECT_NEAR(squares, golden_["sum_of_squares"].get<double>(), 0.02);
  }
  Scratch scratch_;
  Json golden_;
};

TEST_P(EngineFamilies, LogitsOfTransformers) {
  for (const Target target : available_targets()) {
    set_target(target);
    Engine engine(test::open_model(scratch_.path()), test::small_options());
    compare(test::logits_of(engine, ids()), static_cast<size_t>(engine.config().vocabulary));
  }
}

TEST_P(EngineFamilies, PassesOfAnyLengthGiveTheSameBits) {
  Engine engine(test::open_model(scratch_.path()), test::small_options(2));
  const std::vector<float> whole = test::logits_of(engine, ids());
  EXPECT_EQ(test::logits_of(engine, ids(), {11, 1, 12}), whole);
  EXPECT_EQ(test::logits_of(engine, ids(), std::vector<int64_t>(24, 1)), whole);
}

INSTANTIATE_TEST_SUITE_P(Goldens, EngineFamilies, testing::ValuesIn(test::golden_families()),
                         [](const auto& family) { return test::test_name(family.param); });

}  // namespace
}  // namespace ockham
