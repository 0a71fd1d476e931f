// The model that tests of serving use.
#pragma once

#include "ockham/runtime/native_language_model.h"
#include "tests/runtime/engine_fixture.h"

namespace ockham::test {

inline NativeLanguageModel::Options small_model() {
  NativeLanguageModel::Options options;
  options.has_hash = false;
  options.engine = small_options(1);
  return options;
}

}  // namespace ockham::test
