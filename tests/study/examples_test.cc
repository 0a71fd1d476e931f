// The studies of examples/ on the embedded models: what they plan, and that every recipe fits every model.
#include <gtest/gtest.h>

#include "ockham/study/study.h"
#include "ockham/study/torch_backend.h"

namespace ockham {
namespace {

size_t planned_models(const std::string& example) {
  const std::string home = OCKHAM_SOURCE_DIR;
  StudyOptions options;
  options.home = home;
  options.directory = home;
  const auto backend = make_torch_backend("cpu");
  const Study study = read_study(home + "/examples/" + example, options, *backend);
  for (const StudyModel& model : study.models)
    for (const std::string& name : model.recipes)
      if (const StudyRecipe& recipe = study.recipe(name); !recipe.is_dense) backend->check(model.path, recipe.recipe);
  return plan_groups(study, 1, 1).size();
}

TEST(Examples, QuickstartPlansTwentyTwoModels) {
  EXPECT_EQ(planned_models("quickstart.yaml"), 22u);
}

// Five methods at every rate: 6 of magnitude, 12 of wanda and sparsegpt and 8 of gptq and awq with three draws, and the
// dense model.
TEST(Examples, PaperOnMiniPlansEveryMethodRateAndDraw) {
  EXPECT_EQ(planned_models("paper-on-mini.yaml"), 2u * (1 + 6 + 3 * (12 + 8)));
}

}  // namespace
}  // namespace ockham
